"""Noise fitting: what an image's features tell, and that the belief moves toward the truth."""

import numpy as np
import pytest
import yaml

from augmentation.belief import does_nothing, first_belief, settings, without
from augmentation.copies import Copier
from augmentation.features import feature_table, features
from augmentation.fitting import (
    Fit,
    Images,
    Search,
    as_operations,
    fit_noise,
    fitted_params,
    two_sample_auc,
    write_fit,
)
from augmentation.recipe import AugmentParams, Dropout, Operations
from storage.errors import DataError
from tests.small_index import digits

PLAIN = AugmentParams.model_validate({"size": None, "operations": {}, "mixup": {"probability": 0}})


@pytest.fixture(scope="module")
def pictures():
    return digits(700)[0]


def noisy(pictures, **operations):
    params = PLAIN.model_copy(update={"operations": Operations.model_validate(operations), "seed": 9})
    copier = Copier(params)
    return [copier.render(picture, str(i), 0) for i, picture in enumerate(pictures)]


def images(pictures):
    return Images(lambda i: pictures[i], len(pictures))


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (40, 300), (700, 500)])
def test_features_are_finite_for_any_size_and_content(shape):
    random = np.random.default_rng(0)
    for picture in (np.zeros((*shape, 3)), np.full((*shape, 3), 255), random.integers(0, 256, (*shape, 3))):
        numbers = features(picture.astype(np.uint8))
        assert np.isfinite(numbers).all()
        assert numbers.shape == features(np.zeros((28, 28, 3), dtype=np.uint8)).shape


def test_a_classifier_sees_noise_and_nothing_between_twins(pictures):
    clean = feature_table(pictures[:150])
    assert two_sample_auc(clean, feature_table(noisy(pictures[150:300], noise={"sigma": [10, 20]}))) > 0.98
    assert two_sample_auc(clean, feature_table(pictures[150:300])) < 0.65


def test_the_belief_moves_toward_the_truth(pictures):
    test = noisy(pictures[350:], noise={"sigma": [10, 20]}, blur={"sigma": [0.8, 1.2]})
    wanted = feature_table(test)
    search = Search(Copier(PLAIN), images(pictures[:350]), wanted, np.random.default_rng(0), seed=0, per_round=500)
    first = search.judge(search.knobs)
    for number in range(2):
        search.round(number, early=True)
    found = {knob.name: knob for knob in search.knobs}
    assert found["noise.sigma"].low == pytest.approx(10, abs=6)
    assert found["noise.sigma"].high == pytest.approx(20, abs=10)
    assert found["blur.sigma"].low > 0.3
    assert found["blur.sigma"].high < 2
    assert search.judge(search.knobs) < first


def test_geometry_is_compared_before_the_noise_and_what_looks_best_is_kept(pictures, monkeypatch):
    search = Search(Copier(PLAIN), images(pictures), np.zeros((5, 3)), np.random.default_rng(0), seed=0, per_round=10)
    search.tried, before, asked = [(0.9, search.knobs)], search.knobs, []

    def judge(knobs):
        asked.append([knob.name for knob, old in zip(knobs, before, strict=True) if knob != old])
        turned = {knob.name: knob.high for knob in knobs}["rotate.degrees"]
        return 0.6 + abs(turned - 20) / 100 + 0.1 * ("blur.sigma" in asked[-1])

    monkeypatch.setattr(search, "judge", judge)
    search.compare()
    found = {knob.name: knob for knob in search.knobs}
    assert (found["rotate.degrees"].low, found["rotate.degrees"].high) == (-20, 20)
    assert not does_nothing(found["blur.sigma"])
    assert asked[0] == ["rotate.degrees"]
    noise = [i for i, names in enumerate(asked) if {"blur.sigma", "noise.sigma"} & set(names)]
    assert all("rotate.degrees" in asked[i] for i in noise)


def test_a_belief_becomes_a_block_that_people_can_read(tmp_path, pictures):
    knobs = [knob if knob.operation in ("noise", "jitter") else without(knob) for knob in first_belief()]
    operations = as_operations(knobs)
    assert set(operations.present()) == {"noise"}  # jitter starts neutral
    fit = Fit(operations, 1.0, 0.6, [0.9, 0.6], 5000, np.zeros((8, 8, 3), dtype=np.uint8))
    write_fit(tmp_path, fit)
    text = (tmp_path / "fitted.yaml").read_text()
    assert "clean 1.000, fitted 0.600; it took 5,000 copies" in text
    assert yaml.safe_load(text)["operations"]["noise"]["sigma"] == [0, 60]
    given = AugmentParams(strength="fitted", operations=Operations(dropout=Dropout()))
    used = fitted_params(given, tmp_path / "fitted.yaml")
    assert used.operations.noise == operations.noise
    assert used.operations.dropout == Dropout()  # no test image shows it: it stays as given
    assert used.operations.rotate is None


def test_what_does_nothing_is_not_claimed():
    knobs = {knob.name: knob for knob in first_belief()}
    assert does_nothing(knobs["gamma.exponent"]) and not settings(knobs["gamma.exponent"])
    assert not does_nothing(knobs["noise.sigma"])
    assert all(not does_nothing(setting) for setting in settings(knobs["rotate.degrees"]))


def test_too_few_images_are_refused(pictures):
    with pytest.raises(DataError, match="needs 50"):
        fit_noise(PLAIN, images(pictures[:20]), images(pictures))


@pytest.mark.slow
def test_known_noise_is_found(pictures):
    test = noisy(pictures[350:], noise={"sigma": [10, 30]}, rotate={"degrees": [-45, 45]})
    fit = fit_noise(PLAIN, images(pictures[:350]), images(test), budget=15_000)
    assert fit.auc_before > 0.95
    assert fit.auc_after < 0.7
