"""Adversarial validation: alike is 0.5, shifted is seen and named; numbers agree with scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from analysis.adversarial import auc, standard_error, tell_apart


def table(seed: int, rows: int = 400, shift: float = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"light": random.normal(shift, 1, rows), "noise": random.normal(0, 1, rows)})


def test_samples_of_one_population_are_not_told_apart() -> None:
    found = tell_apart(table(0), table(1), columns=["light", "noise"])
    assert found is not None
    assert abs(found.auc - 0.5) < 3 * found.standard_error


@pytest.mark.parametrize("same", [table(0), table(0).head(200), table(0).assign(light=0.0, noise=0.0)])
def test_pictures_on_both_sides_are_no_contradiction(same: pd.DataFrame) -> None:
    found = tell_apart(table(0) if same["noise"].any() else same, same, columns=["light", "noise"])
    assert found is not None
    assert abs(found.auc - 0.5) < 4 * found.standard_error


def test_a_shift_is_seen_and_named() -> None:
    found = tell_apart(table(0), table(1, shift=2), columns=["noise", "light"])
    assert found is not None
    assert found.auc > 0.85
    assert next(iter(found.alone)) == "light"
    assert found.alone["light"] == pytest.approx(0.92, abs=0.03)


def test_a_wider_spread_around_the_same_middle_is_seen() -> None:
    wide = table(1).assign(noise=table(1)["noise"] * 6)
    found = tell_apart(table(0), wide, columns=["light", "noise"])
    assert found is not None
    assert found.alone["noise"] > 0.75 > found.alone["light"]


def test_area_is_scikit_learns_with_ties() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.integers(0, 2, 200), random.integers(0, 9, 200).astype(float)
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_standard_error_is_near_the_spread_of_many_samples() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], [80, 60])
    areas = [auc(random.normal(truth * 1.0, 1), truth) for _ in range(400)]
    assert standard_error(float(np.mean(areas)), 60, 80) == pytest.approx(np.std(areas), rel=0.15)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_too_few_images_have_no_answer(rows: int) -> None:
    assert tell_apart(table(0), table(1, rows=rows), columns=["light"]) is None
