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
Whole = npt.NDArray[np.int32]
BEHIND = 3  # columns after the last place: the other three bytes of a fetch
Singles = npt.NDArray[np.float32]


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
def place(ramp: Singles, start: float, step: float, places: Whole, count: int) -> None:
    """start + step x ramp, in pixels, as places; what lies beyond the outermost border and NaN go there."""
    first, each, most = np.float32(128 * start + 128.5), np.float32(128 * step), np.float32(128 * (count - 1))
    for x in range(ramp.size):
        value = np.float32(first + np.float32(each * ramp[x]))
        value = value if value > np.float32(0) else np.float32(0)
        places[x] = np.int32(value if value < most else most)


@compiled
def locate(
    ramp: Singles,
    spare: Singles,
    places: Whole,
    count: int,
    matrix: tuple[float, ...],
    axis: int,
    row: int,
    folded: bool,
) -> None:
    """Where the pixels of a row of the copy lie along an axis of the source: `count` of them, border included."""
    start, step = matrix[3 * axis + 1] * row + matrix[3 * axis + 2], matrix[3 * axis]
    straight = matrix[6] == 0 and matrix[7] == 0
    if straight and not folded:
        place(ramp, start, step, places, count)
        return
    values = np.empty_like(ramp)
    line(ramp, start, step, values)
    if not straight:
        line(ramp, matrix[7] * row + matrix[8], matrix[6], spare)
        divide(values, spare)
    if folded:
        reflect(values, count - 3)
    place(values, 0.0, 1.0, places, count)


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
    luma: Bytes, row: int, pixels: Bytes, stride: np.int32, across: Whole, down: Whole, light: tuple[int, ...]
) -> None:
    """One row of Y."""
    gain, offset, shift = np.int32(light[0]), np.int32(light[1]), np.uint32(light[2])
    for x in range(across.size):
        value = between(cell_at(pixels, across[x], down[x], stride), across[x], down[x])
        luma[row, x] = cut(np.int32(np.int32(value * gain) + offset), shift)


@compiled
def chroma_row(
    u: Bytes,
    v: Bytes,
    row: int,
    pixels_u: Bytes,
    pixels_v: Bytes,
    stride: np.int32,
    across: Whole,
    down: Whole,
    turn: tuple[int, ...],
) -> None:
    """One row of U and of V."""
    u_from_u, u_from_v, u_offset = np.int32(turn[0]), np.int32(turn[1]), np.int32(turn[2])
    v_from_u, v_from_v, v_offset = np.int32(turn[3]), np.int32(turn[4]), np.int32(turn[5])
    shift = np.uint32(turn[6])
    for x in range(across.size):
        of_u = between(cell_at(pixels_u, across[x], down[x], stride), across[x], down[x])
        of_v = between(cell_at(pixels_v, across[x], down[x], stride), across[x], down[x])
        u[row, x] = cut(np.int32(np.int32(of_u * u_from_u) + np.int32(of_v * u_from_v) + u_offset), shift)
        v[row, x] = cut(np.int32(np.int32(of_u * v_from_u) + np.int32(of_v * v_from_v) + v_offset), shift)


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
def warp_luma(
    luma: Bytes, size: tuple[int, int], padded: Bytes, matrix: tuple[float, ...], folded: bool, light: tuple[int, ...]
) -> None:
    """Y of a copy of this size, from a padded plane at the points that the matrix gives, row by row.

    Its last row and column are repeated to the end of the plane.

    `light`: a factor, an offset with rounding, and the number of bits by which the sum is shifted.  # (3,)
    """
    columns_in_all = luma.shape[1]  # more than the copy has, but whole vectors
    ramp, spare = np.arange(columns_in_all).astype(np.float32), np.empty(columns_in_all, np.float32)
    across, down = np.empty(columns_in_all, np.int32), np.empty(columns_in_all, np.int32)
    flat, stride = padded.reshape(padded.size), np.int32(padded.shape[1])
    places_across, places_down = padded.shape[1] - BEHIND, padded.shape[0] - 1
    for row in range(size[0]):
        locate(ramp, spare, across, places_across, matrix, 0, row, folded)
        locate(ramp, spare, down, places_down, matrix, 1, row, folded)
        luma_row(luma, row, flat, stride, across, down, light)
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
    columns_in_all = u.shape[1]
    ramp, spare = np.arange(columns_in_all).astype(np.float32), np.empty(columns_in_all, np.float32)
    across, down = np.empty(columns_in_all, np.int32), np.empty(columns_in_all, np.int32)
    flat_u, flat_v, stride = (
        padded_u.reshape(padded_u.size),
        padded_v.reshape(padded_v.size),
        np.int32(padded_u.shape[1]),
    )
    places_across, places_down = padded_u.shape[1] - BEHIND, padded_u.shape[0] - 1
    for row in range(size[0]):
        locate(ramp, spare, across, places_across, matrix, 0, row, folded)
        locate(ramp, spare, down, places_down, matrix, 1, row, folded)
        chroma_row(u, v, row, flat_u, flat_v, stride, across, down, turn)
    repeat_edge(u, size[0], size[1])
    repeat_edge(v, size[0], size[1])
