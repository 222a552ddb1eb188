"""The metrics of a contest from counts, equal to scikit-learn's.

Pure functions. Every metric is oriented so that greater is better inside the package (`log_loss` is negated there);
`published` gives it back in its usual orientation.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

MetricName = Literal["macro_f1", "accuracy", "balanced_accuracy", "log_loss", "qwk"]
METRICS: tuple[str, ...] = get_args(MetricName)
Array = NDArray[Any]
LOWEST = float(np.log(1e-15))


def confusion(truth: Array, predicted: Array, *, n_classes: int) -> Array:
    """Counts of (truth, predicted) pairs, (n_classes, n_classes) int64."""
    cells = truth.astype(np.int64) * n_classes + predicted
    return np.bincount(cells, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def from_counts(metric: str, counts: Array) -> Array:
    """The metric of each confusion matrix in `counts` (..., n_classes, n_classes).

    macro-F1 averages over all classes and calls an absent, never predicted class 0, as scikit-learn does with
    `labels=range(n_classes), zero_division=0`; balanced accuracy averages over the classes that occur.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if metric == "qwk":
        return quadratic_kappa(counts)
    hits = np.einsum("...cc->...c", counts)
    return from_marginals(metric, hits, predicted=counts.sum(axis=-2), actual=counts.sum(axis=-1))


def from_marginals(metric: str, hits: Array, *, predicted: Array, actual: Array) -> Array:
    """The metric from counts per class (..., n_classes): right ones, predicted ones, actual ones."""
    if metric == "macro_f1":
        total = predicted + actual
        return np.asarray(np.mean(2.0 * hits / np.where(total > 0, total, 1.0), axis=-1))
    if metric == "accuracy":
        return np.asarray(hits.sum(axis=-1) / np.maximum(actual.sum(axis=-1), 1.0))
    if metric == "balanced_accuracy":
        occurs = actual > 0
        recall = np.where(occurs, hits / np.where(occurs, actual, 1.0), 0.0)
        return np.asarray(recall.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))
    raise ValueError(f"{metric} cannot be computed from counts")


def quadratic_kappa(counts: Array) -> Array:
    """Cohen's kappa with quadratic weights of each confusion matrix (..., n_classes, n_classes)."""
    n_classes = counts.shape[-1]
    cost = quadratic_cost(n_classes)
    actual, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    total = np.maximum(actual.sum(axis=-1), 1.0)
    observed = np.einsum("...ab,ab->...", counts, cost)
    expected = np.einsum("...a,ab,...b->...", actual, cost, predicted) / total
    return np.where(expected > 0, 1.0 - observed / np.where(expected > 0, expected, 1.0), 1.0)


def quadratic_cost(n_classes: int) -> Array:
    """Squared distance between classes, (n_classes, n_classes)."""
    steps = np.arange(n_classes, dtype=np.float64)
    return (steps[:, None] - steps[None, :]) ** 2


def true_class(log_probabilities: Array, labels: Array) -> Array:
    """The column of the true class: (n_rows, n_classes) -> (n_rows,); (m, n_rows, n_classes) -> (m, n_rows)."""
    return log_probabilities[..., np.arange(len(labels)), labels]


def true_logs(log_probabilities: Array, labels: Array) -> Array:
    """`true_class`, no lower than log(1e-15): one impossible row must not decide everything."""
    return np.asarray(np.maximum(true_class(log_probabilities, labels), LOWEST))


def score(metric: str, truth: Array, *, labels: Array, log_probabilities: Array) -> float:
    """The metric of decided `labels` (n_rows,), or of `log_probabilities` (n_rows, n_classes) for log-loss; greater
    is better."""
    if metric == "log_loss":
        return float(np.mean(true_logs(log_probabilities, truth), dtype=np.float64))
    return float(from_counts(metric, confusion(truth, labels, n_classes=log_probabilities.shape[-1])))


def published(metric: str, value: float) -> float:
    """A score in its metric's usual orientation: log-loss as the smaller the better."""
    return -value if metric == "log_loss" else value
