"""What a model does to an image before it looks at it; part of the model, stored in its model.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (height, width, 3) RGB
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
PADDING = 255  # documents and digits lie on white


@dataclass(frozen=True)
class Preprocessing:
    """Side in pixels, normalisation of pixels / 255, and how an image is made square."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    fit: Literal["squash", "pad", "crop"] = "squash"

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocessing:
        """From model.json."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def differences(self, other: Preprocessing) -> list[str]:
        """What differs, as in `mean 0.485 vs 0.5`."""
        ours, theirs = asdict(self), asdict(other)
        return [f"{key} {ours[key]} vs {theirs[key]}" for key in ours if ours[key] != theirs[key]]


def decode(data: bytes, encoding: str, *, width: int, height: int) -> Image:
    """The RGB pixels of a stored image; `raw` is height x width x 3 bytes. Raises ValueError for any other bytes."""
    if encoding == "raw":
        if len(data) != width * height * 3:
            raise ValueError(f"{len(data):,} bytes, expected {width} x {height} x 3")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None or pixels.shape[:2] != (height, width):
        raise ValueError(f"the stored bytes are not an image of {width} x {height}")
    return np.asarray(pixels, np.uint8)


def square(pixels: Image, preprocessing: Preprocessing) -> Image:
    """The image at the model's size.  # (size, size, 3)"""
    size, (height, width) = preprocessing.size, pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    if preprocessing.fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    if preprocessing.fit == "pad":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        edges = (top, side - height - top, left, side - width - left)
        pixels = np.asarray(cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_CONSTANT, value=(PADDING,) * 3), np.uint8)
    shrinks = size < min(pixels.shape[:2])
    method = cv2.INTER_AREA if shrinks else INTERPOLATIONS[preprocessing.interpolation]
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=method), np.uint8)
