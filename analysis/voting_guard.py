"""The vote that leaves a majority only where the evidence is convincing.

    voted = careful_vote(labels, n_classes, scores=scores, order=order)

A weighted vote differs from the majority on few rows, and on each it is a bet. Where near copies share a voice, nine
bets of ten are won; between files that are all different, six of ten, and bad luck costs more than 0.1 points. So rows
are taken from the surest on, as many as lose no more than 0.1% of all rows even `SURE` standard deviations below what
is expected, and none where less than that is to be won. A guarantee it is not: scores may mislead. Measured on fresh
simulated teams by benchmarks/team.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.disagreement import agreement, vote_counts
from analysis.voting import best_first, cliques, ridge_weights, weighted_vote
from analysis.voting_entropy import match_scores

Array = np.ndarray[Any, np.dtype[Any]]
SURE = 3.0  # standard deviations
LOSS = 0.001  # share of all rows that bad luck may cost
LARGEST_EDGE = 0.9  # expected wins minus losses of a bet, at most: no row is certain
SLOPE = 3.0  # edge of a bet for each unit of difference in weights, where all files are different: measured, low
BOARD = 0.1  # share of the rows that a public board is taken to show: its noise pulls the scores together
ONE_RIGHT = 0.85  # of two files that differ, one is right on so many rows: measured


@dataclass(frozen=True)
class Vote:
    """What was voted; weights sum to 1; on `offered` rows the weighted vote differs from the majority."""

    labels: Array  # (n_rows,)
    weights: Array  # (n_files,)
    offered: int
    taken: Array  # (n_rows,) whether the majority was left


def careful_vote(
    labels: Array, n_classes: int, *, scores: Sequence[float] | None = None, order: Sequence[int] | None = None
) -> Vote:
    """The vote of `labels` (n_rows, n_files); `scores` are the board's, one for each file, or none.

    Where files copy each other, by largest entropy; where not, by the agreement ridge, if the entropy agrees; without
    scores only copies tell. Ties go to the first file in `order`, by default that with the best score.
    """
    n_files = labels.shape[1]
    order = best_first(scores, n_files) if order is None else order
    usual = weighted_vote(labels, np.ones(n_files), n_classes, order=order)
    if cliques(labels, n_classes).groups:
        given = levelled(labels, scores, n_classes) if scores else even_scores(labels, n_classes)
        voted, edge, weights = by_entropy(labels, given, n_classes, usual=usual, order=order)
    elif scores is None:
        voted, edge, weights = usual, np.zeros(len(labels)), np.ones(n_files)
    else:
        voted, edge, weights = by_both(labels, shrunk(labels, scores, n_classes), n_classes, usual=usual, order=order)
    taken = convincing(edge, voted != usual)
    return Vote(np.where(taken, voted, usual), weights / weights.sum(), int((voted != usual).sum()), taken)


def by_entropy(
    labels: Array, scores: Array, n_classes: int, *, usual: Array, order: Sequence[int]
) -> tuple[Array, Array, Array]:
    """(labels, edge, weights) of the distribution of largest entropy that gives each file its score."""
    found = match_scores(labels, scores, n_classes)
    top = found.right.max(axis=1)
    voted = np.full(len(labels), -1)
    for column in order:
        mine = (voted < 0) & (found.right[:, column] >= top - 1e-9)
        voted[mine] = labels[mine, column]
    edge = top - np.where(labels == usual[:, None], found.right, 0).max(axis=1)
    return voted, edge, np.maximum(found.weights, 1e-6)


def by_both(
    labels: Array, scores: Array, n_classes: int, *, usual: Array, order: Sequence[int]
) -> tuple[Array, Array, Array]:
    """(labels, edge, weights) of the agreement ridge, where the largest entropy says the same class."""
    weights = ridge_weights(labels, scores, n_classes)
    voted = weighted_vote(labels, weights, n_classes, order=order)
    other, _, _ = by_entropy(labels, scores, n_classes, usual=usual, order=order)
    voted = np.where(voted == other, voted, usual)
    counts, rows = vote_counts(labels, n_classes, weights), np.arange(len(labels))
    return voted, SLOPE * (counts[rows, voted] - counts[rows, usual]), weights


def convincing(edge: Array, offered: Array) -> Array:
    """Which of the offered rows to take: the most with the largest edges that bad luck cannot make costly.

    None if not even `LOSS` is to be won. A bet is won, lost or neither: +1, -1 or 0 rows; its edge is what is expected.
    Returns (n_rows,) booleans.
    """
    rows = np.flatnonzero(offered)
    rows = rows[np.argsort(-edge[rows], kind="stable")]
    gains = np.minimum(np.round(edge[rows], 9), LARGEST_EDGE)
    low = np.cumsum(gains) - SURE * np.sqrt(np.cumsum(1 - gains**2))
    last = np.append(np.diff(np.round(edge[rows], 9)) != 0, True)[: len(rows)]  # rows of one edge go together
    fine = np.flatnonzero((low >= -LOSS * len(offered)) & last)
    taken = np.zeros(len(offered), dtype=bool)
    if len(fine) and gains[: fine[-1] + 1].sum() >= LOSS * len(offered):  # less is not worth the risk
        taken[rows[: fine[-1] + 1]] = True
    return taken


def shrunk(labels: Array, scores: Sequence[float], n_classes: int) -> Array:
    """Scores pulled to their mean by the share of their variance that is the board's noise (James and Stein)."""
    given = np.asarray(scores, dtype=np.float64)
    n_rows, n_files = labels.shape
    if n_files < 2 or not given.var():
        return given
    apart = 1 - agreement(labels, n_classes).agreement[~np.eye(n_files, dtype=bool)].mean()
    noise = ONE_RIGHT * apart / 2 / (BOARD * n_rows)
    kept = max(0.0, 1 - noise / given.var(ddof=1))
    return np.asarray(given.mean() + kept * (given - given.mean()))


def even_scores(labels: Array, n_classes: int) -> Array:
    """Without a board: one score for all, the root of the least agreement of two files.  # (n_files,)"""
    return np.full(labels.shape[1], np.sqrt(agreement(labels, n_classes).agreement.min()))


def levelled(labels: Array, scores: Sequence[float], n_classes: int) -> Array:
    """Scores moved down to what files can reach that differ so much: only their differences are believed.

    The board shows other rows, and often macro-F1; a level that the rows cannot have would make weights endless.
    """
    given = np.asarray(scores, dtype=np.float64)
    return np.asarray(given - max(0.0, given.mean() - even_scores(labels, n_classes)[0]))
