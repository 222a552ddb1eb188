"""Copies kept in planes against the same copies made in RGB, and the noise of planes against its theory."""

import cv2
import numpy as np
import pytest
import simplejpeg
from sklearn.datasets import load_sample_images

from augmentation import planar
from augmentation.copies import Copier
from augmentation.encoding import decode
from augmentation.noise import PixelRandom
from augmentation.recipe import AugmentParams

PHOTO = cv2.resize(load_sample_images().images[0], (443, 591), interpolation=cv2.INTER_AREA)
OTHER = cv2.resize(load_sample_images().images[1], (320, 200), interpolation=cv2.INTER_AREA)
ALWAYS = {
    "rotate": {"degrees": [20, 20]},
    "flip": {"horizontal": 1},
    "perspective": {"fraction": [0.03, 0.06]},
    "shift": {"fraction": [0.05, 0.1]},
    "jitter": {"brightness": [0.8, 0.8], "contrast": [1.1, 1.1], "saturation": [1.3, 1.3], "hue": [25, 25]},
    "blur": {"sigma": [1.5, 1.5]},
    "motion": {"length": [7, 7]},
    "defocus": {"radius": [3, 3]},
    "sharpen": {"amount": [1, 1]},
    "downscale": {"factor": [0.5, 0.5]},
}


def copier(encoding="jpeg", **changes):
    section = {"operations": {}, "mixup": {"probability": 0}, "size": None, "jpeg_quality": 95, "encoding": encoding}
    return Copier(AugmentParams.model_validate(section | changes))


def in_rgb(monkeypatch, make):
    with monkeypatch.context() as patch:
        patch.setattr(planar, "possible", lambda row: False)
        return make()


def closeness(first, second):
    """Peak signal to noise, in dB."""
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2))


@pytest.mark.parametrize("name", [*ALWAYS, "all"])
def test_a_copy_in_planes_is_the_copy_in_rgb_but_for_the_loss_of_jpeg(name, monkeypatch):
    operations = ALWAYS if name == "all" else {name: ALWAYS[name]}
    maker = copier(operations=operations)
    planes = maker.render(PHOTO, "a", 0)
    rgb = in_rgb(monkeypatch, lambda: maker.render(PHOTO, "a", 0))
    assert planes.shape == rgb.shape == PHOTO.shape
    assert closeness(planes, rgb) > 34
    assert not np.array_equal(planes, rgb)


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
def test_borders_are_those_of_rgb(mode, monkeypatch):
    maker = copier(operations={"rotate": {"degrees": [30, 30]}}, border={"mode": mode, "colour": [200, 30, 90]})
    assert closeness(maker.render(PHOTO, "a", 0), in_rgb(monkeypatch, lambda: maker.render(PHOTO, "a", 0))) > 36


@pytest.mark.parametrize("mixed", ["mixup", "cutmix"])
def test_partners_of_another_size_are_mixed_as_in_rgb(mixed, monkeypatch):
    maker = copier(**({"mixup": {"probability": 0}} | {mixed: {"probability": 1}}))
    planes = maker.render(PHOTO, "a", 0, OTHER)
    assert closeness(planes, in_rgb(monkeypatch, lambda: maker.render(PHOTO, "a", 0, OTHER))) > 36
    assert closeness(planes, PHOTO) < 20


def test_only_what_has_a_form_in_planes_goes_there():
    assert planar.possible({"rotate_degrees": 9.0, "noise_sigma": 90.0, "jpeg_quality": 50.0, "extra_0": 0.0})
    for row in (
        {"gamma_exponent": 1.1}, {"tint_gain_r": 0.9}, {"dropout_holes": 1.0}, {"extra_0": 1.0}
    ):  # fmt: skip
        assert not planar.possible(row)


def test_one_recipe_may_take_both_ways_and_only_jpeg_takes_planes(monkeypatch):
    maker = copier(operations={"gamma": {"probability": 0.5}})
    copies = [maker.render(PHOTO, "a", k) for k in range(12)]
    rgb = in_rgb(monkeypatch, lambda: [maker.render(PHOTO, "a", k) for k in range(12)])
    same = [np.array_equal(a, b) for a, b in zip(copies, rgb, strict=True)]
    assert 0 < sum(same) < 12
    raw = copier("raw", operations=ALWAYS)
    assert np.array_equal(raw.render(PHOTO, "a", 0), in_rgb(monkeypatch, lambda: raw.render(PHOTO, "a", 0)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (17, 16), (443, 591)])
