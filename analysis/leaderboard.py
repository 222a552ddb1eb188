"""What the board will say: expected public and private scores for given split sizes, before anything is uploaded.

Two sources of chance are drawn together: which images the validation happens to hold (a bootstrap over groups), and
which images a board of n rows happens to hold (a multinomial draw from that). A held-out row was seen by one fold's
model, a test row is the mean over folds: what that mean is worth is estimated on the test, without labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.decision import decide
from analysis.metrics import from_counts
from analysis.uncertainty import Estimate, draw, estimate, fold_rows, scores_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Contest:
    """Two decisions on a board of n rows."""

    rows: int
    probability: float  # that a beats b there
    noise: float  # standard deviation of the difference from the draw of the board alone
    submissions: int  # how many independent pairs of this strength tell them apart at 95%; 0: no difference at all


def board_draws(
    metric: str,
    truth: Array,
    decisions: Sequence[Array],
    *,
    groups: Array,
    n_classes: int,
    rows: int,
    draws: int = 2000,
    seed: int = 0,
) -> Array:
    """Scores of each decision on boards of `rows` images, (draws, n_decisions); label metrics only."""
    tuples = fold_rows(truth, decisions, groups, n_classes=n_classes)
    counts = draw(tuples, draws=draws, seed=seed)
    shares = counts / counts.sum(axis=1, keepdims=True)
    random = np.random.default_rng(seed + 1)
    return scores_of(metric, tuples, random.multinomial(rows, shares).astype(np.float64))


def expected(score: float, board: Array) -> Estimate:
    """The interval of a board's score around the honest score: draws (draws,) recentred on it.

    Resampling rows with replacement lowers macro-F1 a little where classes are rare; recentring takes that out.
    """
    return estimate(score, board - board.mean() + score)


def contest(
    metric: str,
    truth: Array,
    decisions: Sequence[Array],
    *,
    groups: Array,
    n_classes: int,
    rows: int,
    draws: int = 2000,
    seed: int = 0,
) -> Contest:
    """Does the first decision beat the second on a board of `rows` images, and how many would it take to be sure?"""
    board = board_draws(metric, truth, decisions, groups=groups, n_classes=n_classes, rows=rows, draws=draws, seed=seed)
    apart = board[:, 0] - board[:, 1]
    tuples = fold_rows(truth, decisions, groups, n_classes=n_classes)
    counts = tuples.counts.astype(np.float64)
    fixed = np.random.default_rng(seed + 2).multinomial(rows, counts / counts.sum(), size=draws).astype(np.float64)
    alone = scores_of(metric, tuples, fixed)
    noise = float((alone[:, 0] - alone[:, 1]).std(ddof=1))
    here = scores_of(metric, tuples, counts[None, :])[0]
    gap = abs(float(here[0] - here[1]))
    needed = int(np.ceil((1.96 * noise / gap) ** 2)) if gap > 0 else 0
    probability = float((apart > 0).mean() + 0.5 * (apart == 0).mean())
    return Contest(rows, probability, noise, needed)


def fold_gain(metric: str, folds: Sequence[Array], mean: Array) -> float:
    """What averaging the folds' models gains on the test, estimated without labels; label metrics only.

    `folds`: the blend of each fold's predictions; `mean`: the blend of the members' means over folds, both
    (n_test, n_classes) log-probabilities. The mean's probabilities stand in for the truth, on both sides.
    """
    truth = np.exp(np.asarray(mean, dtype=np.float64))
    alone = [expected_score(metric, truth, decide(metric, table)) for table in folds]
    return expected_score(metric, truth, decide(metric, mean)) - float(np.mean(alone))


def expected_score(metric: str, probabilities: Array, labels: Array) -> float:
    """The metric of `labels` with expected counts under `probabilities` (n_rows, n_classes)."""
    n_classes = probabilities.shape[1]
    counts = np.stack([np.bincount(labels, weights=column, minlength=n_classes) for column in probabilities.T])
    return float(from_counts(metric, counts))
