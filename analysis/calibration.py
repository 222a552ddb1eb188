"""Calibration: temperature, bias per class, and priors. Pure functions on log-probabilities (n_rows, n_classes)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import confusion, from_marginals
from analysis.pools import FLOOR, log_softmax

Array = NDArray[Any]


def temperature(log_probabilities: Array, labels: Array, *, low: float = 0.1, high: float = 10.0) -> float:
    """The T that minimises the log-loss of softmax(log p / T), within [low, high] (Guo et al., 2017).

    The loss is convex in 1/T; Newton's method on its slope, sum_i (E_p[z] - z_true), kept within a shrinking bracket.
    """
    logits = np.maximum(np.asarray(log_probabilities, dtype=np.float64), FLOOR).T.copy()  # (n_classes, n_rows)
    logits -= logits.max(axis=0)
    own = logits[labels, np.arange(len(labels))].sum()

    def slopes(inverse: float) -> tuple[float, float]:
        shares = np.exp(inverse * logits)
        shares /= shares.sum(axis=0)
        shares *= logits
        mean = shares.sum(axis=0)
        shares *= logits
        return float(mean.sum() - own), float(shares.sum() - mean @ mean)

    lower, upper, inverse = 1.0 / high, 1.0 / low, 1.0
    if slopes(upper)[0] <= 0:
        return low
    if slopes(lower)[0] >= 0:
        return high
    for _ in range(30):
        first, second = slopes(inverse)
        lower, upper = (inverse, upper) if first < 0 else (lower, inverse)
        step = inverse - first / second if second > 0 else 0.0
        updated = step if lower < step < upper else 0.5 * (lower + upper)
        if abs(updated - inverse) < 1e-5 * inverse:
            break
        inverse = updated
    return 1.0 / inverse


def scaled(log_probabilities: Array, temperature: float) -> Array:
    """softmax(log p / T) as log-probabilities; T = 1 returns the input."""
    if temperature == 1.0:
        return log_probabilities
    return log_softmax(np.maximum(log_probabilities, FLOOR) / temperature)


def estimated_priors(log_probabilities: Array, *, old: Array, rounds: int = 200) -> Array:
    """Class shares (n_classes,) of unlabelled rows by expectation maximisation (Saerens et al., 2002)."""
    old = np.asarray(old, dtype=np.float64)
    shares = old.copy()
    probabilities = np.exp(np.asarray(log_probabilities, dtype=np.float64))
    for _ in range(rounds):
        posterior = probabilities * (shares / old)
        posterior /= posterior.sum(axis=1, keepdims=True)
        updated = posterior.mean(axis=0)
        if float(np.abs(updated - shares).max()) < 1e-7:
            break
        shares = np.maximum(updated, 1e-9)
    return np.asarray(shares / shares.sum())


def bias_by_loss(log_probabilities: Array, labels: Array, *, ridge: float = 0.01, rounds: int = 20) -> Array:
    """Bias per class (n_classes,) that minimises the log-loss of softmax(log p + b), with a ridge toward 0."""
    n_rows, n_classes = log_probabilities.shape
    bias = np.zeros(n_classes)
    share = np.bincount(labels, minlength=n_classes) / n_rows
    for _ in range(rounds):
        probabilities = np.exp(log_softmax(log_probabilities + bias))
        slope = probabilities.mean(axis=0) - share + ridge * bias
        curvature = np.diag(probabilities.mean(axis=0) + ridge + 1e-9) - probabilities.T @ probabilities / n_rows
        step = np.linalg.solve(curvature, slope)
        bias = bias - step
        if float(np.abs(step).max()) < 1e-5:
            break
    return np.asarray(bias)


def bias_by_metric(log_probabilities: Array, labels: Array, *, metric: str = "macro_f1", sweeps: int = 3) -> Array:
    """Bias per class (n_classes,) by coordinate ascent on the metric of argmax(log p + b); flatters its own rows."""
    n_classes = log_probabilities.shape[1]
    logits = np.maximum(np.asarray(log_probabilities, dtype=np.float64), FLOOR)
    bias, best = np.zeros(n_classes), -np.inf
    for _ in range(sweeps):
        for column in range(n_classes):
            for shift in np.linspace(-1.5, 1.5, 31):
                candidate = bias.copy()
                candidate[column] = shift
                value = _label_score(metric, labels, (logits + candidate).argmax(axis=1), n_classes)
                if value > best + 1e-12:
                    best, bias = value, candidate
    return bias


def calibrated(
    log_probabilities: Array, labels: Array, *, after: bool, bias: str, metric: str, ridge: float
) -> tuple[float, Array]:
    """A temperature (1 unless `after`) and a bias per class (empty for "none"), to be applied in this order.

    `bias`: none, loss (with `ridge`) or metric. Members trained on balanced classes, or on too few rows of one, need
    the bias before any decision about scarce classes. The temperature is found again after it.
    """
    heat = temperature(log_probabilities, labels) if after else 1.0
    table = scaled(log_probabilities, heat)
    if bias == "none":
        return heat, np.zeros(0)
    if bias == "metric":
        return heat, bias_by_metric(table, labels, metric=metric)
    shift = bias_by_loss(table, labels, ridge=ridge)
    again = temperature(log_softmax(table + shift), labels) if after else 1.0
    return heat * again, shift / again


def _label_score(metric: str, truth: Array, predicted: Array, n_classes: int) -> float:
    counts = confusion(truth, predicted, n_classes=n_classes)
    name = metric if metric in ("macro_f1", "accuracy", "balanced_accuracy") else "accuracy"
    hits, guesses, actual = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    return float(from_marginals(name, hits, predicted=guesses, actual=actual))
