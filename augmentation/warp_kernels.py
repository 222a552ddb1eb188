"""Bilinear warps of planes with the light and the colour of the copy, in one pass.

A source's plane has a border of one pixel before it and some behind, so that the 2 x 2 pixels around any point are two
fetches of 32 bits. Points are found in single precision and rounded to 1/128 of a pixel; values have 7 bits behind the
point until the end, where a factor of up to 15 bits and one rounding follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from augmentation.compiling import compiled

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
BEHIND = 3  # columns after the last place: the other three bytes of a fetch


def four_bytes(typing: Any, pixels: Any, place: Any) -> Any:
    """Typing and code of `word_at`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(pointer, ir.IntType(32).as_pointer()), align=1)

    return types.int32(pixels, types.int32), generate


word_at: Any = intrinsic(four_bytes)  # (pixels, place): four bytes of a flat array, where numba itself fetches one


@compiled
def line(ramp: Singles, start: float, step: float, values: Singles) -> None:
    """start + step x ramp."""
    first, each = np.float32(start), np.float32(step)
    for x in range(ramp.size):
        values[x] = np.float32(first + np.float32(each * ramp[x]))


@compiled
def divide(values: Singles, others: Singles) -> None:
    """values / others, in place."""
    for x in range(values.size):
        values[x] = np.float32(values[x] / others[x])


@compiled
def reflect(values: Singles, last: float) -> None:
    """Fold a coordinate into 0 .. `last`, as often as it takes; in place."""
    period = np.float32(max(2 * last, 1.0))
    for x in range(values.size):
        distance = np.float32(abs(values[x]))
        distance = np.float32(distance - np.float32(np.float32(np.floor(distance / period)) * period))
        values[x] = np.float32(min(distance, np.float32(period - distance)))


@compiled
def place(value: np.float32, start: np.float32, step: np.float32, most: np.float32) -> np.int32:
    """start + step x value as a place of 128ths; what lies beyond the outermost border and NaN go there."""
    found = np.float32(start + np.float32(step * value))
    found = found if found > np.float32(0) else np.float32(0)
    return np.int32(found if found < most else most)


@compiled
def locate(
    ramp: Singles, spare: Singles, values: Singles, matrix: tuple[float, ...], axis: int, row: int, last: float
) -> None:
    """Where a row of the copy lies along an axis of the source, in pixels; folded unless `last` is negative."""
    line(ramp, matrix[3 * axis + 1] * row + matrix[3 * axis + 2], matrix[3 * axis], values)
    if matrix[6] != 0 or matrix[7] != 0:
        line(ramp, matrix[7] * row + matrix[8], matrix[6], spare)
        divide(values, spare)
    if last >= 0:
        reflect(values, last)


@compiled
def between(cell: np.int32, x: np.int32, y: np.int32) -> np.int32:
    """The value between the four pixels of a cell, times 128: both rows at once, then between them."""
    left = np.int32(cell & np.int32(0x00FF00FF))
    right = np.int32(np.int32(cell >> 8) & np.int32(0x00FF00FF))
    change = np.int32(np.int32(right - left) * np.int32(x & np.int32(127)))
    both = np.int32(np.int32(left << 7) + change)
    upper, lower = np.int32(both & np.int32(0x7FFF)), np.int32(np.int32(both >> 16) & np.int32(0x7FFF))
    value = np.int32(np.int32(upper << 7) + np.int32(np.int32(lower - upper) * np.int32(y & np.int32(127))))
    return np.int32(value >> 7)


@compiled
def cell_at(pixels: Bytes, x: np.int32, y: np.int32, stride: np.int32) -> np.int32:
    """The pixels between which a point lies: upper left, upper right, lower left and lower right, lowest byte first."""
    place = np.int32(np.int32(np.int32(y >> 7) * stride) + np.int32(x >> 7))
    upper: np.int32 = word_at(pixels, place)
    lower: np.int32 = word_at(pixels, np.int32(place + stride))
    return np.int32(np.int32(upper & np.int32(0xFFFF)) | np.int32(lower << 16))


@compiled
def cut(value: np.int32, shift: np.uint32) -> np.uint8:
    """A value without the bits behind its point, within a byte."""
    return np.uint8(min(max(np.int32(value >> np.uint32(shift & np.uint32(31))), np.int32(0)), np.int32(255)))


@compiled
def luma_row(
    luma: Bytes,
    row: int,
    pixels: Bytes,
    stride: np.int32,
    across: Singles,
    down: Singles,
    scale: Singles,
    light: tuple[int, ...],
) -> None:
    """One row of Y; `scale` makes places of what `across` and `down` hold."""
    gain, offset, shift = np.int32(light[0]), np.int32(light[1]), np.uint32(light[2])
    start_x, step_x, most_x, start_y, step_y, most_y = scale[0], scale[1], scale[2], scale[3], scale[4], scale[5]
    for i in range(across.size):
        x, y = place(across[i], start_x, step_x, most_x), place(down[i], start_y, step_y, most_y)
        value = between(cell_at(pixels, x, y, stride), x, y)
        luma[row, i] = cut(np.int32(np.int32(value * gain) + offset), shift)


