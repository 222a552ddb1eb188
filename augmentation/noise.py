"""Random bits of a copy's pixels, and noise made of them in whole numbers.

Gaussian noise is a table of 256 quantiles of the normal distribution at a fresh random byte, plus even random bits that
fill the gaps between them: from sigma 2 on, its total-variation distance to the rounded normal is at most 0.007 and
its standard deviation right within 0.7%; values beyond 3.4 sigma do not occur. Up to sigma 36 it stays in bytes.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
BLOCK = 262_144  # channel values at a time: pixels and random bytes stay in the processor's cache
SIGN = np.uint8(128)
IN_BYTES = 36.0  # the largest sigma whose noise fits into a byte: 3.4 x 36 = 122


class PixelRandom:
    """The stream of one copy: SFC64 with its state set from three hashed words."""

    def __init__(self) -> None:
        self.bits = np.random.SFC64(0)
        self.generator = np.random.Generator(self.bits)

    def restart(self, words: npt.NDArray[np.uint64]) -> PixelRandom:
        """Start the stream that belongs to these three words."""
        state = np.ones(4, dtype=np.uint64)
        state[:3] = words
        self.bits.state = {"bit_generator": "SFC64", "state": {"state": state}, "has_uint32": 0, "uinteger": 0}
        self.bits.random_raw(12, output=False)  # mixes the words; SFC64 seeds itself in the same way
        return self

    def bytes(self, shape: tuple[int, ...]) -> Pixels:
        """Fresh even bytes."""
        count = math.prod(shape)
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


def normal_table(sigma: float) -> tuple[npt.NDArray[np.float64], int]:
    """256 whole numbers, and how many even numbers 0, 1, ... (a power of two) to add to them.  # (256,)

    Their sum has mean 0 and standard deviation `sigma`: the variance of the even numbers, and that of rounding, 1/12,
    is taken off the quantiles before.
    """
    levels = 2 ** max(0, round(math.log2(max(1.1 * sigma, 1.0))))
    spread = math.sqrt(max(sigma**2 - (levels**2 - 1) / 12 - 1 / 12, 0.0))
    table: npt.NDArray[np.float64] = np.rint(normal_quantiles() * spread - (levels - 1) / 2)
    return table, levels


def byte_table(sigma: float) -> tuple[Pixels, int]:
    """The same table for noise + 128, for sigma up to IN_BYTES."""
    table, levels = normal_table(sigma)
    return (table + 128).astype(np.uint8), levels


def noise_bytes(bits: Pixels, table: Pixels, levels: int) -> Pixels:
    """Noise + 128 from random bytes, which are overwritten.  # (2, height, width) -> (height, width)"""
    coarse, fine = bits
    fine &= np.uint8(levels - 1)
    cv2.LUT(coarse, table, dst=coarse)
    coarse += fine
    return as_pixels(coarse)


def add_noise(pixels: Pixels, noise: Pixels) -> None:
    """pixels + (noise - 128), clipped to 0..255; in place, and `noise` is overwritten.

    In signed bytes, whose addition saturates: half the time of one weighted sum.
    """
    pixels ^= SIGN
    noise ^= SIGN
    signed = pixels.view(np.int8)
    cv2.add(signed, noise.view(np.int8), dst=signed)
    pixels ^= SIGN


def add_gaussian(pixels: Pixels, sigma: float, random: PixelRandom) -> Pixels:
    """Gaussian noise of `sigma` grey levels, independent per pixel and channel, clipped to 0..255; in place."""
    flat, narrow = pixels.reshape(1, -1), sigma <= IN_BYTES
    table, levels = byte_table(sigma) if narrow else normal_table(sigma)
    for start in range(0, flat.size, BLOCK):
        part = flat[:, start : start + BLOCK]
        bits = random.bytes((2, *part.shape))
        if narrow:
            add_noise(part, noise_bytes(bits, table.astype(np.uint8), levels))
        else:
            wide = cv2.LUT(bits[0], table.astype(np.int16)) + (bits[1] & np.uint8(levels - 1))
            cv2.add(part, wide, dst=part, dtype=cv2.CV_8U)
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
