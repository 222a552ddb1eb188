"""Bilinear warps: of planes with the light and the colour of the copy in the same pass, and of RGB.

A source has a border of one pixel before it and some behind, and is fetched four bytes at a time: two pixels of Y and
two more, U and V of two pixels, or R, G, B and nothing. Points are found in single precision and rounded to 1/128 of a
pixel; values have 7 bits behind the point until the end, where a factor of up to 15 bits and one rounding follow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from augmentation.compiling import compiled

Bytes = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.uint16]
Words = npt.NDArray[np.uint32]
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
def project(across: Singles, down: Singles, depth: Singles) -> None:
    """Divide both by the depth, in place."""
    for x in range(depth.size):
        share = np.float32(np.float32(1) / depth[x])
        across[x] = np.float32(across[x] * share)
        down[x] = np.float32(down[x] * share)


@compiled
def reflect(values: Singles, last: float) -> None:
    """Fold a coordinate into 0 .. `last`, as often as it takes; in place."""
    period = np.float32(max(2 * last, 1.0))
    for x in range(values.size):
        distance = np.float32(abs(values[x]))
        distance = np.float32(distance - np.float32(np.float32(np.floor(distance / period)) * period))
        values[x] = np.float32(min(distance, np.float32(period - distance)))


@compiled
def place(values: Singles, i: int, scale: Singles, axis: int) -> np.int32:
    """A value scaled to a place of 128ths; what lies beyond the outermost border and NaN go there."""
    found = np.float32(scale[axis] + np.float32(scale[axis + 1] * values[i]))
    found = found if found > np.float32(0) else np.float32(0)
    return np.int32(found if found < scale[axis + 2] else scale[axis + 2])


@compiled
def ramps(columns: int) -> tuple[Singles, Singles, Singles, Singles]:
    """0, 1, 2 .. to start from, and for what is found across, down and in depth.  # (columns,) each"""
    ramp = np.arange(columns).astype(np.float32)
    return ramp, ramp.copy(), ramp.copy(), ramp.copy()


@compiled
def new_scale(shape: tuple[int, int]) -> Singles:
    """What makes places of pixels: start, step and last place, across and down.  # (6,)"""
    scale = np.empty(6, np.float32)
    scale[0] = scale[3] = 128.5
    scale[1] = scale[4] = 128
    scale[2], scale[5] = 128 * (shape[1] - BEHIND - 1), 128 * (shape[0] - 2)
    return scale


@compiled
def scale_row(scale: Singles, matrix: tuple[float, ...], row: int) -> None:
    """What makes places of columns, for a row of an affine map."""
    for axis in range(2):
        scale[3 * axis] = np.float32(128 * (matrix[3 * axis + 1] * row + matrix[3 * axis + 2]) + 128.5)
        scale[3 * axis + 1] = np.float32(128 * matrix[3 * axis])


@compiled
def find_row(
    ramp: Singles,
    across: Singles,
    down: Singles,
    depth: Singles,
    matrix: tuple[float, ...],
    row: int,
    shape: tuple[int, int],
    folded: bool,
) -> None:
    """Where a row of the copy lies in a source whose padded plane has this shape, in pixels."""
    line(ramp, matrix[1] * row + matrix[2], matrix[0], across)
    line(ramp, matrix[4] * row + matrix[5], matrix[3], down)
    if matrix[6] != 0 or matrix[7] != 0:
        line(ramp, matrix[7] * row + matrix[8], matrix[6], depth)
        project(across, down, depth)
    if folded:
        reflect(across, shape[1] - BEHIND - 3)
        reflect(down, shape[0] - 4)


@compiled
def two_at(
    pixels: Bytes | Pairs | Words, x: np.int32, y: np.int32, stride: np.int32, more: int
) -> tuple[np.int32, np.int32]:
    """Four bytes of the row above a point and of that below, `more` pixels to the right."""
    place = np.int32(np.int32(np.int32(np.int32(y >> 7) * stride) + np.int32(x >> 7)) + np.int32(more))
    return word_at(pixels, place), word_at(pixels, np.int32(place + stride))


