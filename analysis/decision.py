"""Decisions: from probabilities to the labels that maximise the *expected* metric. No true label is used.

accuracy and log-loss: the likeliest class. Balanced accuracy: p_c over the expected share of c. Macro-F1 and QWK depend
on all rows at once: both are ratios of expectations, climbed by linearising (Narasimhan et al., 2015, 'Consistent
multiclass algorithms for complex performance measures'; Dinkelbach's method is exact for the one ratio of QWK).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import quadratic_cost

Array = NDArray[Any]
STEPS = np.array([1.0, 0.6, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01])  # of the line search
DECIMALS = 6  # another batch size at inference moves probabilities by 1e-8; rounding keeps labels the same


def decide(metric: str, log_probabilities: Array) -> Array:
    """Labels (n_rows,) int64 from log-probabilities (n_rows, n_classes), for `metric`."""
    probabilities = np.round(np.exp(np.asarray(log_probabilities, dtype=np.float64)), DECIMALS)
    if metric == "macro_f1":
        return expected_f1_labels(probabilities)
    if metric == "balanced_accuracy":
        return np.asarray((probabilities / np.maximum(probabilities.mean(axis=0), 1e-12)).argmax(axis=1))
    if metric == "qwk":
        return expected_kappa_labels(probabilities)
    return np.asarray(probabilities.argmax(axis=1))


def expected_f1(probabilities: Array, labels: Array) -> float:
    """Macro-F1 with expected counts: mean_c 2 E[hits_c] / (predicted_c + E[actual_c])."""
    n_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    hits = np.bincount(labels, weights=own, minlength=n_classes)
    total = np.bincount(labels, minlength=n_classes) + probabilities.sum(axis=0)
    return float(np.mean(2.0 * hits / np.maximum(total, 1e-12)))


def expected_f1_labels(probabilities: Array, *, rounds: int = 40) -> Array:
    """Labels that maximise `expected_f1`: Frank-Wolfe on the classes' counts, from the likeliest class.

    Each round labels every row by the slope of the objective at the present (soft) counts, then moves the counts part
    of the way by a line search; the best labels of all rounds are kept.
    """
    n_classes = probabilities.shape[1]
    actual = probabilities.sum(axis=0)
    rows = np.arange(len(probabilities))

    def counts(labels: Array) -> Array:
        hits = np.bincount(labels, weights=probabilities[rows, labels], minlength=n_classes)
        return np.stack([hits, np.bincount(labels, minlength=n_classes)])

    def value(counted: Array) -> Array:  # (..., 2, n_classes) -> (...)
        return np.asarray(np.mean(2.0 * counted[..., 0, :] / (counted[..., 1, :] + actual + 1e-12), axis=-1))

    best_labels = probabilities.argmax(axis=1)
    soft = counts(best_labels)
    best = float(value(soft))
    for _ in range(rounds):
        total = soft[1] + actual + 1e-12
        # the slope of 2 hits / total for one more row of class c that is right with probability p
        labels = (probabilities * (2.0 / total) - 2.0 * soft[0] / total**2).argmax(axis=1)
        target = counts(labels)
        if float(value(target)) > best + 1e-12:
            best, best_labels = float(value(target)), labels
        tried = soft + STEPS[:, None, None] * (target - soft)
        gains = value(tried)
        if gains.max() <= float(value(soft)) + 1e-9:
            break
        soft = tried[int(gains.argmax())]
    return np.asarray(best_labels)


def expected_kappa_labels(probabilities: Array, *, rounds: int = 30) -> Array:
    """Labels that maximise the expected quadratic kappa 1 - O/E, by Dinkelbach's method."""
    n_rows, n_classes = probabilities.shape
    cost = quadratic_cost(n_classes)
    row_cost = probabilities @ cost  # (n_rows, n_classes): expected cost of each answer
    chance = probabilities.mean(axis=0) @ cost  # (n_classes,): cost of each answer by chance
    ratio, labels = 0.0, row_cost.argmin(axis=1)
    for _ in range(rounds):
        updated = (row_cost - ratio * chance).argmin(axis=1)
        observed, expected = row_cost[np.arange(n_rows), updated].sum(), chance[updated].sum()
        new_ratio = float(observed / expected) if expected > 0 else 0.0
        labels = updated
        if abs(new_ratio - ratio) < 1e-12:
            break
        ratio = new_ratio
    return np.asarray(labels)
