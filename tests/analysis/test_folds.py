"""Folds: parts whole, every image once, classes level; against scikit-learn's splitter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from analysis.folds import balance, deal, parts_per_class

tables = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.just(seed), st.integers(1, 120), st.integers(1, 6), st.integers(2, 5), st.integers(1, 40))
)


@settings(max_examples=150, deadline=None)
@given(tables)
def test_parts_stay_whole_and_every_image_has_a_fold(drawn: tuple[int, int, int, int, int]) -> None:
    seed, n_images, n_classes, n_folds, n_parts = drawn
    random = np.random.default_rng(seed)
    labels, parts = random.integers(0, n_classes, n_images), random.integers(0, n_parts, n_images)
    fold = deal(labels, parts, [1.0] * n_folds, seed=seed % 7)
    assert fold.shape == (n_images,)
    assert set(fold.tolist()) <= set(range(n_folds))
    assert all(len(set(fold[parts == part].tolist())) == 1 for part in set(parts.tolist()))


@settings(max_examples=150, deadline=None)
@given(tables)
def test_single_images_are_dealt_within_one_of_the_ideal(drawn: tuple[int, int, int, int, int]) -> None:
    seed, n_images, n_classes, n_folds, _ = drawn
    labels = np.random.default_rng(seed).integers(0, n_classes, n_images)
    fold = deal(labels, np.arange(n_images), [1.0] * n_folds, seed=seed % 7)
    for label in range(n_classes):
        counts = np.bincount(fold[labels == label], minlength=n_folds)
        assert np.abs(counts - counts.sum() / n_folds).max() < 1
    totals = np.bincount(fold, minlength=n_folds)
    assert totals.max() - totals.min() <= max(1, n_classes // 2)


def test_pairs_and_singles_level_each_other() -> None:
    labels = np.repeat([0, 1, 2], 40)
    parts = np.arange(120)
    parts[0:20] = np.repeat(np.arange(10), 2)  # ten pairs in class 0
    fold = deal(labels, parts, [1, 1, 1, 1], seed=3)
    counts = np.array([[np.sum((fold == f) & (labels == c)) for c in range(3)] for f in range(4)])
    assert counts.tolist() == [[10, 10, 10]] * 4


def test_hold_out_takes_its_share_of_each_class() -> None:
    labels = np.repeat([0, 1], [200, 30])
    fold = deal(labels, np.arange(230), [0.2, 0.8], seed=0)
    assert [int(np.sum((fold == 0) & (labels == c))) for c in (0, 1)] == [40, 6]


def test_seed_decides() -> None:
    labels, parts = np.zeros(60, int), np.arange(60)
    first, again, other = (deal(labels, parts, [1, 1, 1], seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_group_larger_than_a_fold_fills_one_and_the_rest_share() -> None:
    parts = np.r_[np.zeros(60, int), np.arange(1, 41)]
    fold = deal(np.zeros(100, int), parts, [1, 1, 1], seed=0)
    assert sorted(np.bincount(fold).tolist()) == [20, 20, 60]


@pytest.mark.parametrize("seed", range(4))
def test_no_worse_than_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = random.integers(0, 150, 600)
    labels = np.where(random.random(600) < 0.7, parts % 5, random.integers(0, 5, 600))
    ours = deal(labels, parts, [1, 1, 1, 1, 1], seed=seed)
    theirs = np.zeros(600, int)
    for number, (_, held) in enumerate(
        StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, parts)
    ):
        theirs[held] = number
    distance = [
        np.abs(
            np.array([np.bincount(fold[labels == c], minlength=5) for c in range(5)]) - np.bincount(labels)[:, None] / 5
        ).sum()
        for fold in (ours, theirs)
    ]
    assert distance[0] <= distance[1]


def test_parts_per_class_counts_parts_not_images() -> None:
    assert parts_per_class(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6])) == {0: 2, 1: 1}


def test_balance_shows_ideal_and_furthest() -> None:
    table = balance(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, -1]), ["cat", "dog"])
    assert table.columns.tolist() == ["train only", "fold 0", "fold 1", "all", "ideal", "furthest"]
    assert table.loc["cat"].tolist() == [0, 2, 1, 3, 1.5, 0.5]
    assert table.loc["dog", "train only"] == 1
