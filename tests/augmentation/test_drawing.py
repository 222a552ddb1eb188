"""Drawn values: pure functions of seed, view, source and copy; independent, with every combination."""

import numpy as np
import pytest
from scipy import stats

from augmentation.drawing import copy_keys, draw, uniform
from augmentation.ranges import Operations
from augmentation.recipe import AugmentParams

IDS = [f"{i}.png" for i in range(500)]


def keys(seed=0, view="train", copies=8):
    return copy_keys(seed, view, IDS * copies, np.repeat(np.arange(copies), len(IDS)))


def recipe(**operations):
    return AugmentParams(operations=Operations.model_validate(operations))


def test_numbers_are_even_and_without_repeats():
    values = uniform(keys(), "rotate")
    assert stats.kstest(values, "uniform").pvalue > 0.01
    assert len(np.unique(keys())) == len(keys())


@pytest.mark.parametrize("change", [{"seed": 1}, {"view": "testlike"}])
def test_seed_and_view_have_streams_of_their_own(change):
    correlation = np.corrcoef(uniform(keys(), "a"), uniform(keys(**change), "a"))[0, 1]
    assert abs(correlation) < 0.05


def test_a_copy_does_not_depend_on_its_company():
    together = draw(AugmentParams(), keys(), view="train")
    alone = draw(AugmentParams(), copy_keys(0, "train", [IDS[7]], [3]), view="train")
    assert alone.row(0) == together.row(3 * len(IDS) + 7)


def test_no_two_copies_in_any_batch_are_alike():  # a transform object sent to workers restarts in every batch
    rows = np.stack(list(draw(AugmentParams(), keys(), view="train").columns.values()), axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_three_coins_show_all_eight_outcomes():  # one seed for every transform would show two
    coins = draw(recipe(flip={"horizontal": 0.5, "vertical": 0.5, "transpose": 0.5}), keys(), view="train").columns
    outcomes = coins["flip_horizontal"] * 4 + coins["flip_vertical"] * 2 + coins["flip_transpose"]
    counts = np.bincount(outcomes.astype(int), minlength=8)
    assert stats.chisquare(counts).pvalue > 0.001


def test_drawn_values_are_uncorrelated():
    params = recipe(rotate={}, shift={}, jitter={}, tint={}, blur={}, noise={}, jpeg={}, flip={"horizontal": 0.5})
    columns = [values for values in draw(params, keys(), view="train").columns.values() if values.std() > 0]
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 0.1


def test_one_more_operation_leaves_the_others_as_they_were():
    few = draw(recipe(rotate={}, noise={}), keys(), view="train").columns
    more = draw(recipe(rotate={}, blur={}, noise={}), keys(), view="train").columns
    assert all(np.array_equal(few[name], more[name]) for name in few)


def test_probabilities_and_ranges_are_kept():
    sigma = draw(recipe(noise={"probability": 0.3, "sigma": [5, 25]}), keys(), view="train").columns["noise_sigma"]
    active = sigma[sigma > 0]
    assert len(active) / len(sigma) == pytest.approx(0.3, abs=0.03)
    assert active.min() >= 5 and active.max() <= 25
    assert active.mean() == pytest.approx(15, abs=0.5)


def test_strength_scales_the_distance_from_neutral_within_bounds():
    params = recipe(rotate={"degrees": [-150, 150]}, jitter={"brightness": [0.8, 1.2]})
    once = draw(params, keys(), view="train").columns
    twice = draw(params, keys(), view="train", strength=np.full(len(keys()), 2.0)).columns
    assert np.allclose(twice["jitter_brightness"], 1 + 2 * (once["jitter_brightness"] - 1))
    assert np.abs(twice["rotate_degrees"]).max() == 180


def test_test_like_copies_are_neither_mixed_nor_holed():
    params = recipe(dropout={}, noise={})
    params = params.model_copy(update={"mixup": params.mixup.model_copy(update={"probability": 0.5})})
    columns = draw(params, keys(), view="testlike").columns
    assert set(columns) == {"noise_sigma"}


def test_a_mixed_copy_keeps_the_larger_share_of_its_source():
    shares = draw(AugmentParams(mixup={"probability": 0.5}), keys(), view="train").columns["mixup"]
    assert (shares < 1).mean() == pytest.approx(0.5, abs=0.03)
    assert shares.min() >= 0.5
