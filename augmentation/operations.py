"""The pixel operations of a copy after its geometry, in whole numbers wherever the eye and the clock allow it.

Each step takes pixels, uint8 RGB (height, width, 3) or grey (height, width), the drawn row and the copy's random
stream, and returns pixels of the same shape; noise is added in place, as the pixels are the copy's own. The order is
that of the recipe.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate, pairwise

import cv2
import numpy as np
import numpy.typing as npt

from augmentation import documents, noise
from augmentation.noise import PixelRandom, Pixels, as_pixels

Row = dict[str, float]
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


def apply(pixels: Pixels, row: Row, random: PixelRandom, *, grey_mean: float) -> Pixels:
    """All drawn operations from light to occlusion; `pixels` may be overwritten. Grey ones come with their `light`.

    `grey_mean` of the source is the pivot of the contrast.
    """
    matrix = colour_matrix(row, grey_mean) if pixels.ndim == 3 else None
    if matrix is not None:
        pixels = as_pixels(cv2.transform(pixels, matrix, dst=pixels))
    if (exponent := row.get("gamma_exponent", 1.0)) != 1:
        pixels = as_pixels(cv2.LUT(pixels, np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)))
    if darkness := row.get("shadow_darkness"):
        pixels = documents.shadow(pixels, darkness, random)
    angle = random.uniform(0, math.pi) if row.get("motion_length") else 0.0
    if row.get("noise_first"):
        pixels = lens(sensor(pixels, row, random), row, angle)
    else:
        pixels = sensor(lens(pixels, row, angle), row, random)
    if holes := row.get("dropout_holes"):
        pixels = dropout(pixels, round(holes), row["dropout_size"], random)
    return pixels


def colour_matrix(row: Row, grey_mean: float) -> npt.NDArray[np.float32] | None:
    """Brightness, contrast, saturation, hue and tint as one affine map; None where nothing changes.  # (3, 4)

    Hue turns the chroma plane of YIQ, which keeps luminance.
    """
    matrix, offset = np.eye(3), np.zeros(3)
    if (brightness := row.get("jitter_brightness", 1.0)) != 1:
        matrix = matrix * brightness
    if (contrast := row.get("jitter_contrast", 1.0)) != 1:
        pivot = grey_mean * brightness
        matrix, offset = matrix * contrast, offset * contrast + (1 - contrast) * pivot
    if (saturation := row.get("jitter_saturation", 1.0)) != 1:
        mix = saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))
        matrix, offset = mix @ matrix, mix @ offset
    if hue := math.radians(row.get("jitter_hue", 0.0)):
        turn = np.array([[1, 0, 0], [0, math.cos(hue), -math.sin(hue)], [0, math.sin(hue), math.cos(hue)]])
        mix = FROM_YIQ @ turn @ TO_YIQ
        matrix, offset = mix @ matrix, mix @ offset
    if "tint_gain_r" in row:
        gain = np.array([row[f"tint_gain_{part}"] for part in "rgb"])
        matrix = gain[:, None] * matrix
        offset = gain * offset + [row[f"tint_offset_{part}"] for part in "rgb"]
    if np.array_equal(matrix, np.eye(3)) and not offset.any():
        return None
    return np.column_stack([matrix, offset]).astype(np.float32)


def light(row: Row, grey_mean: float) -> tuple[float, float]:
    """What the same map makes of grey: a factor and an offset."""
    brightness, contrast = row.get("jitter_brightness", 1.0), row.get("jitter_contrast", 1.0)
    gain, offset = brightness * contrast, (1 - contrast) * brightness * grey_mean
    if "tint_gain_r" in row:
        gains, offsets = ([row[f"tint_{kind}_{part}"] for part in "rgb"] for kind in ("gain", "offset"))
        factor = float(GREY @ gains)
        gain, offset = gain * factor, offset * factor + float(GREY @ offsets)
    return gain, offset


def lens(pixels: Pixels, row: Row, angle: float, *, scale: int = 1) -> Pixels:
    """Blur of all kinds, sharpening, and the loss of size; all of it linear, the same for each channel.

    A plane that has 1 / `scale` of the copy's resolution is blurred as the copy is.
    """
    if (sigma := row.get("blur_sigma", 0.0) / scale) > 0.1:
        pixels = gaussian_blur(pixels, sigma)
    if (length := row.get("motion_length", 0.0) / scale) >= 1.5:
        pixels = as_pixels(cv2.filter2D(pixels, -1, line_kernel(length, angle)))
    if (radius := row.get("defocus_radius", 0.0) / scale) >= 0.5:
        pixels = as_pixels(cv2.filter2D(pixels, -1, disc_kernel(radius)))
    if amount := row.get("sharpen_amount"):
        pixels = as_pixels(cv2.addWeighted(pixels, 1 + amount, gaussian_blur(pixels, 1 / scale), -amount, 0))
    if (factor := row.get("downscale_factor", 1.0)) < 1:
        pixels = downscale(pixels, factor)
    return pixels


def sensor(pixels: Pixels, row: Row, random: PixelRandom) -> Pixels:
    """Noise of all kinds."""
    if strength := row.get("shot_strength"):
        pixels = noise.add_shot(pixels, strength, random)
    if sigma := row.get("speckle_sigma"):
        pixels = noise.add_speckle(pixels, sigma, random)
    if sigma := row.get("noise_sigma"):
        pixels = noise.add_gaussian(pixels, sigma, random)
    if fraction := row.get("salt_pepper_fraction"):
        pixels = noise.add_salt_pepper(pixels, fraction, random)
    return pixels


def gaussian_blur(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian blur of `sigma` pixels."""
    from augmentation import blur_kernels

    weights = gaussian_kernel(round(sigma, 2))
    if len(weights) == 1:
        return pixels
    lines = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1)
    blurred = np.empty_like(lines)
    blur_kernels.blur(lines, blurred, weights, lines.shape[1] // pixels.shape[1])
    return blurred.reshape(pixels.shape)


@lru_cache(maxsize=1024)
def gaussian_kernel(sigma: float) -> npt.NDArray[np.uint16]:
    """A Gaussian in 256ths from the middle outward, cut at three sigma, filled with zeros to 1 + 3 n; the whole is 256.

    The weights' running sum is rounded, from the tails to the middle: each weight rounded on its own would change the
    light by up to 1 in 100.
    """
    tail = [math.exp(-((distance / sigma) ** 2) / 2) for distance in range(math.ceil(3 * sigma), 0, -1)]
    whole = 1 + 2 * sum(tail)
    running = [round(256 * part / whole) for part in accumulate(tail, initial=0)]
    half = [upper - lower for lower, upper in pairwise(running) if upper]
    return np.array([256 - 2 * running[-1], *half[::-1], *[0] * (-len(half) % 3)], dtype=np.uint16)


def line_kernel(length: float, angle: float) -> npt.NDArray[np.float32]:
    """A line through the centre, anti-aliased, summing to 1."""
    side = 2 * math.ceil(length / 2) + 1
    grid = np.arange(side) - side // 2
    along = np.abs(grid[None] * math.cos(angle) + grid[:, None] * math.sin(angle))
    across = np.abs(grid[:, None] * math.cos(angle) - grid[None] * math.sin(angle))
    kernel = np.clip(length / 2 + 0.5 - along, 0, 1) * np.clip(1 - across, 0, 1)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def disc_kernel(radius: float) -> npt.NDArray[np.float32]:
    """A disc, anti-aliased, summing to 1."""
    reach = math.ceil(radius)
    grid = np.arange(-reach, reach + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(grid[None], grid[:, None]), 0, 1)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def downscale(pixels: Pixels, factor: float) -> Pixels:
    """Shrink by averaging, enlarge linearly."""
    height, width = pixels.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return as_pixels(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR))


def dropout(pixels: Pixels, holes: int, size: float, random: PixelRandom) -> Pixels:
    """Rectangles of up to `size` of the side, each filled with one random grey."""
    result = pixels.copy()
    height, width = pixels.shape[:2]
    for _ in range(holes):
        tall, wide = (max(1, round(side * size * random.uniform(0.3, 1))) for side in (height, width))
        top, left = int(random.uniform(0, height - tall + 1)), int(random.uniform(0, width - wide + 1))
        result[top : top + tall, left : left + wide] = int(random.uniform(0, 256))
    return result
