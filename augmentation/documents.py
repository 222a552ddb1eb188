"""What happens to paper: grain, folds, and the shadow of whoever takes the picture."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from augmentation.noise import PixelRandom, Pixels, add_gaussian, as_pixels


def paper(pixels: Pixels, strength: float, random: PixelRandom) -> Pixels:
    """Soft grain, the same in all channels: noise of two scales, together `strength` grey levels."""
    height, width = pixels.shape[:2]
    flat = np.full((height, width, 1), 128, dtype=np.uint8)
    fine = cv2.blur(add_gaussian(flat, min(3 * strength, 90.0), random), (3, 3))
    coarse_size = (max(1, width // 8), max(1, height // 8))
    coarse = add_gaussian(np.full((coarse_size[1], coarse_size[0], 1), 128, dtype=np.uint8), strength / 2, random)
    spread = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.add(fine, spread, dtype=cv2.CV_16S) - 256
    return as_pixels(cv2.add(pixels, for_each(pixels, grain), dtype=cv2.CV_8U))


def crease(pixels: Pixels, count: int, strength: float, random: PixelRandom) -> Pixels:
    """`count` folds across the sheet: a bright line, a dark one beside it, fading over a few pixels."""
    height, width = pixels.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    change = np.zeros((height, width), dtype=np.float32)
    reach = max(1.0, 0.006 * (height + width))
    for _ in range(count):
        angle = random.uniform(0, math.pi)
        x, y = random.uniform(0.1, 0.9) * width, random.uniform(0.1, 0.9) * height
        distance = ((columns - x) * math.cos(angle) + (rows - y) * math.sin(angle)) / reach
        change += strength * (np.exp(-(distance**2)) - np.exp(-((distance - 1.5) ** 2)))
    return as_pixels(cv2.add(pixels, for_each(pixels, change), dtype=cv2.CV_8U))


def shadow(pixels: Pixels, darkness: float, random: PixelRandom) -> Pixels:
    """One side of a random line is darker by the fraction `darkness`; the edge is soft."""
    height, width = pixels.shape[:2]
    angle = random.uniform(0, 2 * math.pi)
    softness = random.uniform(0.02, 0.2) * (height + width) / 2
    x, y = random.uniform(0.2, 0.8) * width, random.uniform(0.2, 0.8) * height
    rows, columns = np.ogrid[:height, :width]
    distance = ((columns - x) * math.cos(angle) + (rows - y) * math.sin(angle)) / softness
    light = (1 - darkness * np.clip(0.5 + distance, 0, 1)).astype(np.float32)
    return as_pixels(cv2.multiply(pixels, for_each(pixels, light), dtype=cv2.CV_8U))


def for_each(pixels: Pixels, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One plane for each channel of the pixels, which have three or are a plane themselves."""
    return plane if pixels.ndim == 2 else np.asarray(cv2.merge([plane] * 3))
