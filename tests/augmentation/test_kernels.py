"""The compiled kernels against OpenCV, and on every processor the same; who makes no copies doesn't load numba."""

import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from augmentation import geometry, planar
from augmentation.copies import Copier
from augmentation.recipe import AugmentParams, Border

ROOT = Path(__file__).parents[2]
PHOTO = cv2.resize(load_sample_images().images[0], (443, 591), interpolation=cv2.INTER_AREA)
PLAIN = {"operations": {}, "mixup": {"probability": 0}, "size": None, "encoding": "jpeg"}
RENDER = """
import hashlib, numpy as np
from augmentation.copies import Copier
from augmentation.recipe import AugmentParams
operations = {"rotate": {}, "jitter": {"hue": [-30, 30]}, "blur": {"sigma": [0.5, 2]}, "noise": {}}
photo = np.random.default_rng(0).integers(0, 256, (75, 91, 3)).astype(np.uint8)
for encoding in ("raw", "jpeg"):
    maker = Copier(AugmentParams.model_validate({"operations": operations, "size": None, "encoding": encoding}))
    source, draws = maker.prepare(photo), maker.draw(["a"] * 3, range(3))
    print(hashlib.sha256(b"".join(maker.encode_drawn(source, draws, i).tobytes() for i in range(3))).hexdigest())
"""


def prepared(**changes):
    return Copier(AugmentParams.model_validate(PLAIN | changes)).prepare(PHOTO)


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize(
    "row",
    [
        {"rotate_degrees": 23.0},
        {"rotate_degrees": -160.0, "flip_horizontal": 1.0},
        {"scale_factor": 0.3, "rotate_degrees": 5.0},
        {"scale_factor": 2.7, "shear_degrees_x": 12.0, "shear_degrees_y": -3.0},
        {"shift_fraction_x": 0.9, "shift_fraction_y": -0.8},
        {f"perspective_fraction_{part}": (i % 3 - 1) * 0.1 for i, part in enumerate("abcdefgh")},
    ],
    ids=lambda row: next(iter(row)),
)
@pytest.mark.parametrize("form", ["planes", "rgb"])
def test_a_warp_is_that_of_opencv(row, mode, form):
    border = Border(mode=mode, colour=(200, 200, 200))
    source, size = prepared(border=border.model_dump()), PHOTO.shape[:2]
    matrix = geometry.copy_matrix(size, size, size, fit="stretch", row=row)
    if form == "rgb":
        pixels, warped = PHOTO, source.warped(matrix, size)
    else:
        pixels, warped = source.planes[0][:591, :443], source.warped_planes(matrix, size, planar.AS_IT_IS)[0]
    peer = cv2.warpPerspective(
        pixels,
        np.reshape(matrix, (3, 3)),
        (443, 591),
        flags=cv2.INTER_LINEAR,
        borderMode=geometry.BORDERS[mode],
        borderValue=border.colour,
    )
    difference = warped[:591, :443].astype(int) - peer
    # the outline of a constant border may fall to one side or the other, where a source's pixel meets it hard
    assert np.quantile(np.abs(difference), 0.9999) <= 2
    assert np.abs(difference).mean() < 0.1
    assert abs(difference.mean()) < 0.01


@pytest.mark.parametrize("row", [{"jitter_brightness": 5.0, "jitter_contrast": 5.0}, {"jitter_contrast": 0.2}, {}])
@pytest.mark.parametrize("chroma", [{}, {"jitter_saturation": 5.0}, {"jitter_hue": 170.0, "jitter_saturation": 0.1}])
def test_colours_of_any_strength_are_rounded_once_and_cut_not_wrapped(row, chroma):
    row, source = row | chroma, prepared()
    luma, u, v = source.warped_planes(geometry.IDENTITY, PHOTO.shape[:2], planar.jitter(row, source.grey_mean))
    brightness, contrast = row.get("jitter_brightness", 1.0), row.get("jitter_contrast", 1.0)
    gain, offset = brightness * contrast, (1 - contrast) * brightness * source.grey_mean
    light = np.clip(source.planes[0] * gain + offset, 0, 255)
    assert np.abs(luma - light)[:591, :443].max() < 0.75
    stretch, angle = gain * row.get("jitter_saturation", 1.0), math.radians(row.get("jitter_hue", 0.0))
    turn = stretch * (math.cos(angle) * np.eye(2) + math.sin(angle) * np.array(planar.QUARTER_TURN))
    colours = np.stack(source.planes[1:]).astype(float) - 128
    expected = np.clip(np.tensordot(turn, colours, axes=1) + 128, 0, 255)
    assert np.abs(np.stack([u, v]) - expected)[:, :296, :222].max() < 1.1


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_width_of_the_processors_vectors(tmp_path):
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2", "NUMBA_CACHE_DIR": str(tmp_path)}
    found = [
        subprocess.run(
            [sys.executable, "-c", RENDER], cwd=ROOT, env=os.environ | more, capture_output=True, text=True, check=True
        ).stdout
        for more in ({}, plain)
    ]
    assert found[0] == found[1] != ""


def test_commands_that_make_no_copies_do_without_numba():
    code = "import sys, commands.main, stages.augment, augmentation.copies; print('numba' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
