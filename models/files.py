"""Image files from anywhere as pictures for prediction."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.pictures import Pixels
from models.preprocessing import Preprocessing, square
from storage.errors import DataError, problems
from storage.intake import read_image


class ImageFiles:
    """Files decoded at every read by the one intake, squared for one model."""

    quick = False

    def __init__(self, paths: Sequence[Path], preprocessing: Preprocessing) -> None:
        self.paths, self.preprocessing = list(paths), preprocessing

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, number: int) -> str:
        """What messages call an image."""
        return str(self.paths[number])

    def read(self, numbers: npt.NDArray[np.int64]) -> Pixels:
        """The images of these numbers.  # (len(numbers), size, size, 3)"""
        return np.stack([square(read_image(self.paths[number]).pixels, self.preprocessing) for number in numbers])


def check_images(paths: Sequence[Path], *, workers: int = 2) -> None:
    """Decode every file once; raises one DataError that names all files that are no images."""

    def fault(path: Path) -> str | None:
        try:
            read_image(path)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        faults = [text for text in pool.map(fault, paths) if text]
    if faults:
        raise DataError(problems("images that cannot be read", faults))
