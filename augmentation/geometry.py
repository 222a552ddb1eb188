"""All of the geometry of a copy as one 3 x 3 matrix, and one warp at the size of the copy.

A matrix is a tuple of nine numbers, row by row: numpy takes ten times as long for so few.
Coordinates are pixels with their centres at whole numbers; a matrix takes the prepared source's points to the copy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]  # pixels of four bytes
Floats = npt.NDArray[np.float64]
Row = dict[str, float]
Nine = tuple[float, float, float, float, float, float, float, float, float]  # a 3 x 3 matrix, row by row
Linear = tuple[float, float, float, float]  # a 2 x 2 matrix, row by row
BORDERS = {"constant": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101}
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def prepare_source(pixels: Pixels, size: tuple[int, int] | None, fit: str) -> Pixels:
    """Shrink a source to about the size of its copies, once for all of them; never enlarge.  # (height, width, 3)

    Averages areas, as a warp alone would alias.
    """
    if size is None:
        return pixels
    vertical, horizontal = size[0] / pixels.shape[0], size[1] / pixels.shape[1]
    if fit == "pad":
        vertical = horizontal = min(vertical, horizontal)
    height = max(1, round(pixels.shape[0] * min(vertical, 1)))
    width = max(1, round(pixels.shape[1] * min(horizontal, 1)))
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def copy_matrix(
    source: tuple[int, int], prepared: tuple[int, int], target: tuple[int, int], *, fit: str, row: Row
) -> Nine:
    """From points of the prepared source to points of the copy; sizes are (height, width).

    Angles are those of the source's own shape: a stretched copy is turned first and stretched afterwards.
    """
    height, width = source
    vertical, horizontal = target[0] / height, target[1] / width
    if fit == "pad":
        vertical = horizontal = min(vertical, horizontal)
    x, y = width / prepared[1], height / prepared[0]
    middle_x, middle_y = (prepared[1] - 1) / 2, (prepared[0] - 1) / 2
    a, b, c, d = linear_part(row, height, width)
    rows = [[a * x, b * y, -a * x * middle_x - b * y * middle_y], [c * x, d * y, -c * x * middle_x - d * y * middle_y]]
    rows.append([0.0, 0.0, 1.0])
    if "perspective_fraction_a" in row:
        rows = (perspective(row, height, width) @ rows).tolist()
    left = (target[1] - 1) / 2 + horizontal * row.get("shift_fraction_x", 0.0) * width
    top = (target[0] - 1) / 2 + vertical * row.get("shift_fraction_y", 0.0) * height
    (a, b, c), (d, e, f), (g, h, i) = rows
    return (
        horizontal * a + left * g, horizontal * b + left * h, horizontal * c + left * i,
        vertical * d + top * g, vertical * e + top * h, vertical * f + top * i,
        g, h, i,
    )  # fmt: skip


def linear_part(row: Row, height: int, width: int) -> Linear:
    """What was drawn of flips, shear, rotation and scale, about the centre of a source of this size."""
    linear: Linear = (1.0, 0.0, 0.0, 1.0)
    if row.get("flip_transpose"):  # the other axis is stretched to this one's length, so the picture stays whole
        linear = (0.0, width / height, height / width, 0.0)
    if row.get("flip_horizontal"):
        linear = product((-1, 0, 0, 1), linear)
    if row.get("flip_vertical"):
        linear = product((1, 0, 0, -1), linear)
    if shear_x := row.get("shear_degrees_x"):
        linear = product((1, math.tan(math.radians(shear_x)), 0, 1), linear)
    if shear_y := row.get("shear_degrees_y"):
        linear = product((1, 0, math.tan(math.radians(shear_y)), 1), linear)
    angle, factor = math.radians(row.get("rotate_degrees", 0.0)), row.get("scale_factor", 1.0)
    cosine, sine = factor * math.cos(angle), factor * math.sin(angle)
    return product((cosine, sine, -sine, cosine), linear)


def product(first: Linear, second: Linear) -> Linear:
    """Of two 2 x 2 matrices; numpy takes ten times as long for so few numbers."""
    a, b, c, d = first
    e, f, g, h = second
    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


def perspective(row: Row, height: int, width: int) -> Floats:
    """The map that moves the four corners by the drawn fractions.  # (3, 3)"""
    moves = np.array([row[f"perspective_fraction_{part}"] for part in "abcdefgh"]).reshape(4, 2)
    side = np.array([width, height])
    corners = (CORNERS * side).astype(np.float32)
    moved_corners = ((CORNERS + moves) * side).astype(np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners, moved_corners), dtype=np.float64)


def inverse(nine: Nine) -> Nine:
    """From points of the copy back to the source, by cofactors: an affine matrix stays exactly affine."""
    a, b, c, d, e, f, g, h, i = nine
    whole = a * e - b * d
    return (
        (e * i - f * h) / whole, (c * h - b * i) / whole, (b * f - c * e) / whole,
        (f * g - d * i) / whole, (a * i - c * g) / whole, (c * d - a * f) / whole,
        (d * h - e * g) / whole, (b * g - a * h) / whole, 1.0,
    )  # fmt: skip


def halved(nine: Nine) -> Nine:
    """The same map between planes of half the resolution, whose samples lie amid 2 x 2 of the others."""
    a, b, c, d, e, f, g, h, i = nine
    c, f, i = c + (a + b) / 2, f + (d + e) / 2, i + (g + h) / 2
    return a - g / 2, b - h / 2, c / 2 - i / 4, d - g / 2, e - h / 2, f / 2 - i / 4, 2 * g, 2 * h, i


def is_identity(nine: Nine) -> bool:
    """Whether a warp would change nothing."""
    return all(abs(a - b) < 1e-9 for a, b in zip(nine, IDENTITY, strict=True))


def padded(pixels: Pixels, mode: str, outside: Sequence[float]) -> Pixels:
    """Pixels or a plane with the border that a warp needs: one pixel before them, some behind."""
    return np.asarray(cv2.copyMakeBorder(pixels, 1, 2, 1, 4, BORDERS[mode], value=outside), dtype=np.uint8)


def warp(padded: Words, nine: Nine, target: tuple[int, int], *, folded: bool) -> Pixels:
    """The copy's pixels: one interpolation, bilinear.  # (h, w) -> (height, width, 3)"""
    from augmentation import warp_kernels

    pixels = np.empty((*target, 3), dtype=np.uint8)
    warp_kernels.warp_rgb(pixels.reshape(target[0], -1), padded, inverse(nine), folded)
    return pixels


def warp_plane(
    padded: Pixels, nine: Nine, target: tuple[int, int], light: tuple[float, float], *, folded: bool
) -> Pixels:
    """The same of one plane, times a factor plus an offset.  # (h, w) -> (height, width)"""
    from augmentation import warp_kernels

    plane = np.empty(target, dtype=np.uint8)
    warp_kernels.warp_luma(plane, target, padded, inverse(nine), folded, light)
    return plane
