"""Random bits of a copy's pixels, and noise made of them in whole numbers.

Gaussian noise comes from a table of 1,024 parts of the normal distribution and an even place inside the part
(noise_kernels.py): from sigma 2 on, its total-variation distance to the rounded normal is at most 0.005 and its
standard deviation right within 0.2%; values beyond 3.7 sigma do not occur.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
GOLDEN, MASK = 0x9E3779B97F4A7C15, 2**64 - 1
PARTS, WITHIN = 1024, 64  # parts of the distribution, and places in a part
ONE = 8192  # the standard deviation of the table


class PixelRandom:
    """The stream of one copy: SplitMix64 (Steele et al. 2014), which gives each field of noise a key of its own."""

    def restart(self, key: int) -> PixelRandom:
        """Start the stream that belongs to these 64 bits."""
        self.state = int(key)
        return self

    def key(self) -> np.uint64:
        """64 fresh bits."""
        self.state = (self.state + GOLDEN) & MASK
        word = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        return np.uint64(word ^ (word >> 31))

    def bytes(self, shape: tuple[int, ...]) -> Pixels:
        """Fresh even bytes."""
        from augmentation import noise_kernels

        count = math.prod(shape)
        words = np.empty(-(-count // 4), dtype=np.uint32)
        noise_kernels.random_words(words, self.key())
        return words.view(np.uint8)[:count].reshape(shape)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One even number."""
        return low + (high - low) * (int(self.key()) >> 11) * 2.0**-53


@cache
def normal_quantiles() -> npt.NDArray[np.float64]:
    """256 quantiles of the standard normal, scaled to a variance of exactly 1.  # (256,)"""
    from scipy.special import ndtri

    values = ndtri((np.arange(256) + 0.5) / 256)
    scaled: npt.NDArray[np.float64] = values / np.sqrt(np.mean(values**2))
    return scaled


@cache
def normal_table() -> npt.NDArray[np.int32]:
    """Where each of PARTS equally probable parts of the normal begins (upper 16 bits), and its width.  # (PARTS,)

    In units of 1 / ONE. The outermost parts, which have no end, are as wide as their mean asks for; all are scaled so
    that the variance is 1.
    """
    from scipy.special import ndtri

    edges = np.zeros(PARTS + 1)
    edges[1:-1] = ndtri(np.arange(1, PARTS) / PARTS)
    tail = PARTS * math.exp(-(edges[1] ** 2) / 2) / math.sqrt(2 * math.pi)  # the mean beyond the last edge
    edges[-1] = 2 * tail + edges[1]
    edges[0] = -edges[-1]
    variance = np.mean(edges[1:] ** 2 + edges[1:] * edges[:-1] + edges[:-1] ** 2) / 3
    places = np.rint(edges / math.sqrt(variance) * ONE).astype(np.int64)
    return ((places[:-1] << 16) | np.diff(places)).astype(np.int32)


def table_factor(sigma: float) -> int:
    """The factor of the table for noise of `sigma` grey levels, in 256ths; the variance of rounding is taken off."""
    return round(256 * math.sqrt(max(sigma**2 - 1 / 12, 0.0)))


def add_gaussian(pixels: Pixels, sigma: float, random: PixelRandom) -> Pixels:
    """Gaussian noise of `sigma` grey levels, independent per pixel and channel, clipped to 0..255; in place."""
    from augmentation import noise_kernels

    noise_kernels.add_flat(pixels.reshape(-1), normal_table(), random.key(), np.int32(table_factor(sigma)))
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
