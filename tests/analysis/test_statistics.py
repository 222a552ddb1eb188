"""Statistics see what was done to a picture, in its unit."""

from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from analysis.statistics import MEASURES, direction, long_axis, measure, noise, statistics, telling

Array = np.ndarray[Any, np.dtype[Any]]


def photo() -> Array:
    return np.asarray(load_sample_images().images[0])


def page(angle: float = 0, size: int = 240) -> Array:
    """Lines of text-like strokes on white, turned counterclockwise."""
    image = np.full((size, size), 235, np.uint8)
    random = np.random.default_rng(0)
    for y in range(60, 180, 12):
        for x in range(60, 180, 7):
            cv2.rectangle(image, (x, y), (x + int(random.integers(2, 6)), y + 6), 30, -1)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1)
    return np.asarray(cv2.warpAffine(image, turn, (size, size), borderValue=235, flags=cv2.INTER_CUBIC))


@pytest.mark.parametrize("angle", [-40, -25, -10, 0, 5, 17, 30, 44])
def test_rotation_of_a_page_is_read_within_two_degrees(angle: float) -> None:
    found, directedness = direction(page(angle))
    assert found == pytest.approx(angle, abs=2)
    assert directedness > 0.3


@pytest.mark.parametrize("angle", [-80, -30, 0, 45, 70])
def test_axis_is_the_angle_of_the_longest_extent(angle: float) -> None:
    image = np.full((100, 100), 40, np.uint8)
    cv2.ellipse(image, (50, 50), (40, 8), -angle, 0, 360, 220, -1)
    assert long_axis(image) == pytest.approx(angle, abs=1)


@pytest.mark.parametrize("sigma", [3, 8, 20])
def test_noise_is_read_within_a_fifth(sigma: float) -> None:
    grey = np.full((200, 200), 128.0) + np.random.default_rng(0).normal(0, sigma, (200, 200))
    assert noise(np.clip(grey, 0, 255).astype(np.uint8)) == pytest.approx(sigma, rel=0.2)


def test_blur_lowers_sharpness_and_light_raises_brightness() -> None:
    plain, blurred = measure(photo()), measure(cv2.GaussianBlur(photo(), (0, 0), 2))
    lighter, grey = measure(cv2.add(photo(), (20, 20, 20, 0))), measure(np.repeat(photo()[..., :1], 3, axis=2))
    assert blurred["sharpness"] < 0.2 * plain["sharpness"]
    assert lighter["brightness"] > plain["brightness"] + 10
    assert grey["saturation"] == 0 < plain["saturation"]
    assert plain["red"] == pytest.approx(photo()[..., 0].mean(), abs=1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (3, 3), (40, 2000)])
def test_any_shape_gives_finite_numbers(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    assert all(np.isfinite(value) for value in measure(image).values())


def test_constant_pictures_have_no_contrast_direction_or_noise() -> None:
    found = measure(np.full((30, 30, 3), 77, np.uint8))
    assert found["brightness"] == 77
    assert [found[name] for name in ("contrast", "noise", "sharpness", "rotation", "directedness", "axis")] == [0] * 6


def test_one_row_per_picture_with_its_true_size() -> None:
    table = statistics(["a", "b"], [photo(), photo()[:100, :50]])
    assert table["image_id"].tolist() == ["a", "b"]
    assert table[["width", "height"]].to_numpy().tolist() == [[640, 427], [50, 100]]
    assert table["aspect"].tolist() == [640 / 427, 0.5]
    assert set(MEASURES) <= set(table.columns)
    assert len(statistics([], [])) == 0


def test_measures_of_colour_are_told_only_where_there_are_colours() -> None:
    grey = statistics(["a", "b"], [np.full((8, 8, 3), value, np.uint8) for value in (10, 200)])
    tinted = statistics(["c"], [np.full((8, 8, 3), (200, 10, 10), np.uint8)])
    assert "red" not in telling(grey)
    assert {"brightness", "noise", "border"} <= set(telling(grey))
    assert telling(grey, tinted) == list(MEASURES)
