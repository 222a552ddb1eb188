"""Random bits and Gaussian noise, made where they are added: they never pass through memory.

A field of noise has one 64-bit key, each of its rows a key hashed from it (SplitMix64, Steele et al. 2014), and each
place in a row 32 bits hashed from that (the steps of MurmurHash3's finaliser with the multipliers of Wellons'
lowbias32, the second half of the row's key added midway). Any place can be computed on its own, eight or more at once.

Sixteen bits become a normal number: ten choose one of 1,024 parts of the distribution that are equally probable, six a
place inside it, as if it were even there. A table holds where a part begins and how wide it is, in 8192ths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from augmentation.compiling import compiled

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
Whole = npt.NDArray[np.int32]
SEGMENT = 2048  # half the values of a flat field that share a row's key
SHIFT = np.uint32(21)  # a normal number has 13 bits behind the point, a factor 8
HALF = np.int32(1 << 20)


@compiled
def row_key(key: np.uint64, row: int) -> np.uint64:
    """The key of a row: SplitMix64's output number `row`."""
    x = key + np.uint64(0x9E3779B97F4A7C15) * np.uint64(row + 1)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def random_word(place: int, low: np.uint32, high: np.uint32) -> np.uint32:
    """32 bits for a place in a row with this key."""
    x = np.uint32(np.uint32(place) + low)
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(x + high)
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled
def normal(table: Whole, bits: np.uint32) -> np.int32:
    """A normal number of mean 0 and standard deviation 8192 from the lower 16 of the bits."""
    entry = table[np.uint32(bits >> np.uint32(6)) & np.uint32(1023)]
    within = np.int32(2 * np.int32(bits & np.uint32(63)) + 1)
    step = np.int32(np.int32(entry & np.int32(0xFFFF)) * within)
    return np.int32(np.int32(entry >> np.int32(16)) + np.int32(np.int32(step + 64) >> np.int32(7)))


@compiled
def fill_normal(noise: Whole, count: int, table: Whole, key: np.uint64) -> None:
    """Normal numbers for `count` places in each of two rows.  # (2, at least count)"""
    low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
    for place in range(count):
        bits = random_word(place, low, high)
        noise[0, place] = normal(table, bits)
        noise[1, place] = normal(table, np.uint32(bits >> np.uint32(16)))


@compiled
def clipped(pixel: np.uint8, noise: np.int32) -> np.uint8:
    """A pixel and noise with SHIFT bits behind the point, rounded."""
    moved = np.int32(np.int32(pixel) + np.int32(np.int32(noise + HALF) >> SHIFT))
    return np.uint8(min(max(moved, np.int32(0)), np.int32(255)))


@compiled
def add_line(pixels: Bytes, start: int, noise: Whole, half: int, count: int, factor: np.int32) -> None:
    """Add a row of the noise times the factor to `count` pixels."""
    for place in range(count):
        x = np.uint64(place) + np.uint64(start)
        pixels[x] = clipped(pixels[x], np.int32(noise[half, place] * factor))


@compiled
def add_luma(luma: Bytes, row: int, noise: Whole, factor: np.int32) -> None:
    """Add the noise times the factor to two rows of Y."""
    for x in range(luma.shape[1]):
        luma[2 * row, x] = clipped(luma[2 * row, x], np.int32(noise[0, x] * factor))
        luma[2 * row + 1, x] = clipped(luma[2 * row + 1, x], np.int32(noise[1, x] * factor))


@compiled
def add_chroma(plane: Bytes, row: int, noise: Whole, which: int, share: np.int32, factor: np.int32) -> None:
    """Add to a row of U (which = 0) or V (1) a share of the noise of the 2 x 2 pixels of Y, and noise of its own."""
    own = np.uint64(2 * plane.shape[1])
    for x in range(plane.shape[1]):
        four = np.int32(noise[0, 2 * x] + noise[0, 2 * x + 1] + noise[1, 2 * x] + noise[1, 2 * x + 1])
        more = np.int32(noise[which, own + np.uint64(x)] * factor)
        plane[row, x] = clipped(plane[row, x], np.int32(np.int32(four * share) + more))


@compiled
def random_words(words: Words, key: np.uint64) -> None:
    """Random bits for a flat field."""
    row = row_key(key, 0)
    for place in range(words.size):
        words[place] = random_word(place, np.uint32(row), np.uint32(row >> np.uint64(32)))


@compiled
def add_flat(pixels: Bytes, table: Whole, key: np.uint64, factor: np.int32) -> None:
    """Independent noise for a flat field of pixels, in place; `factor` is the standard deviation in 256ths."""
    noise = np.empty((2, SEGMENT), np.int32)
    for start in range(0, pixels.size, 2 * SEGMENT):
        count = min(SEGMENT, (pixels.size - start + 1) // 2)
        fill_normal(noise, count, table, row_key(key, start))
        add_line(pixels, start, noise, 0, count, factor)
        add_line(pixels, start + count, noise, 1, min(count, pixels.size - start - count), factor)


@compiled
def add_planes(luma: Bytes, u: Bytes, v: Bytes, table: Whole, key: np.uint64, factors: Whole) -> None:
    """Noise for three planes in 4:2:0, in place.

    `factors`, in 256ths of a grey level: the standard deviation of Y; of U and then of V, the share of each of the four
    pixels of Y, and the standard deviation of its own noise.  # (5,)
    """
    rows, half = u.shape
    noise = np.empty((2, 3 * half), np.int32)
    for row in range(rows):
        fill_normal(noise, 3 * half, table, row_key(key, row))
        add_luma(luma, row, noise, factors[0])
        add_chroma(u, row, noise, 0, factors[1], factors[2])
        add_chroma(v, row, noise, 1, factors[3], factors[4])