@compiled
def even(word: np.int32) -> np.int32:
    """Bytes 0 and 2 of a word, 16 bits each."""
    return np.int32(word & np.int32(0x00FF00FF))


@compiled
def odd(word: np.int32) -> np.int32:
    """Bytes 1 and 3 of a word, 16 bits each."""
    return np.int32(np.int32(word >> 8) & np.int32(0x00FF00FF))


@compiled
def mixed(first: np.int32, second: np.int32, part: np.int32) -> np.int32:
    """What lies between two values, times 128; or between two pairs of them, 16 bits each."""
    change = np.int32(np.int32(second - first) * np.int32(part & np.int32(127)))
    return np.int32(np.int32(first << 7) + change)


@compiled
def settled(first: np.int32, second: np.int32, part: np.int32) -> np.int32:
    """What lies between the lower 15 bits of two values that were mixed before, times 128."""
    lower, higher = np.int32(first & np.int32(0x7FFF)), np.int32(second & np.int32(0x7FFF))
    return np.int32(mixed(lower, higher, part) >> 7)


@compiled
def rounded(value: np.int32) -> np.uint8:
    """A value times 128 as a byte."""
    return np.uint8(np.int32(value + np.int32(64)) >> 7)


@compiled
def between(cell: np.int32, x: np.int32, y: np.int32) -> np.int32:
    """The value between the four pixels of a cell, times 128: both rows at once, then between them."""
    both = mixed(even(cell), odd(cell), x)
    return settled(both, np.int32(both >> 16), y)


@compiled
def cell_at(pixels: Bytes, x: np.int32, y: np.int32, stride: np.int32) -> np.int32:
    """The pixels between which a point lies: upper left, upper right, lower left and lower right, lowest byte first."""
    upper, lower = two_at(pixels, x, y, stride, 0)
    return np.int32(np.int32(upper & np.int32(0xFFFF)) | np.int32(lower << 16))


@compiled
def cut(value: np.int32, shift: np.uint32) -> np.uint8:
    """A value without the bits behind its point, within a byte."""
    return np.uint8(min(max(np.int32(value >> np.uint32(shift & np.uint32(31))), np.int32(0)), np.int32(255)))


@compiled
def bits_behind(reach: float) -> int:
    """Bits behind the point of factors that leave room in 32 for sums of up to `reach`, which have 7 of their own."""
    return min(13, 24 - math.frexp(reach + 1)[1])


@compiled
def fixed(value: float, bits: int) -> np.int32:
    """A number with so many bits behind the point."""
    return np.int32(np.rint(math.ldexp(value, bits)))


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
    luma: Bytes,
    size: tuple[int, int],
    padded: Bytes,
    matrix: tuple[float, ...],
    folded: bool,
    light: tuple[float, float],
) -> None:
    """Y of a copy of this size, from a padded plane at the points that the matrix gives, times a factor plus an offset.

    Its last row and column are repeated to the end of the plane.
    """
    bits = bits_behind(255 * abs(light[0]) + abs(light[1]))
    gain, offset, shift = fixed(light[0], bits), fixed(light[1] + 0.5, bits + 7), np.uint32(bits + 7)
    ramp, across, down, depth = ramps(luma.shape[1])  # more columns than the copy has, but whole vectors
    scale, flat, stride = new_scale(padded.shape), padded.reshape(padded.size), np.int32(padded.shape[1])
    for row in range(size[0]):
        if matrix[6] == 0 and matrix[7] == 0 and not folded:
            scale_row(scale, matrix, row)
        else:
            find_row(ramp, across, down, depth, matrix, row, padded.shape, folded)
        for i in range(ramp.size):
            x, y = place(across, i, scale, 0), place(down, i, scale, 3)
            value = between(cell_at(flat, x, y, stride), x, y)
            luma[row, i] = cut(np.int32(np.int32(value * gain) + offset), shift)
    repeat_edge(luma, size[0], size[1])


