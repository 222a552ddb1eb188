"""Where predictions differ: agreement, kappa, and the diversity of errors, for all pairs from one matrix product each.

A *source* is a member, a fold, a blend or a team-mate's file; `labels` holds one column per source, as positions in the
list of classes. Formulas of the diversity measures: Kuncheva and Whitaker, Machine Learning 51 (2003), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Agreement:
    """How often each two sources say the same; needs no truth. All (n_sources, n_sources)."""

    agreement: Array  # share of rows with the same label
    kappa: Array  # Cohen's: agreement beyond what the shares of the classes give by chance


@dataclass(frozen=True)
class Diversity:
    """How each two sources err together; needs the truth. All (n_sources, n_sources), shares of rows unless said."""

    both_right: Array
    only_first: Array  # [i, j]: i is right and j is wrong
    double_fault: Array  # both are wrong
    same_wrong: Array  # both are wrong with the same label: what a vote of the two cannot see
    correlation: Array  # of being right, -1..1; NaN where a source is always or never right
    q_statistic: Array  # Yule's Q, -1..1; NaN where it is 0 / 0
    n_rows: int


@dataclass(frozen=True)
class PairOfClasses:
    """Rows on which one source says `first` and the other `second`, both directions together."""

    first: int
    second: int
    n_rows: int


def agreement(labels: Array, n_classes: int) -> Agreement:
    """Agreement and Cohen's kappa of all pairs of columns of `labels` (n_rows, n_sources)."""
    n_rows, n_sources = labels.shape
    same = np.zeros((n_sources, n_sources))
    chance = np.zeros((n_sources, n_sources))
    for label in range(n_classes):
        says = (labels == label).astype(counting_type(n_rows))  # (n_rows, n_sources)
        same += says.T @ says
        share = says.sum(axis=0, dtype=np.float64) / n_rows
        chance += np.outer(share, share)
    same /= n_rows
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.where(chance < 1, (same - chance) / (1 - chance), 1.0)
    return Agreement(same, kappa)


def diversity(labels: Array, truth: Array) -> Diversity:
    """Diversity of errors of all pairs of columns of `labels` (n_rows, n_sources) against `truth` (n_rows,)."""
    n_rows = len(truth)
    right = (labels == truth[:, None]).astype(counting_type(n_rows))  # (n_rows, n_sources)
    both = (right.T @ right).astype(np.float64)  # the one product; all else follows from it
    alone = np.diag(both)[:, None] - both
    neither = n_rows - both - alone - alone.T
    with np.errstate(invalid="ignore", divide="ignore"):
        determinant = both * neither - alone * alone.T
        spread = np.diag(both) * (n_rows - np.diag(both))
        correlation = determinant / np.sqrt(np.outer(spread, spread))
        q_statistic = determinant / (both * neither + alone * alone.T)
    same_wrong = wrong_together(labels, right < 0.5)
    return Diversity(
        both / n_rows, alone / n_rows, neither / n_rows, same_wrong / n_rows, correlation, q_statistic, n_rows
    )


def wrong_together(labels: Array, wrong: Array) -> Array:
    """Counts of rows on which both are wrong with the same label.  # (n_sources, n_sources)"""
    rows = np.flatnonzero(wrong.any(axis=1))  # few in good libraries of members
    marked = np.where(wrong[rows], labels[rows], -1)
    total = np.zeros((labels.shape[1], labels.shape[1]))
    for label in np.unique(marked[marked >= 0]):
        says = (marked == label).astype(counting_type(len(rows)))
        total += says.T @ says
    return total


def counting_type(n_rows: int) -> type[np.floating[Any]]:
    """The float in which a matrix product counts so many rows exactly."""
    return np.float32 if n_rows < 2**24 else np.float64


def order_by_similarity(similarity: Array) -> list[int]:
    """An order of the sources in which similar ones are neighbours (average linkage, optimal leaf order)."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(similarity) < 3:
        return list(range(len(similarity)))
    distance = 1 - (similarity + similarity.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(np.clip(np.nan_to_num(distance, nan=1.0), 0, None), checks=False)
    return [int(i) for i in leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))]


def disputed(labels: Array) -> Array:
    """Positions of the rows on which not all sources say the same.  # (n_disputed,)"""
    return np.flatnonzero((labels != labels[:, :1]).any(axis=1))


def vote_counts(labels: Array, n_classes: int, weights: Array | None = None) -> Array:
    """Votes for each class, weighted if asked.  # (n_rows, n_classes)"""
    n_rows, n_sources = labels.shape
    weights = np.ones(n_sources) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = np.zeros((n_rows, n_classes))
    for column in range(n_sources):
        counts[np.arange(n_rows), labels[:, column]] += weights[column]
    return counts


