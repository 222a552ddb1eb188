"""The order of the rows: each equally often, any stretch by itself, and no trace of the order they lie in."""

from math import factorial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from models.sampler import AHEAD, CHUNK, Order, rows_by_class

KINDS = ["plain", "balanced", "square_root"]


def plain(n_rows: int, seed: int = 0) -> Order:
    return Order(np.zeros(n_rows, np.int32), sampler="plain", seed=seed)


@given(st.integers(1, 5000), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_every_deck_holds_every_row_once(n_rows: int, seed: int) -> None:
    shown = plain(n_rows, seed).rows(0, 3 * n_rows).reshape(3, n_rows)
    assert (np.sort(shown, axis=1) == np.arange(n_rows)).all()


@pytest.mark.parametrize("n_rows", [*range(1, 70), 2**16 - 1, 2**16, 2**16 + 1, 999_983, 1_000_000])
def test_small_square_prime_and_large_numbers_of_rows(n_rows: int) -> None:
    assert (np.bincount(plain(n_rows).at(np.arange(n_rows)), minlength=n_rows) == 1).all()


@pytest.mark.parametrize("n_rows", [3, 4, 5, 6])
def test_all_orders_of_few_rows_come_equally_often(n_rows: int) -> None:
    decks = 100 * factorial(n_rows)
    shown = plain(n_rows).at(np.arange(decks * n_rows)).reshape(decks, n_rows)
    counts = np.unique(shown, axis=0, return_counts=True)[1]
    assert len(counts) == factorial(n_rows)
    assert ((counts - 100) ** 2 / 100).sum() < chi2.ppf(1 - 1e-4, len(counts) - 1)


@pytest.mark.parametrize("n_rows", [1_000, 99_991])
def test_a_deck_has_no_trace_of_the_order_the_rows_lie_in(n_rows: int) -> None:
    order, place = plain(n_rows, seed=7), np.arange(n_rows)
    first, second = order.at(place), order.at(place + n_rows)
    near = 4.5 / np.sqrt(n_rows)
    for one, other in ((first, place), (first, second), (first[:-1], first[1:]), (first[:-2], first[2:])):
        assert abs(np.corrcoef(one, other)[0, 1]) < near
    assert np.abs(first - place).mean() / n_rows == pytest.approx(1 / 3, abs=near)
    assert (np.abs(np.diff(first)) == 1).sum() < 14  # of shuffled rows, two on average
    assert (first == place).sum() < 9  # one on average


@pytest.mark.parametrize("sampler", KINDS)
@given(st.integers(0, 3 * AHEAD), st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_any_stretch_is_that_of_the_whole(sampler: str, start: int, length: int) -> None:
    labels = np.arange(1000) % 7
    whole = Order(labels, sampler=sampler, seed=3).at(np.arange(4 * AHEAD))
    order = Order(labels, sampler=sampler, seed=3)
    for first in (start, start + length, start):  # ahead, and back
        assert (order.rows(first, first + length) == whole[first : first + length]).all()
    assert (order.rows(5, 5 + 2 * AHEAD) == whole[5 : 5 + 2 * AHEAD]).all()


def test_another_seed_is_another_order() -> None:
    assert (plain(1000, 1).rows(0, 1000) != plain(1000, 2).rows(0, 1000)).mean() > 0.98


@pytest.mark.parametrize(("sampler", "share"), [("balanced", 0.5), ("square_root", 0.25)])
def test_samplers_draw_rare_classes_more_often_and_their_rows_alike(sampler: str, share: float) -> None:
    labels = np.array([0] * 45 + [3] * 10 + [0] * 45)  # no row has class 1 or 2
    shown = Order(labels, sampler=sampler, seed=0).rows(0, 40_000)
    assert (labels[shown] == 3).mean() == pytest.approx(share, abs=0.01)
    rare, common = np.bincount(shown, minlength=100)[45:55], np.delete(np.bincount(shown, minlength=100), range(45, 55))
    for counts in (rare, common):
        assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < chi2.ppf(1 - 1e-4, len(counts) - 1)


def test_rows_are_sorted_by_class_in_a_file(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 5, 2 * CHUNK + 11)
    found = rows_by_class(labels, np.bincount(labels), folder=tmp_path)
    assert (found == np.argsort(labels, kind="stable")).all()
