"""How sure a score is: paired bootstrap over groups, by counts instead of resampled rows.

Rows of one group (copies of an image, pictures of a person) are drawn together. Rows with the same (truth, a, b, ...)
are interchangeable, so a resample is a matrix product: how often each group is drawn, times what the group holds of
each unique tuple. Efron and Tibshirani (1993), chapters 6 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import from_counts, from_marginals

Array = NDArray[Any]
MOST_CELLS = 1 << 21  # of resamples times blocks: 16 MB
EXACT = 1 << 24  # integers below it are exact in float32


@dataclass(frozen=True)
class Estimate:
    """A score with its standard error and 95% interval."""

    score: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Score of a minus score of b on the same rows; a tie where it is within one standard error."""

    difference: float
    error: float
    low: float
    high: float
    probability_better: float  # share of resamples in which a is ahead
    tie: bool


@dataclass(frozen=True)
class Tuples:
    """Rows folded into unique (truth, decision, decision, ...) tuples."""

    values: Array  # (n_tuples, 1 + n_decisions)
    which: Array  # (n_rows,) the tuple of each row
    n_classes: int

    @property
    def counts(self) -> Array:
        """How often each tuple occurs, (n_tuples,)."""
        return np.bincount(self.which, minlength=len(self.values))


def fold_rows(truth: Array, decisions: Sequence[Array], *, n_classes: int) -> Tuples:
    """Unique tuples of the rows."""
    key = truth.astype(np.int64)
    for decided in decisions:
        _, key = np.unique(key * n_classes + decided, return_inverse=True)
    _, first, key = np.unique(key, return_index=True, return_inverse=True)
    return Tuples(np.stack([truth[first], *(decided[first] for decided in decisions)], axis=1), key, n_classes)


@dataclass(frozen=True)
class Resamples:
    """Which groups each resample holds. Everything scored on the same ones is paired."""

    times: Array  # (draws, n_blocks): how often each block of groups is drawn; float32 where its sums stay exact
    block: Array  # (n_rows,) the block of each row

    @classmethod
    def of(cls, groups: Array, *, draws: int, seed: int) -> Resamples:
        """Groups drawn with replacement; more than some thousands are dealt into blocks first, for speed."""
        owner = np.unique(groups, return_inverse=True)[1]
        n_blocks = min(int(owner.max()) + 1, max(MOST_CELLS // draws, 256))
        picked = np.random.default_rng(seed).integers(n_blocks, size=(draws, n_blocks))
        picked += n_blocks * np.arange(draws)[:, None]
        times = np.bincount(picked.ravel(), minlength=picked.size).reshape(picked.shape)
        block = owner % n_blocks
        most = int(times.sum(axis=1).max()) * int(np.bincount(block).max())  # rows of a resample, at the very most
        return cls(times.astype(np.float32 if most < EXACT else np.float64), block)

    def counts(self, which: Array, n_cells: int) -> Array:
        """How often each cell occurs in each resample, (draws, n_cells), from the cell of each row."""
        n_blocks, parts = self.times.shape[1], []
        step = max(1, 4 * MOST_CELLS // n_blocks)
        for start in range(0, n_cells, step):  # one part, but for very many cells
            width = min(step, n_cells - start)
            rows = slice(None) if width == n_cells else np.flatnonzero((which >= start) & (which < start + width))
            cell = self.block[rows] * width + which[rows] - start
            held = np.bincount(cell, minlength=n_blocks * width).reshape(n_blocks, width)
            parts.append((self.times @ held.astype(self.times.dtype)).astype(np.float64))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def scores(
        self, metric: str, truth: Array, decisions: Sequence[Array], *, n_classes: int, actual: Array | None = None
    ) -> Array:
        """Scores of each decision, (draws, n_decisions); label metrics only.

        `actual`: `counts(truth, n_classes)`, where it is known already.
        """
        if metric == "qwk":
            tuples = fold_rows(truth, decisions, n_classes=n_classes)
            return scores_of(metric, tuples, self.counts(tuples.which, len(tuples.values)))
        actual, results = self.counts(truth, n_classes) if actual is None else actual, []
        for decided in decisions:
            cells = self.counts(decided + n_classes * (decided == truth), 2 * n_classes)  # wrong ones, then right ones
            wrong, hits = cells[:, :n_classes], cells[:, n_classes:]
            results.append(from_marginals(metric, hits, predicted=wrong + hits, actual=actual))
        return np.stack(results, axis=1)

    def means(self, values: Array) -> Array:
        """Means of row values (n_rows,), for log-loss: (draws,)."""
        sums, sizes = np.bincount(self.block, weights=values), np.bincount(self.block)
        times = self.times.astype(np.float64)
        return np.asarray((times @ sums) / (times @ sizes))


def scores_of(metric: str, tuples: Tuples, counts: Array) -> Array:
    """The metric of every decision for every row of counts (draws, n_tuples) -> (draws, n_decisions)."""
    n_classes = tuples.n_classes
    truth = tuples.values[:, 0]
    classes = np.arange(n_classes)
    actual = counts @ (truth[:, None] == classes).astype(np.float64)
    results = []
    for decided in tuples.values[:, 1:].T:
        if metric == "qwk":
            cells = (truth * n_classes + decided)[:, None] == np.arange(n_classes * n_classes)
            results.append(from_counts(metric, (counts @ cells).reshape(-1, n_classes, n_classes)))
            continue
        guesses = (decided[:, None] == classes).astype(np.float64)
        hits = counts @ (guesses * (truth == decided)[:, None])
        results.append(from_marginals(metric, hits, predicted=counts @ guesses, actual=actual))
    return np.stack(results, axis=1)


def bootstrap(
    metric: str,
    truth: Array,
    decisions: Sequence[Array],
    *,
    groups: Array,
    n_classes: int,
    draws: int = 2000,
    seed: int = 0,
) -> Array:
    """Scores of each decision on the same resamples, (draws, n_decisions); label metrics only."""
    return Resamples.of(groups, draws=draws, seed=seed).scores(metric, truth, decisions, n_classes=n_classes)


def estimate(score: float, resampled: Array) -> Estimate:
    """A score with the standard error and percentiles of its resamples (draws,)."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(score, float(resampled.std(ddof=1)), float(low), float(high))


def compare(score_a: float, score_b: float, resampled: Array) -> Difference:
    """Two scores and their paired resamples (draws, 2)."""
    apart = resampled[:, 0] - resampled[:, 1]
    low, high = np.quantile(apart, [0.025, 0.975])
    error = float(apart.std(ddof=1))
    ahead = float((apart > 0).mean() + 0.5 * (apart == 0).mean())
    gap = score_a - score_b
    return Difference(gap, error, float(low), float(high), ahead, bool(abs(gap) <= error))