@compiled
def warp_chroma(
    u: Bytes,
    v: Bytes,
    size: tuple[int, int],
    padded: Pairs,
    matrix: tuple[float, ...],
    folded: bool,
    turn: tuple[float, float, float, float],
) -> None:
    """U and V likewise, times a 2 x 2 matrix about 128."""
    u_middle, v_middle = 128 * (1 - turn[0] - turn[1]), 128 * (1 - turn[2] - turn[3])
    reach_u, reach_v = 255 * (abs(turn[0]) + abs(turn[1])), 255 * (abs(turn[2]) + abs(turn[3]))
    bits = bits_behind(max(reach_u + abs(u_middle), reach_v + abs(v_middle)))
    u_from_u, u_from_v, u_offset = fixed(turn[0], bits), fixed(turn[1], bits), fixed(u_middle + 0.5, bits + 7)
    v_from_u, v_from_v, v_offset = fixed(turn[2], bits), fixed(turn[3], bits), fixed(v_middle + 0.5, bits + 7)
    shift = np.uint32(bits + 7)
    ramp, across, down, depth = ramps(u.shape[1])
    scale, flat, stride = new_scale(padded.shape), padded.reshape(padded.size), np.int32(padded.shape[1])
    for row in range(size[0]):
        if matrix[6] == 0 and matrix[7] == 0 and not folded:
            scale_row(scale, matrix, row)
        else:
            find_row(ramp, across, down, depth, matrix, row, padded.shape, folded)
        for i in range(ramp.size):
            x, y = place(across, i, scale, 0), place(down, i, scale, 3)
            upper, lower = two_at(flat, x, y, stride, 0)
            both_u, both_v = mixed(even(upper), even(lower), y), mixed(odd(upper), odd(lower), y)
            of_u, of_v = settled(both_u, np.int32(both_u >> 16), x), settled(both_v, np.int32(both_v >> 16), x)
            u[row, i] = cut(np.int32(np.int32(of_u * u_from_u) + np.int32(of_v * u_from_v) + u_offset), shift)
            v[row, i] = cut(np.int32(np.int32(of_u * v_from_u) + np.int32(of_v * v_from_v) + v_offset), shift)
    repeat_edge(u, size[0], size[1])
    repeat_edge(v, size[0], size[1])


@compiled
def warp_rgb(rgb: Bytes, padded: Words, matrix: tuple[float, ...], folded: bool) -> None:
    """R, G and B of a copy (height, width x 3) in their own colours; R and B go together until the last step."""
    ramp, across, down, depth = ramps(rgb.shape[1] // 3)
    scale, flat, stride = new_scale(padded.shape), padded.reshape(padded.size), np.int32(padded.shape[1])
    for row in range(rgb.shape[0]):
        if matrix[6] == 0 and matrix[7] == 0 and not folded:
            scale_row(scale, matrix, row)
        else:
            find_row(ramp, across, down, depth, matrix, row, padded.shape, folded)
        for i in range(ramp.size):
            x, y = place(across, i, scale, 0), place(down, i, scale, 3)
            upper, lower = two_at(flat, x, y, stride, 0)
            upper_right, lower_right = two_at(flat, x, y, stride, 1)
            left, right = mixed(even(upper), even(lower), y), mixed(even(upper_right), even(lower_right), y)
            green, next_green = mixed(odd(upper), odd(lower), y), mixed(odd(upper_right), odd(lower_right), y)
            rgb[row, 3 * i] = rounded(settled(left, right, x))
            rgb[row, 3 * i + 1] = rounded(settled(green, next_green, x))
            rgb[row, 3 * i + 2] = rounded(settled(np.int32(left >> 16), np.int32(right >> 16), x))
