"""Errors of scores: the counts' bootstrap equals resampled rows; relatives are drawn together; ties are called ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.leaderboard import Held, fold_gain
from analysis.metrics import confusion, from_counts
from analysis.pools import log_softmax
from analysis.uncertainty import Resamples, bootstrap, compare, estimate, fold_rows

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
    naive: Array = np.array(slow)
    np.testing.assert_allclose(fast.mean(axis=0), naive.mean(axis=0), atol=0.004)
    np.testing.assert_allclose(fast.std(axis=0), naive.std(axis=0), rtol=0.12)
    np.testing.assert_allclose(np.corrcoef(fast.T)[0, 1], np.corrcoef(naive.T)[0, 1], atol=0.1)


def test_every_row_is_counted_once() -> None:
    truth, first = answers(1)
    tuples = fold_rows(truth, [first], n_classes=4)
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
    wrong, right = np.flatnonzero(first != truth)[:2], np.flatnonzero(first == truth)[0]
    second[wrong], second[right] = truth[wrong], (truth[right] + 1) % 4  # two better, one worse
    drawn = bootstrap("accuracy", truth, [first, second], groups=np.arange(400), n_classes=4)
    same = compare(float((first == truth).mean()), float((second == truth).mean()), drawn)
    assert same.tie
    drawn = bootstrap("accuracy", truth, [truth, first], groups=np.arange(400), n_classes=4)
    ahead = compare(1.0, float((first == truth).mean()), drawn)
    assert not ahead.tie
    assert ahead.probability_better == 1.0


def test_an_interval_of_means_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=500)
    drawn = Resamples.of(np.arange(500), draws=2000, seed=0).means(values)
    found = estimate(float(values.mean()), drawn)
    assert found.error == pytest.approx(values.std() / 500**0.5, rel=0.1)
    assert found.low < found.score < found.high


def held(truth: Array, *decisions: Array) -> Held:
    resamples = Resamples.of(np.arange(len(truth)), draws=2000, seed=0)
    return Held.of("accuracy", truth, decisions, resamples=resamples, n_classes=4)


def test_a_small_board_is_less_certain_than_a_large_one() -> None:
    known, widths = held(*answers(4)), []
    for rows in (100, 1000, 100_000):
        interval, _ = known.expected(rows)
        widths.append(interval.high - interval.low)
    assert widths[0] > widths[1] > widths[2]
    error = (0.85 * 0.15 / 400) ** 0.5
    assert widths[2] == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_who_wins_on_the_private_board() -> None:
    truth, first = answers(5)
    sure = held(truth, truth, first).contest(500)
    assert (sure.probability, sure.submissions) == (1.0, 1)
    _, close = answers(5, right=0.84)
    assert 0.2 < held(truth, first, close).contest(500).probability < 0.95
    even = held(truth, first, first).contest(500)
    assert (even.probability, even.submissions) == (0.5, 0)


def test_more_groups_than_blocks_give_the_same_error() -> None:
    truth, first = answers(6, n_rows=20_000)
    few = Resamples.of(np.arange(20_000), draws=1000, seed=0)
    assert few.times.shape[1] < 20_000
    drawn = few.scores("accuracy", truth, [first], n_classes=4)
    assert drawn.std() == pytest.approx((first == truth).std() / 20_000**0.5, rel=0.1)


def test_cells_counted_in_parts_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resamples = Resamples.of(np.arange(300) // 2, draws=20, seed=0)
    cells = np.random.default_rng(0).integers(40, size=300)
    whole = resamples.counts(cells, 40)
    monkeypatch.setattr("analysis.uncertainty.MOST_CELLS", 900)
    np.testing.assert_array_equal(resamples.counts(cells, 40), whole)
    np.testing.assert_array_equal(whole.sum(axis=1), 300)


def test_macro_f1_of_few_rows_is_lower_and_the_forecast_knows() -> None:
    random = np.random.default_rng(0)
    shares, size, large = np.array([0.02, 0.03, 0.25, 0.7]), 150, 3000

    def sample(rows: int) -> tuple[Array, Array]:
        truth = random.choice(4, rows, p=shares)
        return truth, np.where(random.random(rows) < 0.8, truth, random.integers(4, size=rows))

    def f1(truth: Array, answer: Array) -> float:
        return float(from_counts("macro_f1", confusion(truth, answer, n_classes=4)))

    gains, honest = [], []
    for _ in range(60):
        truth, answer = sample(size)
        resamples = Resamples.of(np.arange(size), draws=300, seed=0)
        known = Held.of("macro_f1", truth, [answer], resamples=resamples, n_classes=4)
        honest.append(f1(truth, answer))
        gains.append(known.expected(large)[1])
    missing = float(np.mean([f1(*sample(large)) for _ in range(60)]) - np.mean(honest))
    assert missing > 0.005
    assert float(np.mean(gains)) == pytest.approx(missing, abs=0.01)


def test_errors_are_not_exaggerated_where_classes_are_scarce() -> None:
    random = np.random.default_rng(0)
    shares, size, honest, errors, plain = np.array([0.02] * 4 + [0.23] * 4), 400, [], [], []
    for _ in range(60):
        truth = random.choice(8, size, p=shares)
        answer = np.where(random.random(size) < 0.95, truth, random.integers(8, size=size))
        resamples = Resamples.of(np.arange(size), draws=300, seed=0)
        known = Held.of("macro_f1", truth, [answer], resamples=resamples, n_classes=8)
        honest.append(known.scores[0])
        plain.append(known.resampled.std())
        errors.append(known.expected(1_000_000)[0].error)
    assert np.mean(plain) > 1.05 * np.mean(errors)
    assert abs(np.mean(errors) - np.std(honest)) < abs(np.mean(plain) - np.std(honest))
    assert np.mean(errors) == pytest.approx(np.std(honest), rel=0.2)


def test_what_averaging_folds_gains_is_seen_without_labels() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(4, size=4000)
    signal = random.normal(size=(4000, 4))
    signal[np.arange(4000), truth] += 1.5
    folds = [log_softmax(1.5 * (signal + random.normal(size=signal.shape))) for _ in range(5)]
    mean = np.log(np.mean(np.exp(folds), axis=0))
    alone = float(np.mean([(table.argmax(axis=1) == truth).mean() for table in folds]))
    gained = float((mean.argmax(axis=1) == truth).mean()) - alone
    assert gained > 0.05
    assert fold_gain("accuracy", folds, mean, honest=alone) == pytest.approx(gained, abs=0.02)
