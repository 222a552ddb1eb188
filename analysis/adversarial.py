"""Adversarial validation: can a classifier tell training images from test images by their statistics?

An AUC of 0.5 says no: a random hold-out then looks like the test. Near 1 it says that validation on plain training
images measures something else than the leaderboard does, and the measures by which it told them apart say what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LARGEST = 20_000  # rows of each side that are used; the standard error is then below 0.003


@dataclass(frozen=True)
class Adversarial:
    """`auc` is out of fold; `alone` holds the AUC of each measure by itself (see `alone`), the most telling first."""

    auc: float
    standard_error: float
    alone: dict[str, float]


def tell_apart(
    train: pd.DataFrame, test: pd.DataFrame, *, columns: Sequence[str], seed: int = 0, folds: int = 3
) -> Adversarial | None:
    """Out-of-fold AUC of gradient-boosted trees that tell rows of `train` from rows of `test` by `columns`.

    None where a side has fewer than two rows per fold.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    random = np.random.default_rng(seed)
    sides = [_values(table, columns, random) for table in (train, test)]
    if min(len(side) for side in sides) < 2 * folds:
        return None
    values = np.concatenate(sides)  # (n_rows, n_columns)
    is_test = np.repeat([0, 1], [len(side) for side in sides])
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, learning_rate=0.15, early_stopping=False, random_state=seed
    )
    twins = np.unique(values, axis=0, return_inverse=True)[1].ravel()  # held out together: seeing one misleads on both
    few = min(len(np.unique(twins[is_test == part])) for part in (0, 1)) < 10 * folds  # which groups cannot divide
    plain = few or twins.max() + 1 == len(twins)
    cutter = (StratifiedKFold if plain else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    splits = list(cutter.split(values, is_test, None if plain else twins))
    with threadpool_limits(1):  # on tables this small, threads mostly wait for each other
        scores = cross_val_predict(model, values, is_test, cv=splits, method="predict_proba")[:, 1]
    area = auc(scores, is_test)
    telling = sorted(((alone(values[:, i], is_test), name) for i, name in enumerate(columns)), reverse=True)
    return Adversarial(
        area, standard_error(area, len(sides[0]), len(sides[1])), {name: value for value, name in telling}
    )


def alone(values: NDArray[np.float64], is_test: NDArray[np.int64]) -> float:
    """The better AUC, 0.5 to 1, of a measure and of its distance from the training median: a shift, or a spread."""
    spread = np.abs(values - np.median(values[is_test == 0]))
    return max(max(area, 1 - area) for area in (auc(values, is_test), auc(spread, is_test)))


def auc(scores: NDArray[np.float64], positive: NDArray[np.int64]) -> float:
    """Area under the ROC curve, ties counted half (Mann-Whitney)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    above = float(ranks[positive == 1].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * n_negative)


def standard_error(area: float, n_first: int, n_second: int) -> float:
    """Standard error of an AUC (Hanley and McNeil, Radiology 143, 1982)."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_second - 1) * (one - area**2) + (n_first - 1) * (two - area**2)
    return float(np.sqrt(max(variance, 0.0) / (n_first * n_second)))


def _values(table: pd.DataFrame, columns: Sequence[str], random: np.random.Generator) -> NDArray[np.float64]:
    """At most LARGEST rows of the columns."""
    rows = np.arange(len(table))
    if len(rows) > LARGEST:
        rows = np.sort(random.choice(rows, LARGEST, replace=False))
    return table[list(columns)].to_numpy(np.float64)[rows]
