"""Test-time augmentation: other views of a normalised batch, kept only where they help."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Matrix = npt.NDArray[np.float32]


def zoom(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Scale about the middle, same size; what comes in from outside repeats the edge."""
    theta = torch.tensor([[1 / factor, 0, 0], [0, 1 / factor, 0]], device=images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda images: images,
    "hflip": lambda images: images.flip(3),
    "vflip": lambda images: images.flip(2),
    "rotate90": lambda images: images.rot90(1, (2, 3)),
    "rotate180": lambda images: images.rot90(2, (2, 3)),
    "rotate270": lambda images: images.rot90(3, (2, 3)),
    "zoom_in": lambda images: zoom(images, 1.1),
    "zoom_out": lambda images: zoom(images, 0.9),
}


def mean_of_views(views: dict[str, Matrix], names: Sequence[str]) -> Matrix:
    """The logarithm of the mean probability over the named views.  # (n_images, n_classes)"""
    if len(names) == 1:
        return views[names[0]]
    mean = np.mean([np.exp(views[name].astype(np.float64)) for name in names], axis=0)
    logs: Matrix = np.log(np.maximum(mean, 1e-38)).astype(np.float32)
    return logs


def choose_views(views: dict[str, Matrix], labels: npt.NDArray[np.int64], *, keep: str) -> list[str]:
    """plain alone, or with all other views if the held-out log-loss is then lower by more than its standard error."""
    names = list(views)
    if len(names) == 1 or keep == "always":
        return names
    rows = np.arange(len(labels))
    gain = mean_of_views(views, names)[rows, labels].astype(np.float64) - views["plain"][rows, labels]
    better = gain.mean() > gain.std() / max(1, len(gain)) ** 0.5
    return names if better else ["plain"]
