"""Votes: ties as promised, copies share one voice, order of files and rows does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mode

from analysis import voting

Array = np.ndarray[Any, np.dtype[Any]]


def test_ties_go_to_the_best_score_and_without_scores_to_the_first_file() -> None:
    labels = np.array([[0, 1], [2, 0], [1, 1]])
    assert voting.majority(labels, 3).tolist() == [0, 2, 1]
    assert voting.majority(labels, 3, scores=[0.8, 0.9]).tolist() == [1, 0, 1]


def test_a_file_outside_the_tie_does_not_decide_it() -> None:
    labels = np.array([[2, 0, 0, 1, 1]])
    assert voting.majority(labels, 3, scores=[0.99, 0.5, 0.6, 0.7, 0.5]).tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_majority_equals_the_mode_where_it_is_unique(seed: int, n_files: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (40, n_files))
    counts = np.stack([(labels == label).sum(axis=1) for label in range(4)], axis=1)
    unique = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert (voting.majority(labels, 4)[unique] == mode(labels, axis=1).mode[unique]).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_weights_are_shares_and_follow_the_files(seed: int, n_files: int) -> None:
    generator = np.random.default_rng(seed)
    labels, scores = generator.integers(0, 3, (50, n_files)), generator.uniform(0.3, 0.9, n_files)
    weights = voting.agreement_weights(labels, 3, scores=scores.tolist())
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert weights.max() <= 0.5
    order, rows = generator.permutation(n_files), generator.permutation(50)
    moved = voting.agreement_weights(labels[rows][:, order], 3, scores=scores[order].tolist())
    np.testing.assert_allclose(moved, weights[order], atol=1e-12)


def test_near_copies_are_found_and_share_one_voice() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 5, 500)
    files = [np.where(generator.random(500) < 0.2, generator.integers(0, 5, 500), truth) for _ in range(4)]
    copy = np.where(generator.random(500) < 0.01, 0, files[3])
    labels = np.stack([*files, copy], axis=1)
    assert voting.cliques(labels, 5).groups == [[3, 4]]
    weights = voting.agreement_weights(labels, 5, scores=[0.8] * 5)
    assert weights[3] + weights[4] < 1.4 * weights[0]
    np.testing.assert_allclose(voting.agreement_weights(labels, 5), [0.25, 0.25, 0.25, 0.125, 0.125])


def test_files_that_are_all_different_make_no_clique() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (300, 5))
    assert voting.cliques(labels, 5).groups == []


def test_the_ranking_puts_the_worst_file_last() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 5, 500)
    rates = (0.1, 0.5, 0.2, 0.15)
    labels = np.stack([np.where(generator.random(500) < rate, (truth + 1) % 5, truth) for rate in rates], axis=1)
    assert [column for column, _ in voting.ranking(labels, 5)][-1] == 1


def test_competence_is_recall_when_the_reference_is_the_truth() -> None:
    labels, truth = np.array([[0, 1], [0, 0], [1, 1]]), np.array([0, 0, 1])
    np.testing.assert_array_equal(voting.competence(labels, truth, 3)[:, :2], [[1, 1], [0.5, 1]])
    assert np.isnan(voting.competence(labels, truth, 3)[:, 2]).all()


def test_a_zero_weight_equals_an_absent_table() -> None:
    first, second = np.array([[0.2, 0.8]]), np.array([[0.9, 0.1]])
    np.testing.assert_allclose(voting.blend([first, second], np.array([2.0, 0.0])), first)
