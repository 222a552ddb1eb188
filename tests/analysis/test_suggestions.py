"""Suggestions fit the numbers and say them."""

import numpy as np
import pandas as pd
import pytest

from analysis.adversarial import Adversarial
from analysis.statistics import MEASURES
from analysis.suggestions import about_classes, about_duplicates, about_shift, about_sizes, input_size


@pytest.mark.parametrize(
    ("counts", "advice", "reason"),
    [
        ([100, 90], "cross entropy, label smoothing", "1.11 times"),
        ([196, 50, 75], "balanced copies in augment", "scarce: b (50), c (75)"),
        ([5000, 40, 900], "partly balanced copies, and a focal", "125 times"),
    ],
)
def test_loss_and_sampling_follow_the_imbalance(counts: list[int], advice: str, reason: str) -> None:
    first = about_classes(counts, ["a", "b", "c"][: len(counts)])[0]
    assert first.advice.startswith(advice)
    assert reason in first.reason


def test_scarce_and_absent_classes_are_named() -> None:
    subjects = {said.subject: said for said in about_classes([40, 12, 0], ["a", "b", "c"])}
    assert "12 images: with" in subjects["Folds"].reason
    assert "c" in subjects["Classes"].reason


@pytest.mark.parametrize(("side", "size"), [(1, 32), (28, 32), (40, 48), (64, 64), (100, 128), (511, 384)])
def test_input_size_is_rounded_up_to_what_backbones_halve(side: float, size: int) -> None:
    assert input_size(side) == size


def shapes(width: int, height: int) -> pd.DataFrame:
    return pd.DataFrame({"width": [width] * 9, "height": [height] * 9, "aspect": [width / height] * 9})


def test_documents_are_started_small_and_turned_tests_are_noticed() -> None:
    advice = {said.subject: said for said in about_sizes(shapes(443, 591), shapes(591, 443))}
    assert advice["Input size"].advice == "384 px"
    assert "512 px" in advice["Input size"].reason
    assert "pad" in advice["Shape"].advice
    assert "turned by quarters" in advice["Rotation"].reason


def test_square_images_say_nothing_about_turns() -> None:
    assert "Rotation" not in {said.subject for said in about_sizes(shapes(591, 443), shapes(64, 64))}


def measures(**values: float) -> pd.DataFrame:
    spread = np.linspace(-1, 1, 21)
    return pd.DataFrame({name: values.get(name, 100.0) + spread for name in MEASURES})


def test_the_shift_is_translated_into_augmentation() -> None:
    found = Adversarial(0.97, 0.01, {"sharpness": 0.95, "saturation": 0.9})
    advice = about_shift(measures(), measures(sharpness=30, noise=160, brightness=130, saturation=130), found)
    assert [said.subject for said in advice] == ["Validation", "Blur", "Noise", "Light", "Colour"]
    assert "sharpness (0.95)" in advice[0].reason


@pytest.mark.parametrize(
    ("changed", "subject", "reason"),
    [
        ({"noise": 100.8}, "Noise", "from 100.0 to 100.8"),
        ({"sharpness": 90.0}, "Blur", "from 100 to 90"),
        ({"contrast": 90.0}, "Contrast", "from 100 to 90"),
        ({"brightness": 96.0}, "Light", "from 100 to 96"),
        ({"saturation": 103.0}, "Colour", "from 100 to 103"),
        ({"border": 90.0}, "Noise", "fitted to the test images"),  # no rule of ours: the fit may know
    ],
)
def test_what_tells_alone_is_answered_even_where_the_change_is_small(
    changed: dict[str, float], subject: str, reason: str
) -> None:
    alone = dict.fromkeys(changed, 0.75)
    (first, *advice) = about_shift(measures(), measures(**changed), Adversarial(0.99, 0.01, alone))
    assert first.subject == "Validation"
    assert [said.subject for said in advice] == [subject]
    assert reason in advice[0].reason


def test_small_turns_are_answered() -> None:
    random = np.random.default_rng(0)
    train, test = (measures().assign(rotation=random.uniform(-turn, turn, 21)) for turn in (3, 10))
    advice = about_shift(train, test, Adversarial(0.99, 0.01, {"rotation": 0.75}))
    assert [said.advice for said in advice[1:]] == ["add rotation"]


def test_alike_needs_nothing() -> None:
    assert [s.subject for s in about_shift(measures(), measures(), Adversarial(0.51, 0.01, {}))] == ["Validation"]
    assert about_shift(measures(), measures(), None) == []


def test_duplicates_say_what_to_do_only_where_there_are_any() -> None:
    assert about_duplicates(train=0, conflicts=0, across=0) == []
    said = about_duplicates(train=5, conflicts=2, across=7)
    assert [(each.subject, each.reason.split()[0]) for each in said] == [("Labels", "2"), ("Folds", "5"), ("Leak", "7")]
