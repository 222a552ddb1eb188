"""Noise fitting: what an image's features tell, and that the belief moves toward the truth."""

import numpy as np
import pytest
import yaml

from augmentation.belief import as_operations, at_neutral, first_belief
from augmentation.copies import Copier
from augmentation.features import feature_table, features, hues
from augmentation.fitting import Fit, compared_size, fit_noise, two_sample_auc, write_fit
from augmentation.ranges import Dropout, Operations
from augmentation.recipe import AugmentParams
from augmentation.response import Moments
from augmentation.search import STEP, Images, Search
from stages.fitted import with_fitted
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
    assert two_sample_auc(clean, clean) == pytest.approx(0.5, abs=0.1)  # not surely wrong about the same pictures


def test_the_belief_moves_toward_the_truth(pictures):
    test = noisy(pictures[350:], noise={"sigma": [10, 20]}, blur={"sigma": [0.8, 1.2]})
    search = Search(Copier(PLAIN), images(pictures[:350]), test, np.random.default_rng(0), per_round=700)
    for _ in range(4):
        search.round(early=True)
    found = {knob.name: knob for knob in search.best}
    assert found["noise.sigma"].low == pytest.approx(10, abs=6)
    assert 14 < found["noise.sigma"].high < 36  # it began at 60
    assert found["noise.sigma"].probability > 0.8
    assert search.distances[-1] < search.distances[0]


def test_what_no_copy_shows_is_not_searched_for(pictures):
    coloured = [
        np.stack([picture[..., 0], 255 - picture[..., 0], picture[..., 0] // 2], axis=-1) for picture in pictures
    ]
    found = {}
    for name, some in (("grey", pictures), ("coloured", coloured)):
        search = Search(Copier(PLAIN), images(some[:100]), some[100:150], np.random.default_rng(0), per_round=100)
        found[name] = {knob.name for knob in search.knobs}, search.wanted.shape[1]
    every = {knob.name for knob in first_belief()}
    assert found["coloured"][0] == every
    assert found["grey"][0] == every - {"jitter.hue", "jitter.saturation"}
    assert found["grey"][1] < found["coloured"][1]  # hue that nothing can change is not compared


def test_a_shift_of_hue_shows_in_the_spread_of_hues(pictures):
    photo = np.zeros((64, 64, 3), dtype=np.uint8) + np.array([200, 80, 40], dtype=np.uint8)
    copier = Copier(PLAIN.model_copy(update={"operations": Operations.model_validate({"jitter": {"hue": [-60, 60]}})}))
    shifted = [copier.render(photo, "a", copy) for copy in range(40)]
    still, turned = (
        np.linalg.norm(np.mean([hues(image.astype(np.float32)) for image in some], axis=0), axis=0)
        for some in ([photo], shifted)
    )  # lengths of the mean harmonics
    assert still == pytest.approx(still[0], rel=1e-3)
    assert (np.diff(turned[:3]) < 0).all()
    assert turned[0] / still[0] == pytest.approx(np.sinc(60 / 180), abs=0.1)  # a shift by up to w: sin(w) / w


def test_a_belief_that_is_farther_from_the_test_is_taken_back(pictures):
    test = noisy(pictures[350:], noise={"sigma": [10, 20]})
    search = Search(Copier(PLAIN), images(pictures[:350]), test, np.random.default_rng(0), per_round=100)
    near, far = (search.table(noisy(pictures[:100], noise={"sigma": [s, s + 1]})) for s in (15, 60))
    moments, first = Moments(search.wanted, near), search.knobs
    search.judge(moments, near)
    search.knobs = [at_neutral(knob) for knob in first]
    search.judge(moments, far)
    assert search.best is first
    assert search.step < STEP


def test_a_belief_becomes_a_block_that_people_can_read(tmp_path, pictures):
    knobs = [knob if knob.operation in ("noise", "jitter") else at_neutral(knob) for knob in first_belief()]
    operations = as_operations(knobs)
    assert set(operations.present()) == {"noise"}  # jitter starts neutral
    fit = Fit(operations, 1.0, 0.6, (28, 28), [0.9, 0.6], 5000, np.zeros((8, 8, 3), dtype=np.uint8))
    write_fit(tmp_path, fit)
    text = (tmp_path / "fitted.yaml").read_text()
    assert "clean 1.000, fitted 0.600; it took 5,000 copies, at 28 x 28 pixels" in text
    assert yaml.safe_load(text)["operations"]["noise"]["sigma"] == [0, 60]
    given = AugmentParams(strength="fitted", operations=Operations(dropout=Dropout()))
    used = with_fitted(given, tmp_path / "fitted.yaml")
    assert used.operations.noise == operations.noise
    assert used.operations.dropout == Dropout()  # no test image shows it: it stays as given
    assert used.operations.rotate is None


def test_too_few_images_are_refused(pictures):
    with pytest.raises(DataError, match="needs 50"):
        fit_noise(PLAIN, images(pictures[:20]), images(pictures))


@pytest.mark.parametrize(
    ("wanted", "compared"), [(None, None), ((32, 32), (28, 28)), ((16, 16), (16, 16)), ((64, 20), (28, 20))]
)
def test_images_are_never_enlarged_to_be_compared(wanted, compared):
    assert compared_size(wanted, [(28, 28, 3), (27, 28, 3), (400, 30, 3)]) == compared


def test_nothing_is_fitted_where_there_is_nothing_and_no_source_is_read_for_each_copy(tmp_path, pictures):
    asked = []
    fit = fit_noise(PLAIN, Images(lambda i: asked.append(i) or pictures[i], 60), images(pictures[:60]), budget=900)
    assert not fit.operations.present()
    assert fit.auc_before == fit.auc_after == pytest.approx(0.5, abs=0.15)
    assert fit.copies > 600
    assert len(asked) <= 3 * 60
    write_fit(tmp_path, fit)
    assert with_fitted(AugmentParams(strength="fitted"), tmp_path / "fitted.yaml").operations == Operations()


@pytest.mark.slow
def test_known_noise_is_found(pictures):
    test = noisy(pictures[350:], noise={"sigma": [10, 30]}, rotate={"degrees": [-45, 45]})
    fit = fit_noise(PLAIN, images(pictures[:350]), images(test), budget=15_000)
    assert fit.auc_before > 0.95
    assert fit.auc_after < 0.7
