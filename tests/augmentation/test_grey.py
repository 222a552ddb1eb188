"""Copies without colour: grey stays grey through everything, and its noise is as strong as asked for."""

import cv2
import numpy as np
import pytest
import simplejpeg
from sklearn.datasets import load_sample_images

from augmentation.copies import Copier
from augmentation.encoding import decode
from augmentation.ranges import Operations, kind_of
from augmentation.recipe import AugmentParams

PHOTO = cv2.resize(load_sample_images().images[0], (91, 75), interpolation=cv2.INTER_AREA)
GREY = cv2.cvtColor(cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def copier(encoding="raw", **changes):
    section = {"operations": {}, "mixup": {"probability": 0}, "size": None, "encoding": encoding, "grey": True}
    return Copier(AugmentParams.model_validate(section | changes))


def has_colour(pixels):
    return bool(np.ptp(pixels.astype(int), axis=2).max())


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "png"])
@pytest.mark.parametrize("name", [*Operations.model_fields, "all"])
def test_copies_of_any_kind_have_no_colour_and_are_what_the_stored_bytes_hold(name, encoding):
    names = Operations.model_fields if name == "all" else [name]
    operations = {each: {"horizontal": 1} if each == "flip" else kind_of(each)().model_dump() for each in names}
    maker = copier(encoding, operations=operations, extra=[{"name": "RGBShift"}] if name == "all" else [])
    source, draws = maker.prepare(GREY), maker.draw(["a"], [0])
    image, data = maker.render_drawn(source, draws, 0), maker.encode_drawn(source, draws, 0)
    assert image.shape == PHOTO.shape and not has_colour(image)
    assert not np.array_equal(image, GREY)
    assert np.array_equal(data.reshape(PHOTO.shape) if encoding == "raw" else decode(data), image)


def test_nothing_drawn_changes_nothing_and_colour_is_left_out():
    assert np.array_equal(copier().render(GREY, "a", 0), GREY)
    assert np.array_equal(copier().render(PHOTO, "a", 0), GREY)
    assert has_colour(copier(grey=False, operations={"noise": {}}).render(GREY, "a", 0))


@pytest.mark.parametrize("sigma", [8, 25])
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_noise_is_as_strong_as_asked_for(sigma, encoding):
    flat = np.full((256, 256, 3), 128, dtype=np.uint8)
    noisy = copier(encoding, operations={"noise": {"sigma": [sigma, sigma]}}).render(flat, "a", 0)
    assert noisy[..., 0].std() == pytest.approx(sigma, rel=0.05)  # JPEG adds its own


def test_light_is_that_of_the_copy_in_colour():
    operations = {"rotate": {}, "jitter": {"contrast": [0.7, 0.7], "brightness": [0.9, 0.9]}, "blur": {}}
    grey, colour = (copier(operations=operations, grey=way).render(GREY, "a", 0) for way in (True, False))
    assert np.abs(grey.astype(int) - colour).max() <= 1


@pytest.mark.parametrize("mixed", ["mixup", "cutmix"])
def test_partners_are_mixed_as_in_colour(mixed):
    other = np.ascontiguousarray(GREY[::-1])
    changes = {"mixup": {"probability": 0}} | {mixed: {"probability": 1}}
    grey, colour = (copier(grey=way, **changes).render(GREY, "a", 0, other) for way in (True, False))
    assert np.array_equal(grey, colour)
    assert not np.array_equal(grey, GREY)


def test_a_jpeg_has_one_channel():
    maker = copier("jpeg", operations={"rotate": {}})
    data = maker.encode_drawn(maker.prepare(GREY), maker.draw(["a"], [0]), 0)
    assert simplejpeg.decode_jpeg_header(data.tobytes())[2] == "Gray"
