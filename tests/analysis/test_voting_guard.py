"""The guarded vote: copies share a voice, probabilities match the scores, bets are taken where bad luck is cheap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import voting, voting_guard
from analysis.voting_entropy import match_scores, patterns
from benchmarks.team import Setting, gain

Array = np.ndarray[Any, np.dtype[Any]]


def team(seed: int, n_files: int, n_rows: int = 400, n_classes: int = 5) -> tuple[Array, Array]:
    """(truth, labels) of files that are wrong on a fifth of the rows, each on its own."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_classes, n_rows)
    files = [
        np.where(generator.random(n_rows) < 0.2, generator.integers(0, n_classes, n_rows), truth)
        for _ in range(n_files)
    ]
    return truth, np.stack(files, axis=1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_what_each_file_says_is_as_likely_right_as_its_score(seed: int, n_files: int) -> None:
    truth, labels = team(seed, n_files)
    scores = np.full(n_files, 0.8)
    found = match_scores(labels, scores, 5)
    np.testing.assert_allclose(found.right.mean(axis=0), scores, atol=0.03)  # the ridge lets them differ a little
    order, rows = np.random.default_rng(seed).permutation(n_files), np.random.default_rng(seed).permutation(len(truth))
    moved = match_scores(labels[rows][:, order], scores[order], 5)
    np.testing.assert_allclose(moved.weights, found.weights[order], atol=1e-3)


def test_a_file_twice_has_the_weight_of_one() -> None:
    _, labels = team(0, 4)
    once = match_scores(labels, np.full(4, 0.8), 5).weights
    twice = match_scores(labels[:, [0, 1, 2, 3, 3]], np.full(5, 0.8), 5).weights
    assert twice[3] == pytest.approx(twice[4], abs=1e-6)
    assert twice[3] + twice[4] < 1.5 * once[3]


def test_rows_that_mean_the_same_to_a_vote_are_one_pattern() -> None:
    found = patterns(np.array([[0, 0, 1], [4, 4, 2], [1, 2, 1], [3, 3, 3]]), 5)
    assert len(found.place) == 3
    assert found.of_row[0] == found.of_row[1]
    assert sorted(found.unsaid.tolist()) == [3, 3, 4]


def test_few_doubtful_bets_are_not_taken_and_many_good_ones_are() -> None:
    offered = np.zeros(3000, dtype=bool)
    offered[:40] = True
    assert voting_guard.convincing(np.full(3000, 0.2), offered).sum() == 0
    assert voting_guard.convincing(np.full(3000, 0.9), offered).sum() == 40
    assert voting_guard.convincing(np.full(3000, 0.9), offered & (np.arange(3000) < 3)).sum() == 0, "too little to win"
    mixed = np.where(np.arange(3000) < 25, 0.9, 0.05)
    taken = voting_guard.convincing(mixed, offered)
    assert taken[:25].all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_labels_come_from_the_files_and_rows_may_be_in_any_order(seed: int, n_files: int, known: bool) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, (60, n_files))
    scores = generator.uniform(0.3, 0.9, n_files).tolist() if known else None
    vote = voting_guard.careful_vote(labels, 3, scores=scores)
    assert (labels == vote.labels[:, None]).any(axis=1).all()
    assert vote.weights.sum() == pytest.approx(1)
    assert vote.taken.sum() <= vote.offered
    usual = voting.majority(labels, 3, scores=scores)
    assert (vote.labels[~vote.taken] == usual[~vote.taken]).all()
    rows = generator.permutation(60)
    np.testing.assert_array_equal(voting_guard.careful_vote(labels[rows], 3, scores=scores).labels, vote.labels[rows])


@pytest.mark.parametrize("kind", ["diverse", "similar", "near copies", "two cliques", "one weak file", "three files"])
def test_on_fresh_simulated_teams_copies_gain_two_points_and_nothing_loses_a_tenth(kind: str) -> None:
    least = 2.0 if kind == "near copies" else -0.1
    assert min(gain(kind, seed, Setting())[0] for seed in range(70_000, 70_004)) >= least
