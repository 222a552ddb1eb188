"""The one warp against what numpy and OpenCV do step by step."""

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from augmentation.copies import Copier
from augmentation.geometry import copy_matrix
from augmentation.recipe import AugmentParams, Border

PHOTO = cv2.resize(load_sample_images().images[0], (90, 60), interpolation=cv2.INTER_AREA)
BORDER = Border(colour=(255, 0, 7))


def warped(row, *, target=(60, 90), fit="stretch", border=BORDER, photo=PHOTO):
    copier = Copier(AugmentParams(fit=fit, border=border), size=target)
    source = copier.prepare(photo)
    return source.warped(copy_matrix(source.shape, source.size, target, fit=fit, row=row), target)


def test_nothing_drawn_changes_nothing():
    assert np.array_equal(warped({}), PHOTO)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"flip_horizontal": 1}, PHOTO[:, ::-1]),
        ({"flip_vertical": 1}, PHOTO[::-1]),
        ({"flip_horizontal": 1, "flip_vertical": 1}, PHOTO[::-1, ::-1]),
        ({"rotate_degrees": 180}, PHOTO[::-1, ::-1]),
    ],
)
def test_flips_and_half_turns_are_exact(row, expected):
    assert np.abs(warped(row).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("row", "turned"), [({"flip_transpose": 1}, lambda s: s.transpose(1, 0, 2)), ({"rotate_degrees": 90}, np.rot90)]
)
def test_quarter_turns_of_squares_are_exact(row, turned):
    square = np.ascontiguousarray(PHOTO[:, :60])
    assert np.abs(warped(row, target=(60, 60), photo=square).astype(int) - turned(square)).max() <= 1


def test_rotation_is_that_of_opencv():
    turn = cv2.getRotationMatrix2D((44.5, 29.5), 25, 1.0)
    peer = cv2.warpAffine(PHOTO, turn, (90, 60), flags=cv2.INTER_LINEAR, borderValue=(255, 0, 7))
    assert np.abs(warped({"rotate_degrees": 25}).astype(int) - peer).max() <= 1


def test_outside_the_source_lies_the_border():
    assert warped({"rotate_degrees": 45})[0, 0].tolist() == [255, 0, 7]
    shifted = warped({"shift_fraction_x": 0.5, "shift_fraction_y": 0.0}, border=Border(mode="replicate"))
    assert np.abs(shifted[:, 0].astype(int) - PHOTO[:, 0]).max() <= 1


@pytest.mark.parametrize("target", [(32, 32), (120, 180), (45, 200)])
def test_a_plain_copy_is_a_plain_resize(target):
    shrinks = target[0] < 60
    peer = cv2.resize(PHOTO, target[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if target != (45, 200):
        assert np.abs(warped({}, target=target).astype(int) - peer).mean() < 1.5
    assert warped({}, target=target).shape == (*target, 3)


def test_padding_keeps_the_shape_of_things():
    padded = warped({}, target=(64, 64), fit="pad")
    assert (padded[:10] == [255, 0, 7]).all() and (padded[-10:] == [255, 0, 7]).all()
    assert (padded[32] != [255, 0, 7]).any(axis=1).all()


@pytest.mark.parametrize(
    "row",
    [
        {"scale_factor": 1.3},
        {"shear_degrees_x": 10.0, "shear_degrees_y": 0.0},
        {f"perspective_fraction_{part}": 0.05 for part in "abcdefgh"} | {"perspective_fraction_a": -0.1},
    ],
)
def test_the_centre_stays_near_the_centre(row):
    dot = np.zeros((61, 61, 3), dtype=np.uint8)
    dot[30, 30] = 255
    found = warped(row, target=(61, 61), photo=dot, border=Border(colour=(0, 0, 0)))[..., 0]
    assert np.hypot(*(np.array(np.unravel_index(found.argmax(), found.shape)) - 30)) <= 6
