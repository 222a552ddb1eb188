"""Greedy selection: the fast path equals the naive one, and the one that AutoGluon was seen to take."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.greedy import bagged, follow, reduce_rows, select
from analysis.metrics import METRICS, confusion, from_counts, true_class
from tests.blend_tables import library_of_members

Array = np.ndarray[Any, np.dtype[Any]]


def naive(table: Array, labels: Array, *, metric: str) -> Generator[Array, int, None]:
    """Every candidate's whole table, every round."""
    exact = table.astype(np.float64) if metric == "log_loss" else table
    probabilities = np.exp(exact).astype(np.float64)
    total, count = np.zeros(probabilities.shape[1:]), 0
    while True:
        count += 1
        regrets = []
        for own in probabilities:
            mixed = (total + own) / count
            if metric == "log_loss":
                regrets.append(float(-np.log(true_class(mixed, labels)).mean()))
            else:
                counts = confusion(labels, mixed.argmax(axis=1), n_classes=mixed.shape[1])
                regrets.append(1.0 - float(from_counts(metric, counts)))
        total = total + probabilities[(yield np.array(regrets))]


@settings(max_examples=40, deadline=None)
@given(
    metric=st.sampled_from(METRICS),
    n_rows=st.integers(1, 120),
    n_members=st.integers(1, 7),
    n_classes=st.integers(2, 9),
    seed=st.integers(0, 10_000),
)
def test_the_fast_path_is_the_naive_path(metric: str, n_rows: int, n_members: int, n_classes: int, seed: int) -> None:
    library = library_of_members(n_rows=n_rows, n_members=n_members, n_classes=n_classes, seed=seed)
    fast = select(library.log_probabilities, library.labels, metric=metric, rounds=20, seed=seed)
    slow = follow(naive(library.log_probabilities, library.labels, metric=metric), n_members, rounds=20, seed=seed)
    assert fast.path == slow.path
    np.testing.assert_allclose(fast.regrets, slow.regrets, atol=1e-6)
    assert fast.weights.sum() == pytest.approx(1)


# paths of autogluon.core 1.6.3, EnsembleSelection(25, "multiclass", metric), on the tables of `recorded`
AUTOGLUON = {
    "macro_f1": (6, 5, 4, 1, 7, 3, 2, 4, 1, 7, 6, 5, 0, 0, 4, 7, 1, 3, 1, 0, 5, 4),
    "accuracy": (6, 5, 4, 1, 7, 3, 4, 1, 2, 7, 6, 5, 0, 7, 2, 1, 4, 4, 1, 5, 5, 4, 1, 0),
    "balanced_accuracy": (6, 5, 4, 1, 7, 3, 2, 4, 1, 7, 6, 5, 0, 7, 2, 1, 4, 4, 1, 5, 5, 4, 1, 0),
    "log_loss": (4, 6, 1, 5, 7, 3, 0, 4, 2, 6, 1, 4, 7, 5, 3, 6, 4, 1),
    "qwk": (1, 7, 0, 5, 4, 7, 4, 1, 5, 6, 1, 4, 4, 1, 7, 5, 3, 7, 1),
}


def recorded() -> tuple[Array, Array]:
    """The tables on which AutoGluon's paths were recorded."""
    library = library_of_members(n_rows=1000, n_members=8, n_classes=6, seed=11)
    return library.log_probabilities, library.labels


@pytest.mark.parametrize("metric", AUTOGLUON)
def test_the_path_is_autogluons(metric: str) -> None:
    table, labels = recorded()
    assert select(table, labels, metric=metric, rounds=25).path == AUTOGLUON[metric]


def test_ties_go_to_members_already_picked() -> None:
    library = library_of_members(n_members=1)
    twins = np.concatenate([library.log_probabilities] * 3)
    assert len(set(select(twins, library.labels).path)) == 1


def test_rows_that_no_weights_can_change_are_not_kept() -> None:
    sure = np.log(np.tile([0.9, 0.05, 0.05], (3, 10, 1))).astype(np.float32)
    _, pairs = reduce_rows(sure, np.zeros(10, dtype=np.int64))
    assert len(pairs.rows) == 0
    assert select(sure, np.zeros(10, dtype=np.int64), metric="accuracy").regrets[0] == 0.0


def test_a_memory_mapped_table_gives_the_same_path(tmp_path: Any) -> None:
    library = library_of_members(n_rows=500)
    np.save(tmp_path / "table.npy", library.log_probabilities)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    assert select(mapped, library.labels).path == select(library.log_probabilities, library.labels).path


def test_bagged_weights_are_shares_that_favour_the_strong() -> None:
    library = library_of_members(n_rows=400, n_members=4)
    weak = library.log_probabilities.copy()
    weak[0] = weak[0, ::-1]
    weights = bagged(weak, library.labels, bags=12, groups=library.groups)
    assert weights.sum() == pytest.approx(1)
    assert weights.argmin() == 0
