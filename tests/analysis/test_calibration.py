"""Calibration finds what was done to the probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, log_loss, recall_score

from analysis import calibration
from analysis.calibration import bias_by_loss, bias_by_metric, estimated_priors, scaled, temperature
from analysis.metrics import METRICS, confusion, from_counts, published, score
from analysis.pools import log_softmax

Array = np.ndarray[Any, np.dtype[Any]]
EVERY = list(range(5))
SCIKIT_LEARN: dict[str, Callable[[Array, Array, Array], float]] = {
    "macro_f1": lambda t, y, p: f1_score(t, y, labels=EVERY, average="macro", zero_division=0),
    "accuracy": lambda t, y, p: accuracy_score(t, y),
    "balanced_accuracy": lambda t, y, p: recall_score(t, y, labels=np.unique(t), average="macro"),
    "qwk": lambda t, y, p: cohen_kappa_score(t, y, labels=EVERY, weights="quadratic"),
    "log_loss": lambda t, y, p: log_loss(t, p / p.sum(axis=1, keepdims=True), labels=EVERY),
}


def calibrated(n_rows: int = 6000, n_classes: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Log-probabilities and labels drawn from them."""
    random = np.random.default_rng(seed)
    table = random.dirichlet(np.full(n_classes, 0.5), size=n_rows)
    labels = (table.cumsum(axis=1) > random.random((n_rows, 1))).argmax(axis=1)
    return np.log(np.maximum(table, 1e-6)), labels


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_temperature_is_undone(heat: float) -> None:
    logs, labels = calibrated()
    found = temperature(log_softmax(logs / heat), labels)
    assert found * heat == pytest.approx(1.0, abs=0.05)
    undone = np.exp(scaled(log_softmax(logs / heat), found))
    assert undone.max(axis=1).mean() == pytest.approx((undone.argmax(axis=1) == labels).mean(), abs=0.01)


def test_temperature_stays_within_its_range() -> None:
    sure = np.log(np.array([[0.999, 0.001]] * 20))
    assert temperature(sure, np.zeros(20, dtype=np.int64)) == pytest.approx(0.1, rel=1e-3)
    assert temperature(sure, np.array([0, 1] * 10)) == pytest.approx(10.0, rel=1e-3)
    assert scaled(sure, 1.0) is sure


def test_bias_is_undone() -> None:
    logs, labels = calibrated()
    bias = np.array([1.0, 0.0, -0.5, 0.0])
    found = bias_by_loss(log_softmax(logs + bias), labels, ridge=0.0)
    np.testing.assert_allclose(found - found[1], -(bias - bias[1]), atol=0.15)


def test_bias_by_metric_never_lowers_it_on_its_own_rows() -> None:
    logs, labels = calibrated(600)
    biased = log_softmax(logs + np.array([2.0, 0, 0, 0]))
    found = bias_by_metric(biased, labels)
    before, after = (
        from_counts("macro_f1", confusion(labels, t.argmax(axis=1), n_classes=4)) for t in (biased, biased + found)
    )
    assert after > before


def test_shares_of_unlabelled_rows_are_estimated() -> None:
    logs, labels = calibrated(20_000)
    keep = np.random.default_rng(1).random(len(labels)) < np.array([1.0, 0.3, 0.6, 0.1])[labels]
    old, new = (np.bincount(y, minlength=4) / len(y) for y in (labels, labels[keep]))
    np.testing.assert_allclose(estimated_priors(logs[keep], old=old), new, atol=0.02)


@pytest.mark.parametrize("metric", METRICS)
def test_counts_give_scikit_learns_number(metric: str) -> None:
    logs, labels = calibrated(300, 5)
    labels = np.where(labels == 4, 0, labels)  # a class that never occurs
    answers = logs.argmax(axis=1)
    ours = published(metric, score(metric, labels, labels=answers, log_probabilities=logs))
    assert ours == pytest.approx(
        SCIKIT_LEARN[metric](labels, answers, np.exp(logs)), abs=1e-6 if metric == "log_loss" else 1e-12
    )


def test_temperature_and_bias_are_undone_together() -> None:
    logs, labels = calibrated()
    spoiled = log_softmax(2.0 * (logs + np.array([0.8, 0.0, -0.5, -0.3])))
    heat, bias = calibration.calibrated(spoiled, labels, after=True, bias="loss", metric="macro_f1", ridge=1e-6)
    mended = log_softmax(scaled(spoiled, heat) + bias)
    np.testing.assert_allclose(np.exp(mended), np.exp(logs), atol=0.03)
