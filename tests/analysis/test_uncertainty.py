"""Errors of scores: the counts' bootstrap equals resampled rows; relatives are drawn together; ties are called ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.leaderboard import board_draws, contest, expected
from analysis.metrics import confusion, from_counts
from analysis.uncertainty import bootstrap, bootstrap_means, compare, estimate, fold_rows

Array = np.ndarray[Any, np.dtype[Any]]


def answers(seed: int, n_rows: int = 400, right: float = 0.85) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    truth = random.integers(4, size=n_rows)
    return truth, np.where(random.random(n_rows) < right, truth, random.integers(4, size=n_rows))


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "balanced_accuracy", "qwk"])
def test_errors_equal_those_of_resampled_rows(metric: str) -> None:
    truth, first = answers(0)
    _, second = answers(0, right=0.8)
    groups = np.arange(len(truth)) // 2
    fast = bootstrap(metric, truth, [first, second], groups=groups, n_classes=4, draws=2000)
    random = np.random.default_rng(5)
    slow = []
    for _ in range(600):
        rows = (random.integers(200, size=200)[:, None] * 2 + np.arange(2)).ravel()
        slow.append([from_counts(metric, confusion(truth[rows], a[rows], n_classes=4)) for a in (first, second)])
    naive = np.array(slow)
    np.testing.assert_allclose(fast.mean(axis=0), naive.mean(axis=0), atol=0.004)
    np.testing.assert_allclose(fast.std(axis=0), naive.std(axis=0), rtol=0.12)
    np.testing.assert_allclose(np.corrcoef(fast.T)[0, 1], np.corrcoef(naive.T)[0, 1], atol=0.1)


def test_every_row_is_counted_once() -> None:
    truth, first = answers(1)
    tuples = fold_rows(truth, [first], np.random.default_rng(0).integers(50, size=len(truth)), n_classes=4)
    assert tuples.counts.sum() == len(truth)
    for (t, a), count in zip(tuples.values, tuples.counts, strict=True):
        assert count == ((truth == t) & (first == a)).sum()


def test_copies_of_an_image_add_no_certainty() -> None:
    truth, first = answers(2)
    single = bootstrap("accuracy", truth, [first], groups=np.arange(400), n_classes=4)
    four = [np.repeat(values, 4) for values in (truth, first, np.arange(400))]
    copied = bootstrap("accuracy", four[0], [four[1]], groups=four[2], n_classes=4)
    assert copied.std() == pytest.approx(single.std(), rel=0.1)


def test_ties_are_called_ties() -> None:
    truth, first = answers(3)
    second = first.copy()
    second[0] = truth[0] if first[0] != truth[0] else (truth[0] + 1) % 4
    drawn = bootstrap("accuracy", truth, [first, second], groups=np.arange(400), n_classes=4)
    same = compare(float((first == truth).mean()), float((second == truth).mean()), drawn)
    assert same.tie
    drawn = bootstrap("accuracy", truth, [truth, first], groups=np.arange(400), n_classes=4)
    ahead = compare(1.0, float((first == truth).mean()), drawn)
    assert not ahead.tie
    assert ahead.probability_better == 1.0


def test_an_interval_of_means_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=500)
    drawn = bootstrap_means([values], groups=np.arange(500))
    found = estimate(float(values.mean()), drawn[:, 0])
    assert found.error == pytest.approx(values.std() / 500**0.5, rel=0.1)
    assert found.low < found.score < found.high


def test_a_small_board_is_less_certain_than_a_large_one() -> None:
    truth, first = answers(4)
    widths = []
    for rows in (100, 1000, 100_000):
        board = board_draws("accuracy", truth, [first], groups=np.arange(400), n_classes=4, rows=rows)
        interval = expected(0.85, board[:, 0])
        widths.append(interval.high - interval.low)
    assert widths[0] > widths[1] > widths[2]
    error = (0.85 * 0.15 / 400) ** 0.5
    assert widths[2] == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_who_wins_on_the_private_board() -> None:
    truth, first = answers(5)
    settings = {"groups": np.arange(400), "n_classes": 4, "rows": 500}
    sure = contest("accuracy", truth, [truth, first], **settings)  # type: ignore[arg-type]
    assert (sure.probability, sure.submissions) == (1.0, 1)
    _, close = answers(5, right=0.84)
    open_race = contest("accuracy", truth, [first, close], **settings)  # type: ignore[arg-type]
    assert 0.2 < open_race.probability < 0.95
    even = contest("accuracy", truth, [first, first], **settings)  # type: ignore[arg-type]
    assert (even.probability, even.submissions) == (0.5, 0)
