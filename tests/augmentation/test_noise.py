"""Noise in whole numbers against the normal distribution it stands for."""

import numpy as np
import pytest
from scipy.stats import norm

from augmentation.noise import (
    ONE,
    WITHIN,
    PixelRandom,
    add_gaussian,
    add_salt_pepper,
    add_shot,
    add_speckle,
    normal_table,
    table_factor,
)

GREY = np.full((400, 400, 3), 128, dtype=np.uint8)


def stream(word=1):
    return PixelRandom().restart(word)


def difference(sigma):
    return add_gaussian(GREY.copy(), sigma, stream()).astype(float) - 128


@pytest.mark.parametrize("sigma", [2, 5, 10, 20, 36])
def test_spread_and_mean_are_as_asked(sigma):
    noise = difference(sigma)
    assert noise.std() == pytest.approx(sigma, rel=0.01)
    assert abs(noise.mean()) < 0.02 + 4 * sigma / np.sqrt(noise.size)


@pytest.mark.parametrize("sigma", [37, 45, 90, 128])
def test_wide_noise_has_the_spread_of_clipped_normal_noise(sigma):
    rng = np.random.default_rng(0)
    peer = np.clip(np.rint(128 + rng.normal(0, sigma, GREY.shape)), 0, 255).std()
    assert difference(sigma).std() == pytest.approx(peer, rel=0.01)


def test_every_channel_has_noise_of_its_own():  # cv2.randn with one sigma fills the first channel only
    noise = difference(20).reshape(-1, 3)
    assert noise.std(axis=0) == pytest.approx([20, 20, 20], rel=0.02)
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.01


def test_noise_is_rounded_not_cut_toward_zero():  # cutting makes zero twice as frequent
    noise = difference(10)
    assert (noise == 0).mean() == pytest.approx(norm.pdf(0) / 10, rel=0.06)
    assert (noise > 0).mean() == pytest.approx((noise < 0).mean(), rel=0.02)


@pytest.mark.parametrize("sigma", [2, 3, 5, 12, 25, 36, 80])
def test_total_variation_distance_to_the_rounded_normal(sigma):
    table = normal_table().astype(int)
    start, width, within = (table >> 16)[:, None], (table & 0xFFFF)[:, None], np.arange(WITHIN)
    numbers = (start + (width * (2 * within + 1) + WITHIN) // (2 * WITHIN)).ravel()  # all that the kernel can draw
    total = np.floor(numbers * table_factor(sigma) / (256 * ONE) + 0.5).astype(int)
    levels = np.arange(total.min(), total.max() + 1)
    shares = np.bincount(total - total.min()) / total.size
    normal = norm.cdf((levels + 0.5) / sigma) - norm.cdf((levels - 0.5) / sigma)
    assert np.abs(shares - normal).sum() / 2 < 0.005
    assert abs(total.mean()) < 0.002
    assert total.std() == pytest.approx(sigma, rel=0.002)


def test_thousand_fields_are_thousand_different_ones():  # a pool of pre-made noise would repeat
    random = PixelRandom()
    small = np.full((8, 8, 3), 128, dtype=np.uint8)
    assert len({add_gaussian(small.copy(), 20, random.restart(key)).tobytes() for key in range(1000)}) == 1000


def test_values_anywhere_in_a_field_are_independent():
    noise = difference(20).ravel()
    for lag in (1, 2, 3, 1200, 2048, 4096):  # neighbours in all directions; halves and segments of the kernel
        assert abs(np.mean(noise[lag:] * noise[:-lag])) / 400 < 4 / np.sqrt(noise.size)
    assert abs(np.mean(noise[1:] ** 2 * noise[:-1] ** 2) / 400**2 - 1) < 8 / np.sqrt(noise.size)


def test_fields_of_one_stream_differ_and_so_do_those_of_neighbouring_keys():
    random = stream()
    fields = [add_gaussian(GREY.copy(), 20, random).ravel().astype(float) - 128 for _ in range(2)]
    fields.append(add_gaussian(GREY.copy(), 20, stream(2)).ravel().astype(float) - 128)
    assert np.abs(np.corrcoef(fields) - np.eye(3)).max() < 0.008


def test_random_bytes_are_even():
    found = np.bincount(stream().bytes((1 << 20,)), minlength=256)
    assert ((found - 4096) ** 2 / 4096).sum() == pytest.approx(255, abs=5 * np.sqrt(510))
    assert [stream().bytes((n,)).shape for n in (0, 1, 5)] == [(0,), (1,), (5,)]


def test_a_stream_starts_again_where_it_started():
    random = stream()
    first = add_gaussian(GREY.copy(), 9, random)
    assert np.array_equal(first, add_gaussian(GREY.copy(), 9, random.restart(1)))
    assert not np.array_equal(first, add_gaussian(GREY.copy(), 9, stream(7)))


def test_noise_of_light_grows_with_the_light():
    for level in (50, 200):
        noise = add_shot(np.full_like(GREY, level), 0.5, stream()).astype(float) - level
        assert noise.var() == pytest.approx(0.5 * level, rel=0.03)
        assert abs(noise.mean()) < 0.06  # cutting toward zero would take half a grey level


def test_speckle_is_proportional_to_the_pixel():
    noise = add_speckle(np.full_like(GREY, 100), 0.1, stream()).astype(float) - 100
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert abs(noise.mean()) < 0.06


def test_salt_and_pepper_in_equal_parts():
    result = add_salt_pepper(GREY, 0.1, stream())[..., 0]
    assert (result == 0).mean() == pytest.approx(0.05, abs=0.005)
    assert (result == 255).mean() == pytest.approx(0.05, abs=0.005)
    assert (result == 128).mean() == pytest.approx(0.9, abs=0.01)
