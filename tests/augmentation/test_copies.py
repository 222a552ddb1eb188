"""A copy is a pure function of (seed, source, copy)."""

import hashlib

import cv2
import numpy as np
import pytest
import simplejpeg
from sklearn.datasets import load_sample_images

from augmentation.copies import Copier
from augmentation.recipe import AugmentParams

PHOTO = cv2.resize(load_sample_images().images[0], (80, 60), interpolation=cv2.INTER_AREA)
OTHER = cv2.resize(load_sample_images().images[1], (80, 60), interpolation=cv2.INTER_AREA)
GOLDEN = {"raw": "8d637ae9a17fb342", "jpeg": "26ae6e9f7628d2e7"}
PLAIN = {"operations": {}, "mixup": {"probability": 0}, "size": None}


def copier(**changes):
    return Copier(AugmentParams.model_validate({"operations": {"rotate": {}, "noise": {}, "jpeg": {}}} | changes))


def test_the_same_arguments_give_the_same_image_in_any_process_and_order():
    first = copier()
    images = [first.render(PHOTO, "a", k) for k in range(5)]
    second = copier()
    assert all(np.array_equal(second.render(PHOTO, "a", k), images[k]) for k in (4, 0, 3, 1, 2))


@pytest.mark.parametrize(
    "change", [("b", 0, "train", 0), ("a", 1, "train", 0), ("a", 0, "testlike", 0), ("a", 0, "train", 1)]
)
def test_each_argument_matters(change):
    source, copy, view, seed = change
    first = copier().render(PHOTO, "a", 0)
    assert not np.array_equal(first, copier(seed=seed).render(PHOTO, source, copy, view=view))


def test_single_and_batch_are_one_function():
    maker = copier()
    draws = maker.draw(["a"] * 6, np.arange(6))
    prepared = maker.prepare(PHOTO)
    assert all(np.array_equal(maker.render_drawn(prepared, draws, k), maker.render(PHOTO, "a", k)) for k in range(6))


@pytest.mark.parametrize("encoding", GOLDEN)
def test_the_golden_copy(encoding):
    """The bytes of JPEG may change with the versions of OpenCV's colours and libjpeg-turbo; this says when they do."""
    if encoding == "jpeg" and (cv2.__version__, simplejpeg.__version__) != ("5.0.0", "1.9.0"):
        pytest.skip("other versions round otherwise")
    maker = copier(operations={"rotate": {}, "blur": {"sigma": [2, 2]}, "noise": {}}, encoding=encoding)
    data = maker.encode_drawn(maker.prepare(PHOTO), maker.draw(["a"], [3]), 0)
    assert hashlib.sha256(data.tobytes()).hexdigest()[:16] == GOLDEN[encoding]


def test_mixup_blends_both_parents_by_the_drawn_share():
    maker = Copier(AugmentParams.model_validate(PLAIN | {"mixup": {"probability": 1}}))
    draws = maker.draw(["a"], [0])
    share = draws.columns["mixup"][0]
    mixed = maker.render_drawn(maker.prepare(PHOTO), draws, 0, partner=maker.prepare(OTHER))
    assert np.abs(mixed - (share * PHOTO + (1 - share) * OTHER)).max() <= 0.51  # rounded, not cut


def test_cutmix_pastes_as_much_as_the_weight_says():
    maker = Copier(AugmentParams.model_validate(PLAIN | {"mixup": {"probability": 0}, "cutmix": {"probability": 1}}))
    draws = maker.draw(["a"] * 20, np.arange(20))
    white, black = (maker.prepare(np.full((60, 80, 3), level, dtype=np.uint8)) for level in (255, 0))
    for i in range(20):
        kept = maker.render_drawn(white, draws, i, partner=black).mean() / 255
        assert kept == pytest.approx(draws.columns["cutmix"][i], abs=0.02)


def test_without_a_partner_a_copy_stands_alone():
    maker = Copier(AugmentParams.model_validate(PLAIN | {"mixup": {"probability": 1}}))
    assert np.array_equal(maker.render(PHOTO, "a", 0), PHOTO)


def test_the_parents_of_a_mixed_copy_turn_on_their_own():
    maker = copier(operations={"flip": {"horizontal": 0.5}}, mixup={"probability": 1}, size=None)
    draws = maker.draw(["a"] * 30, np.arange(30))
    same = maker.prepare(PHOTO)
    mirrored = np.asarray(PHOTO[:, ::-1])
    plain = [
        any(
            np.abs(maker.render_drawn(same, draws, i, partner=same).astype(int) - way).max() <= 1
            for way in (PHOTO, mirrored)
        )
        for i in range(30)
    ]
    assert 3 < sum(plain) < 27


@pytest.mark.parametrize("size", [None, 48, (40, 64)])
def test_copies_have_the_size_asked_for(size):
    expected = {None: (60, 80), 48: (48, 48), (40, 64): (40, 64)}[size]
    assert copier(size=size).render(PHOTO, "a", 0).shape == (*expected, 3)


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_what_is_rendered_is_what_the_stored_bytes_hold(encoding):
    maker = copier(encoding=encoding, size=None)
    draws = maker.draw(["a"], [0])
    data = maker.encode_drawn(maker.prepare(PHOTO), draws, 0)
    stored = data.reshape(PHOTO.shape) if encoding == "raw" else cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(stored, maker.render_drawn(maker.prepare(PHOTO), draws, 0))


def test_the_source_is_never_written_to():
    before = PHOTO.copy()
    copier(operations={"paper": {}, "crease": {}, "dropout": {}, "noise": {}}).render(PHOTO, "a", 0)
    assert np.array_equal(before, PHOTO)
