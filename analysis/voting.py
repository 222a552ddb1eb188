"""One submission out of many: majority, weights from agreement and board scores, near copies found, a ranking only.

    weights = agreement_weights(labels, scores, n_classes)
    voted = weighted_vote(labels, weights, n_classes)

`labels` holds one column per file, as positions in the list of classes; `scores` are the public board's, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.disagreement import agreement, vote_counts

Array = np.ndarray[Any, np.dtype[Any]]
RIDGE = 0.2  # measured by benchmarks/team.py: as good as 0.1 on average, and better in the worst team
EVEN = 2.5  # without near copies, weights whose largest is at most so many times the smallest are one vote each
LARGEST = 0.998  # of the sum of the other weights: no file outweighs all others together
NEAR_COPY = 0.35  # of the usual rate of differing: two files that differ less are near copies
TIE = 1e-9


def best_first(scores: Sequence[float] | None, n_files: int) -> list[int]:
    """Columns from the best board score to the worst; as given without scores."""
    if scores is None:
        return list(range(n_files))
    return sorted(range(n_files), key=lambda column: (-scores[column], column))


def weighted_vote(labels: Array, weights: Array, n_classes: int, *, order: Sequence[int] | None = None) -> Array:
    """The class with the largest weight of votes; ties go to the first file in `order` that says a tied class.

    Returns (n_rows,) positions of classes.
    """
    counts = vote_counts(labels, n_classes, weights)
    winners = counts >= counts.max(axis=1, keepdims=True) - TIE  # (n_rows, n_classes)
    result = counts.argmax(axis=1)
    open_rows = winners.sum(axis=1) > 1
    for column in order if order is not None else range(labels.shape[1]):
        said = labels[:, column]
        mine = open_rows & winners[np.arange(len(labels)), said]
        result[mine] = said[mine]
        open_rows &= ~mine
    return np.asarray(result)


def majority(labels: Array, n_classes: int, *, scores: Sequence[float] | None = None) -> Array:
    """Each file one vote; ties to the file with the best board score among those that say a tied class."""
    n_files = labels.shape[1]
    return weighted_vote(labels, np.ones(n_files), n_classes, order=best_first(scores, n_files))


def agreement_weights(
    labels: Array, n_classes: int, *, scores: Sequence[float] | None = None, ridge: float = RIDGE
) -> Array:
    """Weights `solve(A + ridge I, scores)`, A the agreement matrix; without scores by cliques.

    Least squares of the unknown truth on the files' one-hot labels: their products with each other are the agreement,
    with the truth the accuracy. Near copies share one weight. Negative weights are set to 0, no file may outweigh all
    others together, nearly even weights are even, the sum is 1. Without scores only cliques are told apart: each has
    the weight of one file.
    """
    n_files = labels.shape[1]
    if scores is None:
        weights = np.ones(n_files)
        for group in cliques(labels, n_classes).groups:
            weights[group] = 1 / len(group)
        return capped(weights)
    weights = np.maximum(ridge_solution(labels, scores, n_classes, ridge=ridge), 0)
    if weights.max() <= EVEN * weights.min() and not cliques(labels, n_classes).groups:
        return np.full(n_files, 1 / n_files)  # such differences are noise of the board, and a majority is safe
    return capped(weights)


def ridge_weights(labels: Array, scores: Sequence[float] | Array, n_classes: int) -> Array:
    """`agreement_weights` without evening out: for a vote that is guarded row by row."""
    return capped(np.maximum(ridge_solution(labels, scores, n_classes), 0))


def ridge_solution(labels: Array, scores: Sequence[float] | Array, n_classes: int, *, ridge: float = RIDGE) -> Array:
    """`solve(A + ridge I, scores)`, A the agreement of the files.  # (n_files,)"""
    found = agreement(labels, n_classes).agreement
    return np.linalg.solve(found + ridge * np.eye(labels.shape[1]), np.asarray(scores, dtype=np.float64))


def capped(weights: Array) -> Array:
    """Weights with sum 1, the largest below the sum of the others (or equal to the second); equal if one has all."""
    top = int(weights.argmax())
    others = np.delete(weights, top)
    if others.sum() <= 0:
        return np.full(len(weights), 1 / len(weights))
    weights = weights.copy()
    weights[top] = min(weights[top], max(others.max(), LARGEST * others.sum()))
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Cliques:
    """Files that nearly say the same, as lists of columns (two or more each), and the agreement that made them so."""

    groups: list[list[int]]
    threshold: float


def cliques(labels: Array, n_classes: int) -> Cliques:
    """Groups of files that differ among each other much less than files here usually do (complete linkage)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n_files = labels.shape[1]
    if n_files < 2:
        return Cliques([], 1.0)
    distance = 1 - agreement(labels, n_classes).agreement
    np.fill_diagonal(distance, 0)
    condensed = squareform(np.maximum(distance, 0), checks=False)
    limit = NEAR_COPY * float(np.quantile(condensed, 0.75)) if n_files > 2 else 0.01
    groups = fcluster(linkage(condensed, "complete"), limit, "distance")
    columns = [np.flatnonzero(groups == group).tolist() for group in np.unique(groups)]
    return Cliques(sorted(found for found in columns if len(found) > 1), 1 - limit)


def ranking(labels: Array, n_classes: int) -> list[tuple[int, float]]:
    """Columns by agreement with the vote of the others, near copies counted once: a ranking, never an accuracy."""
    n_files = labels.shape[1]
    weights = agreement_weights(labels, n_classes)
    copies = {column: group for group in cliques(labels, n_classes).groups for column in group}
    result = []
    for column in range(n_files):
        others = [other for other in range(n_files) if other not in copies.get(column, [column])]
        if not others:
            others = [other for other in range(n_files) if other != column] or [column]
        voted = weighted_vote(labels[:, others], weights[others], n_classes)
        result.append((column, float((labels[:, column] == voted).mean())))
    return sorted(result, key=lambda item: (-item[1], item[0]))


def competence(labels: Array, reference: Array, n_classes: int) -> Array:
    """Share of the rows of each class (by `reference`) on which a file says so; NaN without rows.

    With the truth of held-out rows it is recall; with a vote as the reference only agreement.  # (n_files, n_classes)
    """
    result = np.full((labels.shape[1], n_classes), np.nan)
    for label in range(n_classes):
        rows = labels[reference == label]
        if len(rows):
            result[:, label] = (rows == label).mean(axis=0)
    return result


def agreement_by_class(labels: Array, n_classes: int) -> Array:
    """How often each file is with the vote of the others, by the class that this vote names; NaN where it names none.

    Agreement, not accuracy: where all are wrong together, it is high.  # (n_files, n_classes)
    """
    n_files = labels.shape[1]
    ranked = [column for column, _ in ranking(labels, n_classes)]
    result = np.full((n_files, n_classes), np.nan)
    for column in range(n_files):
        others = [other for other in range(n_files) if other != column] or [column]
        order = [others.index(other) for other in ranked if other in others]
        part = labels[:, others]
        voted = weighted_vote(part, agreement_weights(part, n_classes), n_classes, order=order)
        result[column] = competence(labels[:, [column]], voted, n_classes)[0]
    return result


def blend(tables: Sequence[Array], weights: Array) -> Array:
    """The weighted mean of probabilities; labels enter as smoothed one-hot rows.  # (n_rows, n_classes)"""
    total = np.zeros_like(tables[0], dtype=np.float64)
    for table, weight in zip(tables, weights, strict=True):
        total += weight * table
    return np.asarray(total / weights.sum())
