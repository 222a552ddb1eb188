"""Copies kept in planes, as JPEG stores them: Y at full, U and V at half the resolution (4:2:0, JFIF).

Half the numbers of RGB, and none of JPEG's conversions: a recipe with `encoding: jpeg` takes this way for each copy
whose drawn operations all have a form in planes (`possible`); all others stay in RGB. Nothing but the row decides.

Geometry and lens treat each plane alike, jitter is the same linear map as in RGB, and Gaussian noise has, plane by
plane, the variances that independent noise in R, G and B has after conversion to 4:2:0, and its correlation of Y with
U and V. What differs from RGB: colours are cut to what can be shown once, by the reader, not after each operation;
chroma is averaged before, not after, the operations; U and V share no more noise than they have in common with Y.

Warp and jitter, Gaussian blur and noise are compiled kernels (compiling.py), which give the same bytes on every
processor. They are compiled at the first copy, in less than ten seconds, and kept for all later runs.
"""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from augmentation import geometry, operations
from augmentation.noise import PixelRandom, Pixels, as_pixels, normal_table, table_factor
from augmentation.ranges import Operations, columns_of, ranges_of
from augmentation.recipe import Border

Row = dict[str, float]
Planes = list[Pixels]  # Y, U, V; Y has an even number of rows, and U and V have a multiple of STEP columns
Padded = tuple[Pixels, npt.NDArray[np.uint16]]  # Y; U and V of each pixel side by side
Colour = tuple[tuple[float, float], tuple[float, float, float, float]]  # of Y: factor, offset; of (U, V): a matrix

AS_IT_IS: Colour = ((1.0, 0.0), (1.0, 0.0, 0.0, 1.0))
SCALES = (1, 2, 2)
STEP = 16  # columns at a time: whole vectors of the kernels, which take what is left of a row one by one
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
    (float(slope), math.sqrt(variance - slope**2 * COVARIANCE[0, 0]) / 2)
    for slope, variance in zip(COVARIANCE[0, 1:] / COVARIANCE[0, 0], np.diag(COVARIANCE)[1:], strict=True)
]
FROM_IQ = (TO_YUV @ operations.FROM_YIQ)[1:, 1:]
QUARTER_TURN = (FROM_IQ @ np.array([[0, -1], [1, 0]]) @ np.linalg.inv(FROM_IQ)).tolist()  # of hue, on (U, V)


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
    return all(value == RGB_ONLY.get(column, value) for column, value in row.items()) and not any(
        value for column, value in row.items() if column.startswith("extra_")
    )


def from_rgb(pixels: Pixels) -> Planes:
    """Y, U and V; the last row and column are repeated."""
    height, width = pixels.shape[:2]
    tall, wide = plane_shape((height, width))
    even = cv2.copyMakeBorder(pixels, 0, 2 * tall - height, 0, 2 * wide - width, cv2.BORDER_REPLICATE)
    half = cv2.cvtColor(cv2.resize(even, (wide, tall), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)
    return [
        as_pixels(cv2.cvtColor(even, cv2.COLOR_RGB2GRAY)),
        *(as_pixels(cv2.extractChannel(half, i)) for i in (2, 1)),
    ]


def plane_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of U and V for a copy of this size."""
    return -(-size[0] // 2), -(-size[1] // (2 * STEP)) * STEP


def padded(planes: Planes, size: tuple[int, int], border: Border) -> Padded:
    """The planes of a source of this size with the border that a warp needs."""
    luma, *chroma = (
        plane[: -(-size[0] // scale), : -(-size[1] // scale)] for plane, scale in zip(planes, SCALES, strict=True)
    )
    y, u, v = yuv(border.colour)
    pairs = geometry.padded(as_pixels(cv2.merge(chroma)), border.mode, (u, v))
    return geometry.padded(luma, border.mode, (y,)), pairs.view(np.uint16)[..., 0]


def warp(padded: Padded, nine: geometry.Nine, target: tuple[int, int], colour: Colour, *, folded: bool) -> Planes:
    """The copy's geometry and jitter, one warp per resolution; the last row and column are repeated."""
    from augmentation import warp_kernels

    tall, wide = plane_shape(target)
    luma, u, v = (np.empty(shape, dtype=np.uint8) for shape in ((2 * tall, 2 * wide), (tall, wide), (tall, wide)))
    (light, turn), back = colour, geometry.inverse(nine)
    warp_kernels.warp_luma(luma, target, padded[0], back, folded, light)
    warp_kernels.warp_chroma(u, v, (tall, (target[1] + 1) // 2), padded[1], geometry.halved(back), folded, turn)
    return [luma, u, v]


@cache
def yuv(colour: tuple[int, int, int]) -> tuple[float, ...]:
    """A colour's Y, U and V."""
    return tuple((TO_YUV @ colour + [0, 128, 128]).tolist())


def apply(planes: Planes, row: Row, random: PixelRandom) -> Planes:
    """All drawn operations from lens to sensor, in the order of `operations.apply`; `planes` may be overwritten."""
    angle = random.uniform(0, math.pi) if row.get("motion_length") else 0.0
    sigma = row.get("noise_sigma", 0.0)
    if sigma and row.get("noise_first"):
        planes = add_gaussian(planes, sigma, random)
    planes = [operations.lens(plane, row, angle, scale=scale) for plane, scale in zip(planes, SCALES, strict=True)]
    if sigma and not row.get("noise_first"):
        planes = add_gaussian(planes, sigma, random)
    return planes


def jitter(row: Row, grey_mean: float) -> Colour:
    """The map of `operations.colour_matrix`: Y apart, hue and saturation turn and stretch (U, V) about 128."""
    gain, offset = operations.light(row, grey_mean)
    stretch, hue = gain * row.get("jitter_saturation", 1.0), math.radians(row.get("jitter_hue", 0.0))
    cosine, sine = stretch * math.cos(hue), stretch * math.sin(hue)
    (a, b), (c, d) = QUARTER_TURN
    return (gain, offset), (sine * a + cosine, sine * b, sine * c, sine * d + cosine)


def add_gaussian(planes: Planes, sigma: float, random: PixelRandom) -> Planes:
    """What noise of `sigma` grey levels, independent in R, G and B, becomes in 4:2:0; in place.

    U and V get a share of the noise of their four pixels of Y, and noise of their own.
    """
    from augmentation import noise_kernels

    factors = [table_factor(sigma * LUMA)]
    for slope, own in SHARES:
        factors += [round(64 * slope * sigma * LUMA), table_factor(sigma * own)]
    luma, u, v = planes
    noise_kernels.add_planes(luma, u, v, normal_table(), random.key(), np.array(factors, dtype=np.int32))
    return planes
