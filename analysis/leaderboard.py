"""What the board will say: the expected score for given split sizes, before anything is uploaded.

The honest score is that of the held-out rows; the test's score differs from it for two reasons that can be estimated
without a label of the test, and both are added, each shown by itself:
- a held-out row was seen by one fold's model, a test row by the mean over the folds' models (`fold_gain`);
- macro-F1 is a ratio: the fewer rows of a class, the lower on average (`size_gain`, by the bootstrap).
What is left is chance, of two kinds: which images the validation happens to hold (a bootstrap over groups), and which
images a board of n rows happens to hold (a multinomial draw).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.calibration import scaled
from analysis.decision import decide
from analysis.metrics import from_counts, from_marginals
from analysis.uncertainty import Estimate, Resamples, Tuples, fold_rows, scores_of

Array = NDArray[Any]
SHARPEST, FLATTEST = 0.5, 2.0  # temperatures between which `fold_gain` looks for the posterior of the test


@dataclass(frozen=True)
class Contest:
    """Two decisions on a board of n rows."""

    rows: int
    probability: float  # that a beats b there
    noise: float  # standard deviation of the difference from the draw of the board alone
    submissions: int  # how many independent pairs of this strength tell them apart at 95%; 0: no difference at all


@dataclass(frozen=True)
class Held:
    """Decisions on the held-out rows, and resamples of these rows; label metrics only."""

    metric: str
    tuples: Tuples
    counts: Array  # (draws, n_tuples) of the resamples

    @classmethod
    def of(cls, metric: str, truth: Array, decisions: Sequence[Array], *, resamples: Resamples, n_classes: int) -> Held:
        """From true labels (n_rows,) and decided ones (n_rows,) each."""
        tuples = fold_rows(truth, decisions, n_classes=n_classes)
        return cls(metric, tuples, resamples.counts(tuples.which, len(tuples.values)))

    @property
    def scores(self) -> Array:
        """The decisions' scores on the rows as they are, (n_decisions,)."""
        counted = self.tuples.counts[None, :].astype(np.float64)
        return np.asarray(scores_of(self.metric, self.tuples, counted)[0])

    def boards(self, rows: int, *, seed: int = 0) -> Array:
        """Scores of each decision on boards of `rows` images, (draws, n_decisions)."""
        shares = self.counts / self.counts.sum(axis=1, keepdims=True)
        drawn = np.random.default_rng(seed + 1).multinomial(rows, shares)
        return scores_of(self.metric, self.tuples, drawn.astype(np.float64))

    def drawn(self, rows: int, *, seed: int = 0) -> Array:
        """Scores of each decision on boards of `rows` images like the held-out ones, (draws, n_decisions)."""
        counts = self.tuples.counts.astype(np.float64)
        drawn = np.random.default_rng(seed + 2).multinomial(rows, counts / counts.sum(), size=len(self.counts))
        return scores_of(self.metric, self.tuples, drawn.astype(np.float64))

    @cached_property
    def resampled(self) -> Array:
        """Scores of each decision on the resamples, (draws, n_decisions)."""
        return scores_of(self.metric, self.tuples, self.counts)

    @cached_property
    def inflation(self) -> float:
        """How much too wide the bootstrap draws the first decision's error: near 1 with many rows of every class.

        Rows of a scarce class vary more, or where all are right less, once they are resampled. What a second resampling
        does shows it: the mean variance of boards drawn from each resample over that of boards drawn from the rows.
        """
        rows = int(self.tuples.counts.sum())
        again = float((self.boards(rows) - self.resampled)[:, 0].var())
        once = float(self.drawn(rows)[:, 0].var())
        return float(np.clip(again / once, 0.5, 2.0)) ** 0.5 if once > 0 else 1.0

    def expected(self, rows: int, *, gain: float = 0.0, seed: int = 0) -> tuple[Estimate, float]:
        """The first decision's score on a board of `rows` images, and how much of it the number of rows explains.

        `gain` is added to the honest score. Boards of `rows` images and of as many as are held out, both drawn from
        the held-out rows, differ on average by what their size explains.
        """
        board, resampled = self.drawn(rows, seed=seed)[:, 0], self.resampled[:, 0]
        size_gain = float(board.mean() - resampled.mean())
        score = float(self.scores[0]) + gain + size_gain
        apart = (resampled - resampled.mean()) / self.inflation + board - board.mean()
        low, high = score + np.quantile(apart, [0.025, 0.975])
        return Estimate(score, float(apart.std(ddof=1)), float(low), float(high)), size_gain

    def contest(self, rows: int, *, seed: int = 0) -> Contest:
        """Does the first decision beat the second on a board of `rows` images; how many would it take to be sure?"""
        board = self.boards(rows, seed=seed)
        apart = board[:, 0] - board[:, 1]
        alone = self.drawn(rows, seed=seed)
        noise = float((alone[:, 0] - alone[:, 1]).std(ddof=1))
        gap = abs(float(self.scores[0] - self.scores[1]))
        needed = int(np.ceil((1.96 * noise / gap) ** 2)) if gap > 0 else 0
        probability = float((apart > 0).mean() + 0.5 * (apart == 0).mean())
        return Contest(rows, probability, noise, needed)


def fold_gain(metric: str, folds: Sequence[Array], mean: Array, *, honest: float) -> float:
    """What averaging the folds' models gains on the test, estimated without labels; label metrics only.

    `folds`: the blend of each fold's predictions; `mean`: the blend of the members' means over folds, both
    (n_test, n_classes) log-probabilities. The mean stands in for the truth on both sides, at the temperature at which
    the single folds score as much as they do on the held-out rows, `honest`: averaging makes it too modest.
    """
    alone, together = [decide(metric, table) for table in folds], decide(metric, mean)

    def single(temperature: float) -> float:
        truth = np.exp(scaled(mean, temperature))
        return float(np.mean([expected_score(metric, truth, labels) for labels in alone]))

    low, high = np.log(SHARPEST), np.log(FLATTEST)
    for _ in range(8):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if single(float(np.exp(middle))) > honest else (low, middle)
    temperature = float(np.exp(0.5 * (low + high)))
    return expected_score(metric, np.exp(scaled(mean, temperature)), together) - single(temperature)


def expected_score(metric: str, probabilities: Array, labels: Array) -> float:
    """The metric of `labels` with expected counts under `probabilities` (n_rows, n_classes)."""
    n_classes = probabilities.shape[1]
    if metric == "qwk":
        counts = np.stack([np.bincount(labels, weights=column, minlength=n_classes) for column in probabilities.T])
        return float(from_counts(metric, counts))
    hits = np.bincount(labels, weights=probabilities[np.arange(len(labels)), labels], minlength=n_classes)
    predicted = np.bincount(labels, minlength=n_classes)
    return float(from_marginals(metric, hits, predicted=predicted, actual=probabilities.sum(axis=0)))
