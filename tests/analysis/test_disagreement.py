"""Measures of disagreement equal scikit-learn's, statsmodels' and their definitions on the same tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, matthews_corrcoef
from statsmodels.stats.contingency_tables import cochrans_q as peer_cochran
from statsmodels.stats.contingency_tables import mcnemar as peer_mcnemar

from analysis import disagreement

Array = np.ndarray[Any, np.dtype[Any]]
N_CLASSES = 5


def library(seed: int, n_rows: int = 400, n_files: int = 4) -> tuple[Array, Array]:
    """(truth, labels) of files that are right on most rows."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, N_CLASSES, n_rows)
    wrong = generator.random((n_rows, n_files)) < generator.uniform(0.1, 0.4, n_files)
    return truth, np.where(wrong, generator.integers(0, N_CLASSES, (n_rows, n_files)), truth[:, None])


@pytest.mark.parametrize("seed", range(3))
def test_agreement_and_kappa_equal_scikit_learn(seed: int) -> None:
    _, labels = library(seed)
    found = disagreement.agreement(labels, N_CLASSES)
    for i in range(4):
        for j in range(4):
            assert found.agreement[i, j] == pytest.approx(accuracy_score(labels[:, i], labels[:, j]))
            assert found.kappa[i, j] == pytest.approx(cohen_kappa_score(labels[:, i], labels[:, j]))


@pytest.mark.parametrize("seed", range(3))
def test_diversity_equals_its_definitions(seed: int) -> None:
    truth, labels = library(seed)
    found = disagreement.diversity(labels, truth)
    for i in range(4):
        for j in range(4):
            a, b = labels[:, i] == truth, labels[:, j] == truth
            assert found.double_fault[i, j] == pytest.approx((~a & ~b).mean())
            assert found.only_first[i, j] == pytest.approx((a & ~b).mean())
            assert found.same_wrong[i, j] == pytest.approx((~a & (labels[:, i] == labels[:, j])).mean())
            assert found.correlation[i, j] == pytest.approx(matthews_corrcoef(a, b))
            both, none, first, second = (a & b).sum(), (~a & ~b).sum(), (a & ~b).sum(), (~a & b).sum()
            expected = (both * none - first * second) / (both * none + first * second)
            assert found.q_statistic[i, j] == pytest.approx(expected)


@pytest.mark.parametrize("n_rows", [20, 400])
def test_mcnemar_and_cochran_equal_statsmodels(n_rows: int) -> None:
    truth, labels = library(0, n_rows)
    right = labels == truth[:, None]
    first, second, p_value = disagreement.mcnemar(right[:, 0], right[:, 1])
    both, none = (right[:, 0] & right[:, 1]).sum(), (~right[:, 0] & ~right[:, 1]).sum()
    expected = peer_mcnemar([[both, first], [second, none]], exact=first + second < 25, correction=True)
    assert p_value == pytest.approx(expected.pvalue)
    peer = peer_cochran(right.astype(int))
    assert disagreement.cochrans_q(right) == pytest.approx((peer.statistic, peer.pvalue))


def test_tests_are_silent_where_nothing_tells_files_apart() -> None:
    same = np.ones((30, 3), dtype=bool)
    assert disagreement.mcnemar(same[:, 0], same[:, 1]) == (0, 0, 1.0)
    assert disagreement.cochrans_q(same) is None


def test_per_class_f1_equals_scikit_learn() -> None:
    truth, labels = library(1)
    found = disagreement.per_class_f1(labels, truth, N_CLASSES + 1)
    expected = f1_score(truth, labels[:, 2], labels=range(N_CLASSES + 1), average=None, zero_division=0)
    np.testing.assert_array_equal(found[2], expected)


def test_disputes_pairs_and_majorities_on_a_table_by_hand() -> None:
    labels = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 1, 0], [2, 2, 2]])
    assert disagreement.disputed(labels).tolist() == [1, 2, 3]
    assert disagreement.without_majority(labels, 3).tolist() == [2]
    pairs = [(pair.first, pair.second, pair.n_rows) for pair in disagreement.class_pairs(labels)]
    assert pairs == [(0, 1, 3), (0, 2, 1), (1, 2, 1)]
    assert disagreement.entropy(np.array([[0.5, 0.5, 0], [1, 0, 0]])).tolist() == [1, 0]
    assert disagreement.margin(np.array([[0.5, 0.3, 0.2]])) == pytest.approx([0.2])


def test_what_voting_cannot_mend_and_what_an_oracle_could() -> None:
    labels, truth = np.array([[0, 0], [1, 1], [0, 1], [1, 0]]), np.array([0, 0, 0, 2])
    assert disagreement.same_wrong_of_all(labels, truth) == 0.25
    assert disagreement.oracle(labels, truth) == 0.5
    assert disagreement.fixes_and_hurts(labels, np.array([0, 1, 1, 2]), truth) == [(1, 1), (1, 0)]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_the_bounds_of_the_board_hold(seed: int, n_classes: int) -> None:
    generator = np.random.default_rng(seed)
    truth, a, b = generator.integers(0, n_classes, (3, 30))
    low, high = (a == truth) & (b == truth), (a == truth) | (b == truth)
    found = disagreement.reach(float((a == truth).mean()), float((b == truth).mean()), float((a == b).mean()))
    assert found.worst_low - 1e-9 <= low.mean() <= found.worst_high + 1e-9
    assert found.best_low - 1e-9 <= high.mean() <= found.best_high + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_similar_sources_become_neighbours_and_none_is_lost(seed: int, n_files: int) -> None:
    _, labels = library(seed, 60, n_files)
    order = disagreement.order_by_similarity(disagreement.agreement(labels, N_CLASSES).agreement)
    assert sorted(order) == list(range(n_files))


def test_a_near_copy_stands_beside_its_original() -> None:
    _, labels = library(2, 300, 5)
    labels[:, 4] = labels[:, 0]
    order = disagreement.order_by_similarity(disagreement.agreement(labels, N_CLASSES).agreement)
    assert abs(order.index(4) - order.index(0)) == 1
