"""Random bits of a copy's pixels, and noise made of them in whole numbers.

Gaussian noise is the sum of two fresh random bytes, each sent through a table of 256 quantiles of the normal
distribution of sigma / sqrt(2): between sigma 3 and 32 the total-variation distance to the rounded normal is at most
0.004. Up to sigma 30 it stays in bytes; beyond, in 16 bits.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
BLOCK = 131_072  # channel values at a time: pixels and random bytes stay in the processor's cache
IN_BYTES = 30.0  # the largest sigma whose two tables fit into one byte: 2 x 2.89 / sqrt(2) x 30 = 122


class PixelRandom:
    """The stream of one copy: SFC64 with its state set from three hashed words."""

    def __init__(self) -> None:
        self.bits = np.random.SFC64(0)
        self.generator = np.random.Generator(self.bits)

    def restart(self, words: npt.NDArray[np.uint64]) -> PixelRandom:
        """Start the stream that belongs to these three words."""
        state = np.array([*words, 1], dtype=np.uint64)
        self.bits.state = {"bit_generator": "SFC64", "state": {"state": state}, "has_uint32": 0, "uinteger": 0}
        self.bits.random_raw(12, output=False)  # mixes the words; SFC64 seeds itself in the same way
        return self

    def bytes(self, shape: tuple[int, ...]) -> Pixels:
        """Fresh even bytes."""
        count = int(np.prod(shape))
        return self.bits.random_raw(-(-count // 8)).view(np.uint8)[:count].reshape(shape)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One even number."""
        return float(self.generator.uniform(low, high))


@cache
def normal_quantiles() -> npt.NDArray[np.float64]:
    """256 quantiles of the standard normal, scaled to a variance of exactly 1.  # (256,)"""
    from scipy.special import ndtri

    values = ndtri((np.arange(256) + 0.5) / 256)
    scaled: npt.NDArray[np.float64] = values / np.sqrt(np.mean(values**2))
    return scaled


def normal_table(sigma: float) -> npt.NDArray[np.float64]:
    """256 whole numbers, symmetric about 0, whose standard deviation is about `sigma` / sqrt(2).  # (256,)

    Rounding to whole numbers adds a variance of 1/12, which is taken off before.
    """
    table: npt.NDArray[np.float64] = np.rint(normal_quantiles() * math.sqrt(max(sigma**2 / 2 - 1 / 12, 0.0)))
    return table


def add_gaussian(pixels: Pixels, sigma: float, random: PixelRandom) -> Pixels:
    """Gaussian noise of `sigma` grey levels, independent per pixel and channel, clipped to 0..255; in place."""
    table = normal_table(sigma)
    flat = pixels.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK].reshape(1, -1)
        first, second = random.bytes((2, *part.shape))
        if sigma <= IN_BYTES:
            shifted = (table + 64).astype(np.uint8)
            cv2.LUT(first, shifted, dst=first)
            cv2.LUT(second, shifted, dst=second)
            total = cv2.add(first, second, dst=first)  # noise + 128
            cv2.addWeighted(part, 1, total, 1, -128, dst=part)
        else:
            whole = table.astype(np.int16)
            cv2.add(part, cv2.LUT(first, whole) + cv2.LUT(second, whole), dst=part, dtype=cv2.CV_8U)
    return pixels


def add_shot(pixels: Pixels, strength: float, random: PixelRandom) -> Pixels:
    """Noise of light in its normal approximation: variance = strength x pixel."""
    spread = np.sqrt(np.arange(256) * strength).astype(np.float32)
    return scaled_noise(pixels, spread, random)


def add_speckle(pixels: Pixels, sigma: float, random: PixelRandom) -> Pixels:
    """Multiplicative noise: pixel x (1 + normal(0, sigma))."""
    return scaled_noise(pixels, (np.arange(256) * sigma).astype(np.float32), random)


def scaled_noise(pixels: Pixels, spread: npt.NDArray[np.float32], random: PixelRandom) -> Pixels:
    """Normal noise whose standard deviation is a table over pixel values.  # spread: (256,)"""
    unit = (normal_quantiles() / np.sqrt(2)).astype(np.float32)
    noise = cv2.LUT(random.bytes(pixels.shape), unit) + cv2.LUT(random.bytes(pixels.shape), unit)
    return as_pixels(cv2.add(pixels, noise * cv2.LUT(pixels, spread), dtype=cv2.CV_8U))


def add_salt_pepper(pixels: Pixels, fraction: float, random: PixelRandom) -> Pixels:
    """Black or white at a fraction of the pixels (all channels together)."""
    height, width = pixels.shape[:2]
    draws = random.bytes((height, width, 4)).view(np.uint32)[..., 0]
    limit = int(fraction * 2**32 / 2)
    result = pixels.copy()
    result[draws < limit] = 0
    result[draws >= 2**32 - limit] = 255
    return result


def as_pixels(array: Any) -> Pixels:
    """OpenCV's result for the type checker."""
    return np.asarray(array, dtype=np.uint8)
