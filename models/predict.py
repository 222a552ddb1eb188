"""From images to log-probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.change import Normalise
from models.pictures import Pictures, Pixels
from models.tta import VIEWS

LogProbabilities = npt.NDArray[np.float32]  # (n_images, n_classes)
Numbers = npt.NDArray[np.int64]


class Autocast(Protocol):
    """Whatever opens the autocast region of a precision: Fabric, or precision.region."""

    def __call__(self) -> AbstractContextManager[Any]:
        """A fresh region."""


def read_ahead(pictures: Pictures, numbers: Numbers, *, batch: int, workers: int) -> Iterator[Pixels]:
    """Batches of images in order, the next ones read in threads meanwhile."""
    chunks = [numbers[start : start + batch] for start in range(0, len(numbers), batch)]
    ahead: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for chunk in chunks:
            ahead.append(pool.submit(pictures.read, chunk))
            if len(ahead) > workers + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


@torch.inference_mode()
def predict(
    network: nn.Module,
    pictures: Pictures,
    *,
    numbers: Numbers,
    normalise: Normalise,
    autocast: Autocast,
    batch: int,
    workers: int = 2,
    views: tuple[str, ...] = ("plain",),
) -> dict[str, LogProbabilities]:
    """Log-probabilities of the pictures `numbers`, in their order, for each view of models/tta.py."""
    network.eval()
    parts: dict[str, list[torch.Tensor]] = {view: [] for view in views}
    for pixels in read_ahead(pictures, numbers, batch=batch, workers=workers):
        images = normalise(torch.from_numpy(pixels))
        for view in views:
            with autocast():
                logits = network(VIEWS[view](images))
            parts[view].append(torch.log_softmax(logits.double(), dim=1).float().cpu())
    return {view: torch.cat(found).numpy() for view, found in parts.items()}