def without_majority(labels: Array, n_classes: int) -> Array:
    """Positions of rows on which no class has more than half of the votes.  # (n_rows_found,)"""
    return np.flatnonzero(2 * vote_counts(labels, n_classes).max(axis=1) <= labels.shape[1])


def entropy(shares: Array) -> Array:
    """Shannon entropy of each row of shares, in bits.  # (n_rows,)"""
    safe = np.where(shares > 0, shares, 1.0)
    return np.asarray(-(shares * np.log2(safe)).sum(axis=1))


def margin(shares: Array) -> Array:
    """Largest minus second largest share of each row; 1 with a single class.  # (n_rows,)"""
    if shares.shape[1] < 2:
        return np.ones(len(shares))
    top = np.partition(shares, -2, axis=1)
    return np.asarray(top[:, -1] - top[:, -2])


def class_pairs(labels: Array) -> list[PairOfClasses]:
    """Pairs of classes between which sources differ, most rows first; a row counts once for each pair it holds."""
    found: dict[tuple[int, int], int] = {}
    for row in labels[disputed(labels)]:
        said = np.unique(row).tolist()
        for i, first in enumerate(said):
            for second in said[i + 1 :]:
                found[(first, second)] = found.get((first, second), 0) + 1
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [PairOfClasses(first, second, n_rows) for (first, second), n_rows in ordered]


def same_wrong_of_all(labels: Array, truth: Array) -> float:
    """Share of rows on which every source is wrong with one and the same label: no vote can mend them."""
    return float(((labels == labels[:, :1]).all(axis=1) & (labels[:, 0] != truth)).mean())


def oracle(labels: Array, truth: Array) -> float:
    """Accuracy of a perfect choice among the sources, row by row: the ceiling of any vote."""
    return float((labels == truth[:, None]).any(axis=1).mean())


def mcnemar(first_right: Array, second_right: Array) -> tuple[int, int, float]:
    """(rows only the first has right, rows only the second has right, two-sided p-value); exact below 25 rows."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    first = int((first_right & ~second_right).sum())
    second = int((~first_right & second_right).sum())
    table = [[int((first_right & second_right).sum()), first], [second, int((~first_right & ~second_right).sum())]]
    if first + second == 0:
        return 0, 0, 1.0
    return first, second, float(test(table, exact=first + second < 25, correction=True).pvalue)


def cochrans_q(right: Array) -> tuple[float, float] | None:
    """(Q, p-value) that all sources are right equally often; none where no row tells them apart."""
    from statsmodels.stats.contingency_tables import cochrans_q as test

    telling = right.any(axis=1) & ~right.all(axis=1)
    if right.shape[1] < 2 or not telling.any():
        return None
    found = test(right.astype(np.int64))
    return float(found.statistic), float(found.pvalue)


@dataclass(frozen=True)
class Reach:
    """What board scores and agreement say about any row-by-row choice between two files; shares of rows."""

    worst_low: float
    worst_high: float
    best_low: float
    best_high: float


def reach(first: float, second: float, agreed: float) -> Reach:
    """Bounds on the accuracy of every choice between two files of accuracies `first`, `second` that agree on a share.

    With x the share on which both are right: x <= min(agreed, first, second), and the rows only one has right fit into
    the differing ones: first + second - 2x <= 1 - agreed. The worst choice scores x, the best first + second - x.
    """
    low = max(0.0, (first + second - (1 - agreed)) / 2)
    high = max(low, min(agreed, first, second))
    return Reach(low, high, min(1.0, first + second - high), min(1.0, first + second - low))


def fixes_and_hurts(labels: Array, blended: Array, truth: Array) -> list[tuple[int, int]]:
    """For each source: (rows it has wrong and the blend right, rows it has right and the blend wrong)."""
    blend_right = blended == truth
    return [
        (int((~right & blend_right).sum()), int((right & ~blend_right).sum())) for right in (labels == truth[:, None]).T
    ]


def per_class_f1(labels: Array, truth: Array, n_classes: int) -> Array:
    """F1 of each class for each source; 0 where a class is neither there nor said.  # (n_sources, n_classes)"""
    from sklearn.metrics import f1_score

    classes = range(n_classes)
    columns = [f1_score(truth, column, labels=classes, average=None, zero_division=0) for column in labels.T]
    return np.array(columns).reshape(labels.shape[1], n_classes)


def names_apart(names: Sequence[str]) -> list[str]:
    """The names, each once: repeated ones get ` (2)`, ` (3)`."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
