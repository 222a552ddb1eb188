"""Labels by expected metric: against brute force on tiny tables, and never worse than the likeliest class."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.decision import decide, expected_f1, expected_f1_labels, expected_kappa_labels
from analysis.metrics import quadratic_cost

Array = np.ndarray[Any, np.dtype[Any]]


def probabilities(seed: int, n_rows: int, n_classes: int) -> Array:
    return np.random.default_rng(seed).dirichlet(np.full(n_classes, 0.7), size=n_rows)


def expected_kappa(table: Array, labels: Array) -> float:
    cost = quadratic_cost(table.shape[1])
    observed = (table @ cost)[np.arange(len(labels)), labels].sum()
    chance = (table.mean(axis=0) @ cost)[labels].sum()
    return float(1 - observed / chance) if chance > 0 else 0.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_expected_f1_is_close_to_the_best_of_all_labellings(seed: int) -> None:
    table = probabilities(seed, 6, 3)
    found = expected_f1(table, expected_f1_labels(table))
    best = max(expected_f1(table, np.array(labels)) for labels in product(range(3), repeat=6))
    assert found >= expected_f1(table, table.argmax(axis=1)) - 1e-12
    assert found >= best - 0.05


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_expected_kappa_is_the_best_of_all_labellings(seed: int) -> None:
    table = probabilities(seed, 6, 3)
    best = max(expected_kappa(table, np.array(labels)) for labels in product(range(3), repeat=6))
    assert expected_kappa(table, expected_kappa_labels(table)) == pytest.approx(best, abs=1e-9)


def test_balanced_accuracy_prefers_scarce_classes() -> None:
    table = np.tile([0.9, 0.1], (20, 1))
    table[0] = [0.6, 0.4]
    assert decide("accuracy", np.log(table))[0] == 0
    assert decide("balanced_accuracy", np.log(table))[0] == 1


def test_a_scarce_class_is_answered_where_f1_gains_by_it() -> None:
    table = np.tile([0.98, 0.02], (50, 1))
    table[:3] = [0.55, 0.45]
    labels = decide("macro_f1", np.log(table))
    assert labels[:3].tolist() == [1, 1, 1]
    assert labels[3:].sum() == 0


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "balanced_accuracy", "log_loss", "qwk"])
def test_differences_below_the_sixth_decimal_change_no_label(metric: str) -> None:
    table = np.log(np.maximum(np.round(probabilities(3, 200, 5), 4), 1e-9))
    random = np.random.default_rng(0)
    shaken = np.log(np.exp(table) + random.uniform(0, 1e-9, size=table.shape))
    np.testing.assert_array_equal(decide(metric, table), decide(metric, shaken))
