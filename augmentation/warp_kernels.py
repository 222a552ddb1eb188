"""Bilinear warps of planes with the light and the colour of the copy, in one pass.

A source's plane is packed once for all its copies: a cell holds the 2 x 2 pixels between which a point lies, four bytes
in 32 bits, so that one fetch has all that the interpolation needs. There is one row and column of cells more on each
side, whose outer pixels are the border. Points are found in single precision and rounded to 1/128 of a pixel; values
have 7 bits behind the point until the end, where a factor of up to 15 bits and one rounding follow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from augmentation.compiling import compiled

Bytes = npt.NDArray[np.uint8]
Cells = npt.NDArray[np.uint32]
Whole = npt.NDArray[np.int32]
Singles = npt.NDArray[np.float32]


@compiled
def pack(padded: Bytes, cells: Cells) -> None:
    """Cells of a plane with one pixel of border before it and two behind.  # (h + 3, w + 3), (h + 2, w + 2)"""
    for row in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            upper = np.uint32(padded[row, x]) | np.uint32(np.uint32(padded[row, x + 1]) << np.uint32(8))
            lower = np.uint32(padded[row + 1, x]) | np.uint32(np.uint32(padded[row + 1, x + 1]) << np.uint32(8))
            cells[row, x] = upper | np.uint32(lower << np.uint32(16))


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
def place(ramp: Singles, start: float, step: float, places: Whole, cells: int) -> None:
    """start + step x ramp, in pixels, as places among the cells; what lies beyond them and NaN go to their edge."""
    first, each, most = np.float32(128 * start + 128.5), np.float32(128 * step), np.float32(128 * (cells - 1))
    for x in range(ramp.size):
        value = np.float32(first + np.float32(each * ramp[x]))
        value = value if value > np.float32(0) else np.float32(0)
        places[x] = np.int32(value if value < most else most)


@compiled
def locate(
    ramp: Singles,
    spare: Singles,
    places: Whole,
    cells: int,
    matrix: tuple[float, ...],
    axis: int,
    row: int,
    folded: bool,
) -> None:
    """Where the pixels of a row of the copy lie along an axis of the source: places among this many cells."""
    start, step = matrix[3 * axis + 1] * row + matrix[3 * axis + 2], matrix[3 * axis]
    straight = matrix[6] == 0 and matrix[7] == 0
    if straight and not folded:
        place(ramp, start, step, places, cells)
        return
    values = np.empty_like(ramp)
    line(ramp, start, step, values)
    if not straight:
        line(ramp, matrix[7] * row + matrix[8], matrix[6], spare)
        divide(values, spare)
    if folded:
        reflect(values, cells - 3)
    place(values, 0.0, 1.0, places, cells)


@compiled
def between(cell: np.uint32, x: np.int32, y: np.int32) -> np.int32:
    """The value between the four pixels of a cell, times 128: both rows at once, then between them."""
    left = cell & np.uint32(0x00FF00FF)
    right = np.uint32(cell >> np.uint32(8)) & np.uint32(0x00FF00FF)
    change = np.uint32(np.uint32(right - left) * np.uint32(x & np.int32(127)))
    both = np.uint32(np.uint32(left << np.uint32(7)) + change)
    upper, lower = np.int32(both & np.uint32(0x7FFF)), np.int32(both >> np.uint32(16))
    value = np.int32(np.int32(upper << 7) + np.int32(np.int32(lower - upper) * np.int32(y & np.int32(127))))
    return np.int32(value >> 7)


@compiled
def cell_at(x: np.int32, y: np.int32, columns: np.int32) -> np.uint32:
    """The position of a cell among all, as a number that is known not to be negative."""
    return np.uint32(np.int32(np.int32(y >> 7) * columns + np.int32(x >> 7))) & np.uint32(0x7FFFFFFF)


@compiled
def cut(value: np.int32, shift: np.uint32) -> np.uint8:
    """A value without the bits behind its point, within a byte."""
    return np.uint8(min(max(np.int32(value >> np.uint32(shift & np.uint32(31))), np.int32(0)), np.int32(255)))


@compiled
def luma_row(
    luma: Bytes, row: int, cells: Cells, columns: np.int32, across: Whole, down: Whole, light: tuple[int, ...]
) -> None:
    """One row of Y."""
    gain, offset, shift = np.int32(light[0]), np.int32(light[1]), np.uint32(light[2])
    for x in range(across.size):
        value = between(cells[cell_at(across[x], down[x], columns)], across[x], down[x])
        luma[row, x] = cut(np.int32(np.int32(value * gain) + offset), shift)


@compiled
def chroma_row(
    u: Bytes,
    v: Bytes,
    row: int,
    cells_u: Cells,
    cells_v: Cells,
    columns: np.int32,
    across: Whole,
    down: Whole,
    turn: tuple[int, ...],
) -> None:
    """One row of U and of V."""
    u_from_u, u_from_v, u_offset = np.int32(turn[0]), np.int32(turn[1]), np.int32(turn[2])
    v_from_u, v_from_v, v_offset = np.int32(turn[3]), np.int32(turn[4]), np.int32(turn[5])
    shift = np.uint32(turn[6])
    for x in range(across.size):
        cell = cell_at(across[x], down[x], columns)
        of_u = between(cells_u[cell], across[x], down[x])
        of_v = between(cells_v[cell], across[x], down[x])
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
    luma: Bytes, size: tuple[int, int], cells: Cells, matrix: tuple[float, ...], folded: bool, light: tuple[int, ...]
) -> None:
    """Y of a copy of this size, from the cells at the points that the matrix gives, row by row; its edge is repeated.

    `light`: a factor, an offset with rounding, and the number of bits by which the sum is shifted.  # (3,)
    """
    columns_in_all = luma.shape[1]  # more than the copy has, but whole vectors
    ramp, spare = np.arange(columns_in_all).astype(np.float32), np.empty(columns_in_all, np.float32)
    across, down = np.empty(columns_in_all, np.int32), np.empty(columns_in_all, np.int32)
    flat, columns = cells.reshape(cells.size), np.int32(cells.shape[1])
    for row in range(size[0]):
        locate(ramp, spare, across, cells.shape[1], matrix, 0, row, folded)
        locate(ramp, spare, down, cells.shape[0], matrix, 1, row, folded)
        luma_row(luma, row, flat, columns, across, down, light)
    repeat_edge(luma, size[0], size[1])


@compiled
def warp_chroma(
    u: Bytes,
    v: Bytes,
    size: tuple[int, int],
    cells_u: Cells,
    cells_v: Cells,
    matrix: tuple[float, ...],
    folded: bool,
    turn: tuple[int, ...],
) -> None:
    """U and V likewise. `turn`: factors of U and V and an offset for each of the two, and the shift.  # (7,)"""
    columns_in_all = u.shape[1]
    ramp, spare = np.arange(columns_in_all).astype(np.float32), np.empty(columns_in_all, np.float32)
    across, down = np.empty(columns_in_all, np.int32), np.empty(columns_in_all, np.int32)
    flat_u, flat_v, columns = cells_u.reshape(cells_u.size), cells_v.reshape(cells_v.size), np.int32(cells_u.shape[1])
    for row in range(size[0]):
        locate(ramp, spare, across, cells_u.shape[1], matrix, 0, row, folded)
        locate(ramp, spare, down, cells_u.shape[0], matrix, 1, row, folded)
        chroma_row(u, v, row, flat_u, flat_v, columns, across, down, turn)
    repeat_edge(u, size[0], size[1])
    repeat_edge(v, size[0], size[1])
