"""Pooling members: from log-probabilities (n_members, n_rows, n_classes) to one table (n_rows, n_classes).

A pool of one member is the identity, a member of weight zero changes nothing; `pool_weights` fits the convex ones.

Sources: Genest and Zidek (1986), 'Combining probability distributions'; Ranjan and Gneiting (2010) on linear pools.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FLOOR = -20.0  # log-probabilities below this carry no more information, only leverage


def log_softmax(logits: Array) -> Array:
    """Logits (..., n_classes) to log-probabilities, float64."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def slabs(n_members: int, n_rows: int, n_classes: int, *, cells: int = 1 << 22) -> list[slice]:
    """Slices of rows such that a slab of all members holds at most `cells` cells: bounds the memory beside a table."""
    step = max(1, cells // (n_members * n_classes))
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


@dataclass(frozen=True)
class Pool(ABC):
    """One way of pooling, with its fitted weights."""

    weights: tuple[float, ...]  # one per member
    kind: ClassVar[str]

    @abstractmethod
    def apply(self, log_probabilities: Array) -> Array:
        """(n_members, n_rows, n_classes) -> log-probabilities (n_rows, n_classes)."""


@dataclass(frozen=True)
class LinearPool(Pool):
    """sum_m w_m p_m: soft voting, weighted."""

    kind: ClassVar[str] = "linear"

    def apply(self, log_probabilities: Array) -> Array:
        """The weighted mean; of one member with a weight: that member."""
        if single := lone_member(self.weights):
            return np.asarray(log_probabilities[single - 1], dtype=np.float64)
        mixed = np.zeros(log_probabilities.shape[1:])
        for weight, member in zip(self.weights, log_probabilities, strict=True):
            if weight:
                mixed += weight * np.exp(np.asarray(member, dtype=np.float64))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(mixed / mixed.sum(axis=1, keepdims=True)))


@dataclass(frozen=True)
class LogLinearPool(Pool):
    """softmax(sum_m w_m log p_m + b): the weighted geometric mean with a bias per class."""

    bias: tuple[float, ...] = ()
    ridge: float = 0.0  # that it was fitted with
    kind: ClassVar[str] = "log_linear"

    def apply(self, log_probabilities: Array) -> Array:
        """The weighted mean of logarithms, floored, plus the bias."""
        logits = np.zeros(log_probabilities.shape[1:])
        for weight, member in zip(self.weights, log_probabilities, strict=True):
            if weight:
                logits += weight * np.maximum(np.asarray(member, dtype=np.float64), FLOOR)
        return log_softmax(logits + np.asarray(self.bias) if self.bias else logits)


@dataclass(frozen=True)
class PowerPool(Pool):
    """(sum_m w_m p_m^r)^(1/r), scaled to sum to 1; r = 1 is the linear pool, r -> 0 the geometric mean."""

    exponent: float = 0.5
    kind: ClassVar[str] = "power"

    def apply(self, log_probabilities: Array) -> Array:
        """The weighted power mean."""
        if single := lone_member(self.weights):
            return np.asarray(log_probabilities[single - 1], dtype=np.float64)
        mixed = np.zeros(log_probabilities.shape[1:])
        for weight, member in zip(self.weights, log_probabilities, strict=True):
            if weight:
                mixed += weight * np.exp(self.exponent * np.maximum(np.asarray(member, dtype=np.float64), FLOOR))
        return log_softmax(np.log(mixed) / self.exponent)


@dataclass(frozen=True)
class RankPool(Pool):
    """The weighted mean of each member's ranks within a class, over all rows of the set; not a probability model."""

    kind: ClassVar[str] = "rank"

    def apply(self, log_probabilities: Array) -> Array:
        """The weighted mean of ranks."""
        from scipy.stats import rankdata

        if single := lone_member(self.weights):
            return np.asarray(log_probabilities[single - 1], dtype=np.float64)
        ranks = np.zeros(log_probabilities.shape[1:])
        for weight, member in zip(self.weights, log_probabilities, strict=True):
            if weight:
                ranks += weight * rankdata(np.asarray(member), axis=0) / member.shape[0]
        return np.asarray(np.log(ranks / ranks.sum(axis=1, keepdims=True)))


@dataclass(frozen=True)
class VotePool(Pool):
    """One vote per member, weighted; shares of votes as probabilities, ties to the larger mean probability."""

    smooth: float = 1e-3
    kind: ClassVar[str] = "vote"

    def apply(self, log_probabilities: Array) -> Array:
        """Shares of votes."""
        if single := lone_member(self.weights):
            return np.asarray(log_probabilities[single - 1], dtype=np.float64)
        soft = np.exp(LinearPool(self.weights).apply(log_probabilities))
        votes = np.zeros_like(soft)
        rows = np.arange(len(soft))
        for weight, member in zip(self.weights, log_probabilities, strict=True):
            if weight:
                votes[rows, np.asarray(member).argmax(axis=1)] += weight
        return np.asarray(np.log((1 - self.smooth) * votes / votes.sum(axis=1, keepdims=True) + self.smooth * soft))


@dataclass(frozen=True)
class StackPool(Pool):
    """Multinomial logistic regression on all members' log-probabilities; `weights` are shares of coefficient mass."""

    coefficients: tuple[tuple[float, ...], ...]  # (n_members * n_classes, n_classes)
    bias: tuple[float, ...]
    kind: ClassVar[str] = "stack"

    def apply(self, log_probabilities: Array) -> Array:
        """The regression on all members."""
        return log_softmax(stack_features(log_probabilities) @ np.asarray(self.coefficients) + np.asarray(self.bias))


def stack_features(log_probabilities: Array) -> Array:
    """(n_members, n_rows, n_classes) -> (n_rows, n_members * n_classes), floored and scaled to order one."""
    n_members, n_rows, n_classes = log_probabilities.shape
    rows_first = np.moveaxis(np.maximum(log_probabilities, FLOOR), 0, 1).reshape(n_rows, n_members * n_classes)
    return rows_first.astype(np.float64) / 5.0


def lone_member(weights: Sequence[float]) -> int:
    """1 + the position of the only member with a weight; 0 if there are several."""
    present = [position for position, weight in enumerate(weights) if weight]
    return present[0] + 1 if len(present) == 1 else 0


KINDS: dict[str, type[Any]] = {
    pool.kind: pool for pool in (LinearPool, LogLinearPool, PowerPool, RankPool, VotePool, StackPool)
}
