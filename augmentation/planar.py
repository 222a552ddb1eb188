"""Copies kept in planes, as JPEG stores them: Y at full, U and V at half the resolution (4:2:0, JFIF).

Half the numbers of RGB, and none of JPEG's conversions: a recipe with `encoding: jpeg` takes this way for each copy
whose drawn operations all have a form in planes (`possible`); all others stay in RGB. Nothing but the row decides.

Geometry and lens treat each plane alike, jitter is the same linear map as in RGB, and Gaussian noise has, plane by
plane, the variances that independent noise in R, G and B has after conversion to 4:2:0, and its correlation of Y with
U and V. What differs from RGB: colours are cut to what can be shown once, by the reader, not after each operation;
chroma is averaged before, not after, the operations; U and V share no more noise than they have in common with Y.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from augmentation import geometry, operations
from augmentation.noise import (
    BLOCK,
    IN_BYTES,
    PixelRandom,
    Pixels,
    add_noise,
    as_pixels,
    byte_table,
    noise_bytes,
    normal_quantiles,
)
from augmentation.recipe import Border, Operations, columns_of, ranges_of

Row = dict[str, float]
Planes = list[Pixels]  # Y, U, V; Y has an even number of rows, and U and V have a multiple of STEP columns


class Prepared(Protocol):
    """What is needed of a source."""

    @property
    def pixels(self) -> Pixels:
        """RGB.  # (height, width, 3)"""

    @property
    def planes(self) -> tuple[Pixels, Pixels]:
        """What `from_rgb` makes of them."""


SCALES = (1, 2, 2)
STEP = 16  # columns at a time: OpenCV takes those that are left one by one, which costs a quarter of a blur
FORMS = {
    "flip", "rotate", "shift", "scale", "shear", "perspective", "jitter", "blur", "motion", "defocus", "sharpen",
    "downscale", "noise", "jpeg",
}  # fmt: skip
TO_YUV = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)  # JFIF 1.02; U and V lie about 128
COVARIANCE = TO_YUV @ TO_YUV.T  # of Y, U and V where R, G and B have independent noise of variance 1
LUMA = math.sqrt(COVARIANCE[0, 0])  # 0.668: standard deviation in Y
SHARES = [  # of U and of V: slope upon the noise of Y, and standard deviation beside it, in the mean of 2 x 2
    (slope, math.sqrt(variance - slope**2 * COVARIANCE[0, 0]) / 2)
    for slope, variance in zip(COVARIANCE[0, 1:] / COVARIANCE[0, 0], np.diag(COVARIANCE)[1:], strict=True)
]
FROM_IQ = (TO_YUV @ operations.FROM_YIQ)[1:, 1:]
QUARTER_TURN = (FROM_IQ @ np.array([[0, -1], [1, 0]]) @ np.linalg.inv(FROM_IQ)).tolist()  # of hue, on (U, V)
DOUBLE = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])  # a chroma sample lies amid four of luma
HALVE = np.linalg.inv(DOUBLE)


def rgb_only() -> dict[str, float]:
    """The drawn columns of operations without a form in planes, and their neutral values."""
    return {
        column: extra["neutral"]
        for name in Operations.model_fields
        if name not in FORMS
        for field, extra in ranges_of(name).items()
        for column in columns_of(name, field)
    }


RGB_ONLY = rgb_only()


def possible(row: Row) -> bool:
    """Whether all that was drawn has a form in planes; albumentations' transforms have none."""
    if row.get("noise_sigma", 0.0) * LUMA > IN_BYTES:
        return False
    return all(value == RGB_ONLY.get(column, value) for column, value in row.items()) and not any(
        value for column, value in row.items() if column.startswith("extra_")
    )


