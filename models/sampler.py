"""Which rows a training shows, in which order: a pure function of the seed and the place, with nothing kept per row.

An epoch is a stretch of one endless sequence. Any stretch is computed where it is needed, so a training of a billion
rows starts, and goes on in the middle, as fast and in as little memory as one of ten.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scratch import scratch
from models.seeds import derive

Positions = npt.NDArray[np.signedinteger[Any]]
Words = npt.NDArray[np.uint64]
EXPONENTS = {"balanced": 1.0, "square_root": 0.5}
ROUNDS = 16  # with six, of the 720 orders of six rows some come far too often; with sixteen all come alike
AHEAD = 16_384  # places computed at a time: numpy's calls would cost more than the numbers
CHUNK = 1 << 16  # labels read at a time


class Order:
    """The rows of an endless training, by place.

    plain: permutation after permutation of all rows, so that each row is shown equally often.
    balanced, square_root: drawn with replacement, by 1 / n_c and 1 / sqrt(n_c) of the row's class. The rows class by
    class then lie in an unnamed file in `folder`, or in the system's folder for such.
    """

    def __init__(self, labels: Positions, *, sampler: str, seed: int, folder: Path | None = None) -> None:
        self.n_rows, self.sampler = len(labels), sampler
        self.key = np.uint64(derive(seed, "order", sampler))
        self.ahead: tuple[int, Positions] = (0, np.empty(0, np.int64))
        if sampler != "plain":
            self.sizes = class_sizes(labels)
            self.by_class = rows_by_class(labels, self.sizes, folder=folder)
            shares = np.where(self.sizes > 0, np.maximum(self.sizes, 1) ** (1 - EXPONENTS[sampler]), 0.0)
            self.until = np.cumsum(shares) / shares.sum()  # (n_classes,)

    def rows(self, start: int, stop: int) -> Positions:
        """The rows at the places from `start` to `stop`.  # (stop - start,)"""
        first, known = self.ahead
        if not first <= start <= stop <= first + len(known):
            first, known = self.ahead = start, self.at(np.arange(start, max(stop, start + AHEAD)))
        return known[start - first : stop - first]

    def at(self, places: Positions) -> Positions:
        """The rows at any places.  # (n_places,)"""
        if self.sampler == "plain":
            return shuffled(places, self.n_rows, key=self.key)
        classes = np.searchsorted(self.until, chance(places, self.key), side="right")
        inside = (chance(places, ~self.key) * self.sizes[classes]).astype(np.int64)
        found: Positions = self.by_class[np.cumsum(self.sizes)[classes] - self.sizes[classes] + inside]
        return found


def shuffled(places: Positions, n_rows: int, *, key: np.uint64) -> Positions:
    """Where the rows lie in an endless sequence of permutations of `n_rows`.  # (n_places,)

    A Feistel network on the pairs (left < a, right < b) with a * b just above n_rows: each round adds a hash of one
    half to the other. What falls outside goes through again (Black and Rogaway, 2002, "Ciphers with arbitrary finite
    domains", cycle walking).
    """
    a = math.isqrt(n_rows - 1) + 1
    b = -(-n_rows // a)
    deck = mixed((places // n_rows).astype(np.uint64), key)  # a key for each permutation
    found = places % n_rows
    walking = np.arange(len(places))
    while len(walking):
        left, right = np.divmod(found[walking], b)
        for number in range(ROUNDS):
            keys = deck[walking] + np.uint64(number)
            if number % 2:
                left = (left + below(a, right, keys)) % a
            else:
                right = (right + below(b, left, keys)) % b
        found[walking] = left * b + right
        walking = walking[found[walking] >= n_rows]
    return found


def mixed(numbers: Words, key: np.uint64 | Words) -> Words:
    """A hash of each number (Steele, Lea and Flood, 2014: SplitMix64's finaliser)."""
    z = numbers * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(limit: int, numbers: Positions, keys: Words) -> Positions:
    """A hash of each number in [0, limit); limit < 2^32."""
    high = mixed(numbers.astype(np.uint64), keys) >> np.uint64(32)
    return ((high * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)


def chance(places: Positions, key: np.uint64) -> npt.NDArray[np.float64]:
    """A uniform number in [0, 1) for each place."""
    return (mixed(places.astype(np.uint64), key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def class_sizes(labels: Positions) -> npt.NDArray[np.int64]:
    """Rows of each class, counted in chunks: the labels may lie in a file.  # (n_classes,)"""
    sizes = np.zeros(0, np.int64)
    for start in range(0, len(labels), CHUNK):
        found = np.bincount(labels[start : start + CHUNK], minlength=len(sizes))
        found[: len(sizes)] += sizes
        sizes = found
    return sizes


def rows_by_class(labels: Positions, sizes: npt.NDArray[np.int64], *, folder: Path | None) -> Positions:
    """The numbers of all rows, class by class, in a file.  # (n_rows,)"""
    sorted_rows = scratch(len(labels), np.dtype(np.int32), folder=folder)
    free = np.cumsum(sizes) - sizes  # of each class, where its next row goes
    for start in range(0, len(labels), CHUNK):
        part = labels[start : start + CHUNK]
        order = np.argsort(part, kind="stable")
        counts = np.bincount(part, minlength=len(sizes))
        before = np.cumsum(counts) - counts
        sorted_rows[np.arange(len(part)) + np.repeat(free - before, counts)] = start + order
        free += counts
    return sorted_rows
