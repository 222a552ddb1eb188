"""Image files from anywhere as pictures for prediction."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.pictures import Pixels
from models.preprocessing import Preprocessing, square
from storage.errors import DataError
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


def readable(paths: Sequence[Path], *, workers: int = 2) -> tuple[list[Path], list[str]]:
    """The files that can be read, each decoded once, and what is wrong with each of the others."""

    def fault(path: Path) -> str | None:
        try:
            read_image(path)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(fault, paths))
    good = [path for path, text in zip(paths, found, strict=True) if text is None]
    return good, [text for text in found if text is not None]