def from_rgb(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Y, and U and V as the first two of four channels, for the warp; the last row and column are repeated."""
    height, width = pixels.shape[:2]
    tall, wide = plane_shape((height, width))
    even = cv2.copyMakeBorder(pixels, 0, 2 * tall - height, 0, 2 * wide - width, cv2.BORDER_REPLICATE)
    half = cv2.cvtColor(cv2.resize(even, (wide, tall), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)
    chroma = np.empty((tall, wide, 4), dtype=np.uint8)
    cv2.mixChannels([half], [chroma], [2, 0, 1, 1, 2, 2, 1, 3])
    return as_pixels(cv2.cvtColor(even, cv2.COLOR_RGB2GRAY)), chroma


def plane_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of U and V for a copy of this size."""
    return -(-size[0] // 2), -(-size[1] // (2 * STEP)) * STEP


def placed(source: Prepared, matrix: npt.NDArray[np.float64], target: tuple[int, int], border: Border) -> Planes:
    """The copy's geometry, one warp per resolution; always new arrays, the last row and column repeated."""
    luma, chroma = source.planes
    (height, width), (tall, wide) = source.pixels.shape[:2], plane_shape(target)
    if (height, width) == target and geometry.is_identity(matrix):
        luma = luma.copy()
    else:
        outside = yuv(border.colour)
        luma = geometry.warp_plane(luma[:height, :width], matrix, (2 * tall, 2 * wide), border.mode, outside[:1])
        chroma = chroma[: (height + 1) // 2, : (width + 1) // 2]
        chroma = geometry.warp_plane(chroma, HALVE @ matrix @ DOUBLE, (tall, wide), border.mode, (*outside[1:], 0, 0))
        repeat_edge(luma, *target)
        repeat_edge(chroma, tall, (target[1] + 1) // 2)
    return [luma, as_pixels(cv2.extractChannel(chroma, 0)), as_pixels(cv2.extractChannel(chroma, 1))]


def repeat_edge(plane: Pixels, height: int, width: int) -> None:
    """Repeat the last of `height` rows and `width` columns to the end of the plane, as JPEG does; in place."""
    plane[:, width:] = plane[:, width - 1 : width]
    plane[height:] = plane[height - 1 : height]


@cache
def yuv(colour: tuple[int, int, int]) -> tuple[float, ...]:
    """A colour's Y, U and V."""
    return tuple((TO_YUV @ colour + [0, 128, 128]).tolist())


def apply(planes: Planes, row: Row, random: PixelRandom, *, grey_mean: float) -> Planes:
    """All drawn operations from light to sensor, in the order of `operations.apply`; `planes` may be overwritten."""
    planes = jitter(planes, row, grey_mean)
    angle, sigma = random.uniform(0, math.pi), row.get("noise_sigma", 0.0)
    if sigma and row.get("noise_first"):
        planes = add_gaussian(planes, sigma, random)
    planes = [operations.lens(plane, row, angle, scale=scale) for plane, scale in zip(planes, SCALES, strict=True)]
    if sigma and not row.get("noise_first"):
        planes = add_gaussian(planes, sigma, random)
    return planes


def jitter(planes: Planes, row: Row, grey_mean: float) -> Planes:
    """The map of `operations.colour_matrix`: Y apart, hue and saturation turn and stretch (U, V) about 128."""
    brightness, contrast = row.get("jitter_brightness", 1.0), row.get("jitter_contrast", 1.0)
    gain, offset = brightness * contrast, (1 - contrast) * brightness * grey_mean
    stretch, hue = gain * row.get("jitter_saturation", 1.0), math.radians(row.get("jitter_hue", 0.0))
    luma, u, v = planes
    if (gain, offset) != (1, 0):
        cv2.transform(luma, np.array([[gain, offset]]), dst=luma)
    if (stretch, hue) != (1, 0):
        cosine, sine = stretch * math.cos(hue), stretch * math.sin(hue)
        turn = [
            (sine * a + cosine * i, sine * b + cosine * (1 - i)) for (a, b), i in zip(QUARTER_TURN, (1, 0), strict=True)
        ]
        u, v = (as_pixels(cv2.addWeighted(u, a, v, b, 128 * (1 - a - b))) for a, b in turn)
    return [luma, u, v]


def add_gaussian(planes: Planes, sigma: float, random: PixelRandom) -> Planes:
    """What noise of `sigma` grey levels, independent in R, G and B, becomes in 4:2:0; in place.

    U and V get a share of the noise of their four pixels of Y, and noise of their own: quantiles of the normal
    distribution scaled down, so that one rounding is left of both (and one of the mean, which OpenCV rounds 1/8 too
    high). In blocks of rows that stay in the processor's cache.
    """
    luma, *chroma = planes
    half = chroma[0].shape[1]
    table = byte_table(sigma * LUMA)
    shares = [(slope, math.sqrt(max((sigma * own) ** 2 - (1 + slope**2) / 12, 0)) / IN_BYTES) for slope, own in SHARES]
    rows = max(1, BLOCK // (4 * half))
    for top in range(0, chroma[0].shape[0], rows):
        parts = [plane[top : top + rows] for plane in chroma]
        count = parts[0].shape[0]
        noise = noise_bytes(random.bytes((2, 2 * count, 2 * half)), *table)
        mean = cv2.resize(noise, (half, count), interpolation=cv2.INTER_AREA)
        add_noise(luma[2 * top : 2 * (top + count)], noise)
        bits = random.bytes((2, count, half))
        for plane, total, (slope, own) in zip(parts, cv2.LUT(bits, wide_table(), dst=bits), shares, strict=True):
            cv2.addWeighted(total, own, mean, slope, 128 * (1 - own) - 128.125 * slope, dst=total)
            add_noise(plane, total)
    return planes


@cache
def wide_table() -> Pixels:
    """Noise of sigma IN_BYTES, + 128.  # (256,)"""
    return as_pixels(np.rint(normal_quantiles() * math.sqrt(IN_BYTES**2 - 1 / 12) + 128))
