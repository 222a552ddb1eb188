"""The response of moments to what was drawn: learnt from hand-made copies, and solved for a known belief."""

from dataclasses import replace

import numpy as np
import pytest

from augmentation.belief import at_neutral, draw_belief, first_belief
from augmentation.response import Line, Moments, Response

KNOBS = {knob.name: knob for knob in first_belief()}


def pictures_features(columns, random):
    """Features of made-up images: one for each of three knobs, the content, and noise that nobody can draw."""
    count = len(columns["noise_sigma"])
    clear = [
        columns["noise_sigma"] / 10,
        columns["motion_length"] * 2,
        columns["flip_horizontal"],
        columns["jitter_hue"],
    ]
    return np.stack([*clear, np.zeros(count)], axis=1) + random.normal(size=(count, 5))


def solved(truth, start, *, count=8000):
    random = np.random.default_rng(0)
    test = pictures_features(draw_belief(truth, 2000, random), random)
    columns = draw_belief(start, count, random)
    features = pictures_features(columns, random)
    moments = Moments(test, features)
    response = Response.learn(start, columns, moments.of(features), np.ones(count))
    return {knob.name: knob for knob in response.solve(start, size=1000, early=True)}


def test_known_strengths_come_back_and_what_is_not_there_goes():
    start = [
        replace(KNOBS["noise.sigma"], low=0, high=60, probability=0.8),
        replace(KNOBS["motion.length"], low=0, high=9, probability=0.4),
        replace(KNOBS["flip.horizontal"], probability=0.3),
        replace(KNOBS["jitter.hue"], low=-60, high=60),
    ]
    truth = [
        replace(KNOBS["noise.sigma"], low=20, high=40, probability=1.0),
        replace(KNOBS["motion.length"], low=4, high=6, probability=0.5),
        replace(KNOBS["flip.horizontal"], probability=0.5),
        KNOBS["jitter.hue"],
    ]
    found = solved(truth, start)
    assert found["noise.sigma"].low == pytest.approx(20, abs=5)
    assert found["noise.sigma"].high == pytest.approx(40, abs=5)
    assert found["motion.length"].probability == pytest.approx(0.5, abs=0.12)
    assert (found["motion.length"].low + found["motion.length"].high) / 2 == pytest.approx(5, abs=0.8)
    assert found["flip.horizontal"].probability == pytest.approx(0.5, abs=0.1)
    assert max(abs(found["jitter.hue"].low), abs(found["jitter.hue"].high)) < 12  # of 60


def test_one_kind_of_blur_does_not_stay_in_the_place_of_another():
    blur, motion = (replace(KNOBS[name], probability=1.0) for name in ("blur.sigma", "motion.length"))
    lines = [Line(np.linspace(0, 9, 4), np.linspace(0, 9, 4)[:, None] * way) for way in ([1.0, 0.0], [0.98, 0.2])]
    target = -lines[1].of(replace(motion, low=4, high=6))
    found = Response(target, lines).solve([blur, motion], size=20, early=True)
    assert found[0].probability == 0
    assert found[1].probability * (found[1].low + found[1].high) / 2 == pytest.approx(5, abs=0.4)


def test_the_mean_of_a_line_is_that_of_its_points():
    line = Line(np.array([0.0, 1.0, 3.0]), np.array([[0.0], [2.0], [2.0]]))
    assert line.mean(np.array([0.0, 1.0]), np.array([1.0, 3.0]))[:, 0] == pytest.approx([1.0, 2.0])
    knob = replace(KNOBS["blur.sigma"], low=1, high=3, probability=0.25)
    assert line.of(knob) == pytest.approx([0.5])
    assert line.of(at_neutral(knob)) == pytest.approx([0.0])


def test_moments_of_the_test_are_at_zero_and_copies_like_it_are_near():
    random = np.random.default_rng(0)
    test, twins, other = (random.normal(shift, 1 + shift, size=(400, 6)) for shift in (0, 0, 1))
    moments = Moments(test, twins)
    assert moments.of(test).mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert moments.distance(twins) < 0.2 < moments.distance(other)
