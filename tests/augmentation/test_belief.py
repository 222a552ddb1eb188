"""Beliefs of noise fitting: what is drawn by them, where they explore, and how they move."""

from dataclasses import replace

import numpy as np
import pytest

from augmentation.belief import (
    as_operations,
    at_neutral,
    does_nothing,
    draw_belief,
    draw_explorers,
    first_belief,
    reach,
    toward,
)

KNOBS = {knob.name: knob for knob in first_belief()}


def test_what_does_nothing_is_not_claimed():
    assert does_nothing(KNOBS["gamma.exponent"]) and does_nothing(KNOBS["flip.vertical"])
    assert not does_nothing(KNOBS["noise.sigma"])
    assert not as_operations([at_neutral(knob) for knob in KNOBS.values()]).present()


@pytest.mark.parametrize("name", KNOBS)
@pytest.mark.parametrize("early", [True, False])
def test_values_stay_within_reach_and_reach_within_bounds(name, early):
    knob = KNOBS[name]
    low, high = reach(knob, early=early)
    assert knob.bounds[0] <= low <= high <= knob.bounds[1]
    for values in draw_explorers([knob], 500, np.random.default_rng(0), early=early).values():
        moving = values[values != knob.neutral]
        assert min(low, knob.low) <= moving.min() and moving.max() <= max(high, knob.high)


def test_copies_of_a_belief_follow_its_range_and_probability():
    knob = replace(KNOBS["motion.length"], low=3.0, high=6.0, probability=0.5)
    drawn = draw_belief([knob], 4000, np.random.default_rng(0))["motion_length"]
    assert np.mean(drawn > 0) == pytest.approx(0.5, abs=0.03)
    assert drawn[drawn > 0].min() >= 3 and drawn.max() <= 6


def test_a_knob_that_becomes_rarer_keeps_its_range_and_a_new_one_starts_with_the_target_s():
    """Half way between "with quality 50" and "not at all" lies "half of them with quality 50", not "with 75"."""
    on = replace(KNOBS["jpeg.quality"], low=40, high=60, probability=1.0)
    half = toward(on, at_neutral(on), 0.5)
    assert (half.low, half.high, half.probability) == (40, 60, 0.5)
    new = toward(KNOBS["jpeg.quality"], on, 0.5)
    assert (new.low, new.high, new.probability) == (40, 60, 0.5)
