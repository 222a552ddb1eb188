"""How sure a score is: paired bootstrap over groups, by multinomial counts instead of resampled rows.

Rows with the same (truth, a, b, ...) are interchangeable, so a resample is one multinomial draw over the unique tuples;
rows of one group (copies of an image, pictures of a person) are drawn together, over the unique group contents.
Efron and Tibshirani (1993), chapters 6 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import from_counts, from_marginals

Array = NDArray[Any]


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
    """Rows folded into unique (truth, decision, decision, ...) tuples, and groups into unique contents."""

    values: Array  # (n_tuples, 1 + n_decisions)
    contents: Any  # (n_contents, n_tuples) counts, a sparse matrix
    times: Array  # (n_contents,) how many groups have this content
    n_classes: int

    @property
    def counts(self) -> Array:
        """How often each tuple occurs, (n_tuples,)."""
        return np.asarray(self.times @ self.contents)


def fold_rows(truth: Array, decisions: Sequence[Array], groups: Array, *, n_classes: int) -> Tuples:
    """Unique tuples and unique group contents of the rows."""
    from scipy.sparse import csr_array

    key = truth.astype(np.int64)
    for decided in decisions:
        _, key = np.unique(key * n_classes + decided, return_inverse=True)
    _, first, key = np.unique(key, return_index=True, return_inverse=True)
    values = np.stack([truth[first], *(decided[first] for decided in decisions)], axis=1)
    _, owner, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((key, owner))
    content = np.zeros(len(sizes), dtype=np.int64)  # the id of each group's content, built tuple by tuple
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    ordered = key[order]
    for place in range(int(sizes.max())):
        has = sizes > place
        step = np.zeros(len(sizes), dtype=np.int64)
        step[has] = ordered[starts[has] + place] + 1
        _, content = np.unique(content * (len(values) + 1) + step, return_inverse=True)
    _, example, times = np.unique(content, return_index=True, return_counts=True)
    rows = np.concatenate([ordered[starts[group] : starts[group] + sizes[group]] for group in example])
    indptr = np.concatenate([[0], np.cumsum(sizes[example])])
    contents = csr_array((np.ones(len(rows)), rows, indptr), shape=(len(example), len(values)))
    return Tuples(values, contents, times, n_classes)


def draw(tuples: Tuples, *, draws: int, seed: int) -> Array:
    """Bootstrap counts of each tuple, (draws, n_tuples): groups resampled with replacement."""
    random = np.random.default_rng(seed)
    total = int(tuples.times.sum())
    picked = random.multinomial(total, tuples.times / total, size=draws)
    return np.asarray(picked.astype(np.float64) @ tuples.contents)


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
    tuples = fold_rows(truth, decisions, groups, n_classes=n_classes)
    return scores_of(metric, tuples, draw(tuples, draws=draws, seed=seed))


def bootstrap_means(values: Sequence[Array], *, groups: Array, draws: int = 2000, seed: int = 0) -> Array:
    """Means of row values (for log-loss) on the same resampled groups, (draws, n_values)."""
    random = np.random.default_rng(seed)
    _, owner = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(owner, weights=value) for value in values], axis=1)  # (n_groups, n_values)
    sizes = np.bincount(owner)
    results = np.empty((draws, len(values)))
    for number in range(draws):
        picked = random.integers(len(sizes), size=len(sizes))
        results[number] = sums[picked].sum(axis=0) / sizes[picked].sum()
    return results


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