@compiled
def chroma_row(
    u: Bytes,
    v: Bytes,
    row: int,
    pixels_u: Bytes,
    pixels_v: Bytes,
    stride: np.int32,
    across: Singles,
    down: Singles,
    scale: Singles,
    turn: tuple[int, ...],
) -> None:
    """One row of U and of V."""
    u_from_u, u_from_v, u_offset = np.int32(turn[0]), np.int32(turn[1]), np.int32(turn[2])
    v_from_u, v_from_v, v_offset = np.int32(turn[3]), np.int32(turn[4]), np.int32(turn[5])
    shift = np.uint32(turn[6])
    start_x, step_x, most_x, start_y, step_y, most_y = scale[0], scale[1], scale[2], scale[3], scale[4], scale[5]
    for i in range(across.size):
        x, y = place(across[i], start_x, step_x, most_x), place(down[i], start_y, step_y, most_y)
        of_u = between(cell_at(pixels_u, x, y, stride), x, y)
        of_v = between(cell_at(pixels_v, x, y, stride), x, y)
        u[row, i] = cut(np.int32(np.int32(of_u * u_from_u) + np.int32(of_v * u_from_v) + u_offset), shift)
        v[row, i] = cut(np.int32(np.int32(of_u * v_from_u) + np.int32(of_v * v_from_v) + v_offset), shift)


@compiled
def repeat_edge(plane: Bytes, height: int, width: int) -> None:
    """Repeat the last of `height` rows and `width` columns to the end of the plane, as JPEG does."""
    for row in range(height):
        last = plane[row, width - 1]
        for x in range(width, plane.shape[1]):
            plane[row, x] = last
    for row in range(height, plane.shape[0]):
        plane[row] = plane[height - 1]


@compiled
def scale_row(scale: Singles, matrix: tuple[float, ...], row: int) -> None:
    """What makes places of columns, for a row of an affine map."""
    for axis in range(2):
        scale[3 * axis] = np.float32(128 * (matrix[3 * axis + 1] * row + matrix[3 * axis + 2]) + 128.5)
        scale[3 * axis + 1] = np.float32(128 * matrix[3 * axis])


@compiled
def new_scale(padded: Bytes) -> Singles:
    """What makes places of pixels: start, step and last place, across and down.  # (6,)"""
    scale = np.empty(6, np.float32)
    scale[0] = scale[3] = 128.5
    scale[1] = scale[4] = 128
    scale[2], scale[5] = 128 * (padded.shape[1] - BEHIND - 1), 128 * (padded.shape[0] - 2)
    return scale


@compiled
def warp_luma(
    luma: Bytes, size: tuple[int, int], padded: Bytes, matrix: tuple[float, ...], folded: bool, light: tuple[int, ...]
) -> None:
    """Y of a copy of this size, from a padded plane at the points that the matrix gives, row by row.

    Its last row and column are repeated to the end of the plane.
    `light`: a factor, an offset with rounding, and the number of bits by which the sum is shifted.  # (3,)
    """
    ramp = np.arange(luma.shape[1]).astype(np.float32)  # more than the copy has, but whole vectors
    spare, across, down = np.empty_like(ramp), np.empty_like(ramp), np.empty_like(ramp)
    flat, stride, scale = padded.reshape(padded.size), np.int32(padded.shape[1]), new_scale(padded)
    for row in range(size[0]):
        if matrix[6] == 0 and matrix[7] == 0 and not folded:
            scale_row(scale, matrix, row)
            luma_row(luma, row, flat, stride, ramp, ramp, scale, light)
        else:
            locate(ramp, spare, across, matrix, 0, row, padded.shape[1] - BEHIND - 3 if folded else -1)
            locate(ramp, spare, down, matrix, 1, row, padded.shape[0] - 4 if folded else -1)
            luma_row(luma, row, flat, stride, across, down, scale, light)
    repeat_edge(luma, size[0], size[1])


@compiled
def warp_chroma(
    u: Bytes,
    v: Bytes,
    size: tuple[int, int],
    padded_u: Bytes,
    padded_v: Bytes,
    matrix: tuple[float, ...],
    folded: bool,
    turn: tuple[int, ...],
) -> None:
    """U and V likewise. `turn`: factors of U and V and an offset for each of the two, and the shift.  # (7,)"""
    ramp = np.arange(u.shape[1]).astype(np.float32)
    spare, across, down = np.empty_like(ramp), np.empty_like(ramp), np.empty_like(ramp)
    flat_u, flat_v = padded_u.reshape(padded_u.size), padded_v.reshape(padded_v.size)
    stride, scale = np.int32(padded_u.shape[1]), new_scale(padded_u)
    for row in range(size[0]):
        if matrix[6] == 0 and matrix[7] == 0 and not folded:
            scale_row(scale, matrix, row)
            chroma_row(u, v, row, flat_u, flat_v, stride, ramp, ramp, scale, turn)
        else:
            locate(ramp, spare, across, matrix, 0, row, padded_u.shape[1] - BEHIND - 3 if folded else -1)
            locate(ramp, spare, down, matrix, 1, row, padded_u.shape[0] - 4 if folded else -1)
            chroma_row(u, v, row, flat_u, flat_v, stride, across, down, scale, turn)
    repeat_edge(u, size[0], size[1])
    repeat_edge(v, size[0], size[1])