def test_any_size_keeps_it_and_grey_stays_grey(shape):
    grey = np.full((*shape, 3), 90, dtype=np.uint8)
    maker = copier(operations=ALWAYS | {"shift": None, "rotate": None, "perspective": None})
    copy = maker.render(grey, "a", 0)
    assert copy.shape == (*shape, 3)
    assert np.ptp(copy.astype(int), axis=2).max() <= 2
    noisy = copier(operations=ALWAYS | {"noise": {}}).render(grey, "a", 0)
    assert noisy.shape == (*shape, 3)


def test_odd_sizes_repeat_to_the_byte_whatever_lies_behind_them_in_memory():
    maker = copier(operations={"rotate": {}})
    draws, first = maker.draw(["a"], [0]), set()
    for fill in range(6):
        rubbish = [np.full(591 * 443 + 50 * i, fill * 40, dtype=np.uint8) for i in range(20)]
        del rubbish
        first.add(maker.encode_drawn(maker.prepare(PHOTO), draws, 0).tobytes())
    assert len(first) == 1


def test_the_bytes_are_jpeg_420_of_the_drawn_quality():
    maker = copier(operations={"rotate": {}, "jpeg": {"quality": [40, 40]}})
    data = maker.encode_drawn(maker.prepare(PHOTO), maker.draw(["a"], [0]), 0)
    assert simplejpeg.decode_jpeg_header(data.tobytes())[:4] == (591, 443, "YCbCr", "420")
    assert np.array_equal(decode(data), maker.render(PHOTO, "a", 0))


def grey_noise(sigma, side=512):
    half = side // 2
    planes = [np.full(shape, 128, dtype=np.uint8) for shape in ((side, side), (half, half), (half, half))]
    random = PixelRandom().restart(1)
    return [plane.astype(float) - 128 for plane in planar.add_gaussian(planes, sigma, random)]


@pytest.mark.parametrize("sigma", [5, 10, 20, 40])
def test_noise_has_the_covariances_of_independent_rgb_noise_in_420(sigma):
    luma, u, v = grey_noise(sigma)
    mean = luma.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    found = np.cov([mean.ravel(), u.ravel(), v.ravel()]) * 4 / sigma**2
    assert luma.std() == pytest.approx(sigma * planar.LUMA, rel=0.01)
    assert np.sqrt(np.diag(found)) == pytest.approx(np.sqrt(np.diag(planar.COVARIANCE)), rel=0.01)
    assert found[0] == pytest.approx(planar.COVARIANCE[0], abs=0.01)
    for plane in (luma, u, v):
        assert abs(plane.mean()) < 0.02 + 3 * plane.std() / np.sqrt(plane.size)


def test_noise_of_neighbours_is_independent_in_each_plane():
    for plane in grey_noise(20):
        for shifted in (plane[:, 1:] * plane[:, :-1], plane[1:] * plane[:-1]):
            assert abs(shifted.mean()) / plane.var() < 0.015


@pytest.mark.parametrize("sigma", [8, 25])
def test_a_reader_sees_the_noise_of_the_copy_in_rgb(sigma, monkeypatch):
    flat = np.full((512, 512, 3), 128, dtype=np.uint8)
    maker = copier(operations={"noise": {"sigma": [sigma, sigma]}})
    planes, rgb = maker.render(flat, "a", 0), in_rgb(monkeypatch, lambda: maker.render(flat, "a", 0))
    first, second = (copy.reshape(-1, 3).astype(float) for copy in (planes, rgb))
    assert first.std(axis=0) == pytest.approx(second.std(axis=0), rel=0.02)
    assert first.mean(axis=0) == pytest.approx(second.mean(axis=0), abs=0.15)
    assert np.corrcoef(first.T) == pytest.approx(np.corrcoef(second.T), abs=0.03)
