"""Pooling members: from log-probabilities (n_members, n_rows, n_classes) to one table (n_rows, n_classes).

A pool of one member is the identity, a member of weight zero changes nothing; `pool_weights` fits the convex ones.

Sources: Genest and Zidek (1986), 'Combining probability distributions'; Ranjan and Gneiting (2010) on linear pools.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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


class MeanPool(Pool):
    """A pool that is some mean of its members: of one member with a weight, it is that member."""

    def apply(self, log_probabilities: Array) -> Array:
        """The member that stands alone, or the mean."""
        present = np.flatnonzero(self.weights)
        if len(present) == 1:
            return np.asarray(log_probabilities[present[0]], dtype=np.float64)
        return self.mean(log_probabilities)

    @abstractmethod
    def mean(self, log_probabilities: Array) -> Array:
        """(n_members, n_rows, n_classes) -> log-probabilities (n_rows, n_classes), of several members."""


def weighted_sum(weights: Sequence[float], log_probabilities: Array, of: Callable[[Array], Array]) -> Array:
    """sum_m w_m of(table_m), the tables in float64 one after another; those of weight 0 are not read."""
    total = np.zeros(log_probabilities.shape[1:])
    for weight, member in zip(weights, log_probabilities, strict=True):
        if weight:
            total += weight * of(np.asarray(member, dtype=np.float64))
    return total


def shares_in_logs(mass: Array) -> Array:
    """Each row scaled to sum to 1, in logs; 0 becomes -inf."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(mass / mass.sum(axis=1, keepdims=True)))


@dataclass(frozen=True)
class LinearPool(MeanPool):
    """sum_m w_m p_m: soft voting, weighted."""

    shrink: float = 0.0  # that it was fitted with
    kind: ClassVar[str] = "linear"

    def mean(self, log_probabilities: Array) -> Array:
        """The weighted mean."""
        return shares_in_logs(weighted_sum(self.weights, log_probabilities, np.exp))


@dataclass(frozen=True)
class LogLinearPool(Pool):
    """softmax(sum_m w_m log p_m + b): the weighted geometric mean with a bias per class."""

    bias: tuple[float, ...] = ()
    ridge: float = 0.0  # that it was fitted with
    kind: ClassVar[str] = "log_linear"

    def apply(self, log_probabilities: Array) -> Array:
        """The weighted mean of logarithms, floored, plus the bias."""
        logits = weighted_sum(self.weights, log_probabilities, lambda table: np.maximum(table, FLOOR))
        return log_softmax(logits + np.asarray(self.bias) if self.bias else logits)


@dataclass(frozen=True)
class PowerPool(MeanPool):
    """(sum_m w_m p_m^r)^(1/r), scaled to sum to 1; r = 1 is the linear pool, r -> 0 the geometric mean."""

    exponent: float = 0.5
    kind: ClassVar[str] = "power"

    def mean(self, log_probabilities: Array) -> Array:
        """The weighted power mean."""

        def powered(table: Array) -> Array:
            return np.asarray(np.exp(self.exponent * np.maximum(table, FLOOR)))

        return log_softmax(np.log(weighted_sum(self.weights, log_probabilities, powered)) / self.exponent)


@dataclass(frozen=True)
class RankPool(MeanPool):
    """The weighted mean of each member's ranks within a class, over all rows of the set; not a probability model."""

    kind: ClassVar[str] = "rank"

    def mean(self, log_probabilities: Array) -> Array:
        """The weighted mean of ranks."""
        from scipy.stats import rankdata

        return shares_in_logs(weighted_sum(self.weights, log_probabilities, lambda table: rankdata(table, axis=0)))


@dataclass(frozen=True)
class VotePool(MeanPool):
    """One vote per member, weighted; shares of votes as probabilities, ties to the larger mean probability."""

    smooth: float = 1e-3
    kind: ClassVar[str] = "vote"

    def mean(self, log_probabilities: Array) -> Array:
        """Shares of votes."""
        soft = np.exp(LinearPool(self.weights).apply(log_probabilities))
        classes = np.arange(soft.shape[1])
        votes = weighted_sum(self.weights, log_probabilities, lambda table: table.argmax(axis=1)[:, None] == classes)
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


KINDS: dict[str, type[Any]] = {
    pool.kind: pool for pool in (LinearPool, LogLinearPool, PowerPool, RankPool, VotePool, StackPool)
}
