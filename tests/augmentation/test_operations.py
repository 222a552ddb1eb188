"""The pixel operations one by one, on a real photo."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from augmentation import documents, operations
from augmentation.encoding import decode, encode, through_jpeg
from augmentation.noise import PixelRandom

PHOTO = cv2.resize(load_sample_images().images[1], (96, 64), interpolation=cv2.INTER_AREA)
GREY_MEAN = float(PHOTO.mean(axis=(0, 1)) @ operations.GREY)


def stream():
    return PixelRandom().restart(1)


def applied(**row):
    return operations.apply(PHOTO.copy(), row, stream(), grey_mean=GREY_MEAN)


ROWS = [
    {"jitter_brightness": 1.3},
    {"jitter_contrast": 0.5},
    {"jitter_saturation": 0.2},
    {"jitter_hue": 40.0},
    {f"tint_gain_{c}": 0.8 for c in "rgb"} | {f"tint_offset_{c}": 9.0 for c in "rgb"},
    {"gamma_exponent": 1.5},
    {"shadow_darkness": 0.5},
    {"blur_sigma": 1.2},
    {"motion_length": 7.0},
    {"defocus_radius": 2.5},
    {"sharpen_amount": 1.0},
    {"downscale_factor": 0.4},
    {"shot_strength": 1.0},
    {"speckle_sigma": 0.1},
    {"noise_sigma": 12.0},
    {"noise_sigma": 50.0},
    {"salt_pepper_fraction": 0.05},
    {"dropout_holes": 3.0, "dropout_size": 0.3},
]


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_each_operation_changes_the_picture_repeatably(row):
    result = applied(**row)
    assert result.shape == PHOTO.shape and result.dtype == np.uint8
    assert not np.array_equal(result, PHOTO)
    assert np.array_equal(result, applied(**row))


def test_nothing_drawn_changes_nothing():
    assert np.array_equal(applied(blur_sigma=0.0, noise_sigma=0.0, jitter_brightness=1.0, gamma_exponent=1.0), PHOTO)


def test_jitter_is_that_of_torchvision():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    tensor = torch.from_numpy(PHOTO.transpose(2, 0, 1).copy())
    peers = {
        "jitter_brightness": functional.adjust_brightness(tensor, 0.7),
        "jitter_contrast": functional.adjust_contrast(tensor, 0.7),
        "jitter_saturation": functional.adjust_saturation(tensor, 0.7),
    }
    for name, peer in peers.items():
        assert np.abs(applied(**{name: 0.7}).astype(int) - peer.numpy().transpose(1, 2, 0)).max() <= 2


def test_turning_hue_keeps_luminance_of_moderate_colours():
    soft = (PHOTO // 4 + 96).astype(np.uint8)
    turned = operations.apply(soft.copy(), {"jitter_hue": 60.0}, stream(), grey_mean=128.0)
    assert np.abs(turned @ operations.GREY - soft @ operations.GREY).max() < 2.5


def test_blur_is_that_of_opencv():
    peer = cv2.GaussianBlur(PHOTO, (9, 9), 1.2)
    assert np.abs(applied(blur_sigma=1.2).astype(int) - peer).max() <= 1


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 0.65, 1.0, 1.7, 2.0, 5.0, 20.0])
def test_blur_keeps_the_light_and_is_as_wide_as_asked(sigma):  # each weight rounded on its own loses up to 1.2%
    flat = np.full((60, 60), 200, dtype=np.uint8)
    assert (operations.gaussian_blur(flat, sigma) == 200).all()
    weights = operations.gaussian_kernel(sigma).astype(int)
    assert len(weights) % 3 == 1
    assert weights[0] + 2 * weights[1:].sum() == 256
    if sigma >= 0.5:
        spread = np.sqrt(2 * (weights @ np.arange(len(weights)) ** 2) / 256)
        assert spread == pytest.approx(sigma, rel=0.09)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9, 3), (2, 3), (5, 4, 3), (64, 96, 3), (33, 50)])
@pytest.mark.parametrize("sigma", [0.6, 1.7, 6.0])
def test_blur_of_any_shape_is_the_exact_one_but_for_two_roundings(shape, sigma):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    weights = operations.gaussian_kernel(sigma) / 256
    kernel = np.concatenate([weights[:0:-1], weights])
    exact = pixels.astype(float)
    for axis in (0, 1):
        reach = [(len(weights) - 1,) * 2 if i == axis else (0, 0) for i in range(len(shape))]
        padded = np.pad(exact, reach, mode="reflect" if shape[axis] > 1 else "edge")
        exact = np.apply_along_axis(np.convolve, axis, padded, kernel, mode="valid")
    found = operations.gaussian_blur(pixels, sigma)
    assert np.abs(found - exact).max() <= 1.01
    assert abs((found - exact).mean()) < 0.005 + 1.5 / np.sqrt(pixels.size)


@pytest.mark.parametrize("kernel", [operations.line_kernel(7, 0.6), operations.disc_kernel(2.5)])
def test_kernels_keep_the_light(kernel):
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel.min() >= 0


def test_noise_before_the_lens_is_softened():
    flat = np.full((64, 64, 3), 128, dtype=np.uint8)
    after = operations.apply(flat.copy(), {"noise_sigma": 20.0, "blur_sigma": 1.5}, stream(), grey_mean=128.0)
    before = operations.apply(
        flat.copy(), {"noise_sigma": 20.0, "blur_sigma": 1.5, "noise_first": 1.0}, stream(), grey_mean=128.0
    )
    assert before.std() < 0.3 * after.std()


def test_paper_keeps_the_mean_and_has_the_spread_asked_for():
    flat = np.full((200, 200, 3), 128, dtype=np.uint8)
    paper = documents.paper(flat, 6.0, stream()).astype(float)
    assert paper.mean() == pytest.approx(128, abs=1)
    assert paper.std() == pytest.approx(6, rel=0.3)
    assert (paper[..., 0] == paper[..., 2]).all()


def test_creases_and_shadows_do_what_they_say():
    flat = np.full((120, 90, 3), 128, dtype=np.uint8)
    creased = documents.crease(flat, 2, 30.0, stream())
    assert creased.max() > 145 and creased.min() < 112
    shaded = documents.shadow(flat, 0.5, stream())
    assert shaded.max() == 128 and shaded.min() == 64


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_lossless_encodings_give_the_pixels_back(encoding):
    data = encode([PHOTO], encoding)
    back = data.reshape(PHOTO.shape) if encoding == "raw" else cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(back, PHOTO)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1, "quality": 15}, {"progressive": True}])
def test_a_jpeg_is_decoded_as_opencv_does_it(mode, options):
    file = io.BytesIO()
    Image.fromarray(PHOTO[:63, :95]).convert(mode).save(file, "JPEG", **options)
    data = np.frombuffer(file.getvalue(), dtype=np.uint8)
    assert np.array_equal(decode(data), cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
    assert decode(data[:1]) is None


def test_artefacts_grow_as_quality_falls():
    errors = [np.abs(through_jpeg([PHOTO], q).astype(int) - PHOTO).mean() for q in (95, 60, 20)]
    assert errors[0] < errors[1] < errors[2]
