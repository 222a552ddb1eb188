"""Every random choice of a copy as a pure function of (seed, view, source, copy): one row of a matrix per copy.

A value is a hash of the copy's key and of its column's name (SplitMix64, Steele et al. 2014), so that the rows can be
computed in any order and on any machine, and one more operation in the recipe leaves all other values as they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from augmentation.ranges import Flip, Noise, Operation, columns_of, ranges_of
from augmentation.recipe import AugmentParams, Mix

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Draws:
    """Drawn values, one entry per copy; a value at its neutral point means: not applied."""

    keys: Keys  # (n_copies,)
    columns: dict[str, Floats] = field(default_factory=dict)  # e.g. rotate_degrees: (n_copies,)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def pixel_words(self) -> Keys:
        """What starts the random stream of each copy's pixels.  # (n_copies,)"""
        return words(self.keys, "pixels")

    def row(self, i: int) -> dict[str, float]:
        """The values of one copy."""
        return {name: values.item(i) for name, values in self.columns.items()}


def copy_keys(seed: int, view: str, source_ids: Sequence[str], copies: Sequence[int] | npt.NDArray[Any]) -> Keys:
    """One 64-bit key for each pair (source, copy); the two have the same length.  # (n_copies,)"""
    known: dict[str, int] = {}
    for source_id in source_ids:
        if source_id not in known:
            known[source_id] = text_hash(f"{seed}\0{view}\0{source_id}")
    sources = np.array([known[source_id] for source_id in source_ids], dtype=np.uint64)
    return scramble(sources + np.asarray(copies, dtype=np.uint64) * GOLDEN)


def text_hash(text: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def scramble(values: Keys) -> Keys:
    """The finaliser of SplitMix64: every input bit reaches every output bit."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def words(keys: Keys, column: str) -> Keys:
    """64 fresh bits for each key under the name `column`.  # (n_copies,)"""
    return scramble(keys ^ np.uint64(text_hash(column)))


def uniform(keys: Keys, column: str) -> Floats:
    """Even in [0, 1) for each key under the name `column`.  # (n_copies,)"""
    return (words(keys, column) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw(params: AugmentParams, keys: Keys, *, view: str, strength: Floats | None = None) -> Draws:
    """All values of the copies with these keys.

    `strength` (n_copies,) multiplies the distances from neutral. Only the view "train" is mixed or has holes: the other
    is to look like the test.
    """
    columns: dict[str, Floats] = {}
    for name, operation in params.operations.present().items():
        if name == "dropout" and view != "train":
            continue
        if isinstance(operation, Flip):
            columns |= draw_flips(keys, operation)
        else:
            columns |= draw_operation(keys, name, operation, strength)
    for i, extra in enumerate(params.extra):
        columns[f"extra_{i}"] = (uniform(keys, f"extra_{i}") < extra.probability).astype(np.float64)
    if view == "train":
        columns |= draw_mixes(keys, params.mixup, params.cutmix)
    return Draws(keys, columns)


def draw_flips(keys: Keys, flip: Flip) -> dict[str, Floats]:
    """Three coins, 0 or 1."""
    odds = {"flip_horizontal": flip.horizontal, "flip_vertical": flip.vertical, "flip_transpose": flip.transpose}
    return {name: (uniform(keys, name) < odd).astype(np.float64) for name, odd in odds.items()}


def draw_operation(keys: Keys, name: str, operation: Operation, strength: Floats | None) -> dict[str, Floats]:
    """The columns of one operation; copies that don't get it hold the neutral values."""
    active = uniform(keys, name) < operation.probability
    columns: dict[str, Floats] = {}
    for field_name, extra in ranges_of(name).items():
        low, high = getattr(operation, field_name)
        for column in columns_of(name, field_name):
            values = low + (high - low) * uniform(keys, column)
            if strength is not None:
                values = np.clip(extra["neutral"] + strength * (values - extra["neutral"]), *extra["bounds"])
            columns[column] = np.where(active, values, extra["neutral"])
    if isinstance(operation, Noise) and operation.before_blur > 0:
        columns["noise_first"] = (uniform(keys, "noise_first") < operation.before_blur).astype(np.float64)
    return columns


def draw_mixes(keys: Keys, mixup: Mix, cutmix: Mix) -> dict[str, Floats]:
    """`mixup` and `cutmix`: the share of the source, 1 where it stands alone; never both."""
    columns: dict[str, Floats] = {}
    chosen = uniform(keys, "mix")
    if mixup.probability > 0:
        columns["mixup"] = np.where(chosen < mixup.probability, beta(keys, "mixup", mixup.alpha), 1.0)
    if cutmix.probability > 0:
        columns["cutmix"] = np.where(chosen >= 1 - cutmix.probability, beta(keys, "cutmix", cutmix.alpha), 1.0)
    return columns


def beta(keys: Keys, column: str, alpha: float) -> Floats:
    """Beta(alpha, alpha) by its quantile function; the larger share is the source's, as its label leads."""
    from scipy.special import betaincinv

    values: Floats = betaincinv(alpha, alpha, uniform(keys, column))
    return np.maximum(values, 1 - values)
