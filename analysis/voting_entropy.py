"""How likely each file is right on each row, if all that is known of the files is how often each is right.

    found = match_scores(labels, scores, n_classes)

Of all distributions of the unknown truth that give each file its score, the one of largest entropy: on row i, class k
has probability exp(sum of the weights of the files that say k), normalised. Copies repeat one constraint and share one
weight: near copies and cliques count as the few voices that they are, and the probabilities are about right.
Sources: E. T. Jaynes, Physical Review 106 (1957); A. Balsubramani and Y. Freund, COLT 2015 (scores, rows unlabelled).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
RIDGE = 0.03  # pulls the weights together: scores of a public board are noisy; measured by benchmarks/team.py
STEPS = 60
CLOSE = 1e-6  # largest error of a score, from which on the weights are good enough


@dataclass(frozen=True)
class Matched:
    """Weights whose sums are log-odds, and the probability that what each file says is right."""

    weights: Array  # (n_files,)
    right: Array  # (n_rows, n_files)


@dataclass(frozen=True)
class Patterns:
    """The different ways in which files agree on a row: which of them say the same; no matter what they say."""

    says: Array  # (n_patterns, n_said, n_files), 1 where a file says the class at this place
    place: Array  # (n_patterns, n_files), the place of what a file says
    unsaid: Array  # (n_patterns,) classes that nobody says
    share: Array  # (n_patterns,) of the rows
    of_row: Array  # (n_rows,)


def patterns(labels: Array, n_classes: int) -> Patterns:
    """Rows put together that mean the same to a vote."""
    n_rows, n_files = labels.shape
    place = np.zeros((n_rows, n_files), dtype=np.int64)
    n_said = np.ones(n_rows, dtype=np.int64)
    for column in range(1, n_files):  # places are given in the order of first appearance
        earlier = labels[:, :column] == labels[:, [column]]
        known = earlier.any(axis=1)
        place[:, column] = np.where(known, place[np.arange(n_rows), earlier.argmax(axis=1)], n_said)
        n_said += ~known
    kinds, of_row, counts = np.unique(place, axis=0, return_inverse=True, return_counts=True)
    said = kinds.max(axis=1) + 1
    says = (kinds[:, None, :] == np.arange(said.max())[None, :, None]).astype(np.float64)
    return Patterns(says, kinds, np.maximum(n_classes - said, 0), counts / n_rows, of_row.ravel())


def match_scores(labels: Array, scores: Array, n_classes: int) -> Matched:
    """Newton's method on the convex dual: log normalisers minus weights times scores, plus the ridge.

    `labels` is (n_rows, n_files), `scores` the share of rows on which each file is right.
    """
    n_files = labels.shape[1]
    known = patterns(labels, n_classes)
    apart = RIDGE * (np.eye(n_files) - 1 / n_files) + 1e-4 * np.eye(n_files)
    weights = np.full(n_files, 2 / n_files)
    value, right = dual(known, weights, scores, apart)
    for _ in range(STEPS):
        slope = known.share @ np.take_along_axis(right, known.place, axis=1) - scores + apart @ weights
        if np.abs(slope).max() < CLOSE:
            break
        step = np.linalg.solve(curvature(known, right) + apart, slope)
        weights, value, right = shorter(known, weights, step, scores=scores, apart=apart, value=value, slope=slope)
    return Matched(weights, np.take_along_axis(right, known.place, axis=1)[known.of_row])


def dual(known: Patterns, weights: Array, scores: Array, apart: Array) -> tuple[float, Array]:
    """The function that is minimised, and the probability of each class that is said.  # (), (n_patterns, n_said)"""
    logits = np.where(known.says.any(axis=2), known.says @ weights, -np.inf)
    top = np.maximum(logits.max(axis=1), 0)
    odds = np.exp(logits - top[:, None])
    total = odds.sum(axis=1) + known.unsaid * np.exp(-top)
    value = known.share @ (top + np.log(total)) - weights @ scores + weights @ apart @ weights / 2
    return float(value), odds / total[:, None]


def curvature(known: Patterns, right: Array) -> Array:
    """Covariance of being right between the files.  # (n_files, n_files)"""
    each = np.take_along_axis(right, known.place, axis=1)  # (n_patterns, n_files)
    total = -(each * known.share[:, None]).T @ each
    for place in range(known.says.shape[1]):
        says = known.says[:, place]
        total += (says * (known.share * right[:, place])[:, None]).T @ says
    return np.asarray(total)


def shorter(
    known: Patterns, weights: Array, step: Array, *, scores: Array, apart: Array, value: float, slope: Array
) -> tuple[Array, float, Array]:
    """The weights after a step that is halved until the function falls."""
    length = 1.0
    while True:
        moved = weights - length * step
        found, right = dual(known, moved, scores, apart)
        if found <= value - 1e-4 * length * (slope @ step) or length < 1e-6:
            return moved, found, right
        length /= 2
