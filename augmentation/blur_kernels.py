"""Gaussian blur of bytes in 16 bits: down the columns, rounded, then along the rows.

Weights are 256ths that sum to 256, from the middle outward, padded with zeros to one and a multiple of three: three
pairs of neighbours are added at a time, so that the sums stay in registers. Beyond the edge lies the mirrored plane,
the outermost pixel not repeated (OpenCV's BORDER_REFLECT_101). Interleaved channels are `step` values apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from augmentation.compiling import compiled

Bytes = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.uint16]


@compiled
def mirrored(place: int, count: int) -> int:
    """A place before 0 or behind the last of `count`, folded back."""
    if count == 1:
        return 0
    while place < 0 or place >= count:
        place = -place if place < 0 else 2 * (count - 1) - place
    return place


@compiled
def pair(one: np.uint8, other: np.uint8, weight: np.uint16) -> np.uint16:
    """Two neighbours at the same distance, weighed."""
    return np.uint16(np.uint16(np.uint16(one) + np.uint16(other)) * weight)


@compiled
def byte(total: np.uint16) -> np.uint8:
    """256ths, rounded."""
    return np.uint8(np.uint16(total + np.uint16(128)) >> np.uint16(8))


@compiled
def add_rows(sums: Sums, plane: Bytes, y: int, near: int, weights: Sums) -> None:
    """Add the rows at distances near, near + 1 and near + 2 above and below y; the first time, start with row y."""
    height = plane.shape[0]
    a, b = mirrored(y - near, height), mirrored(y + near, height)
    c, d = mirrored(y - near - 1, height), mirrored(y + near + 1, height)
    e, f = mirrored(y - near - 2, height), mirrored(y + near + 2, height)
    middle, first, second, third = weights[0], weights[near], weights[near + 1], weights[near + 2]
    for x in range(sums.size):
        start = np.uint16(np.uint16(plane[y, x]) * middle) if near == 1 else sums[x]
        inner = np.uint16(start + pair(plane[a, x], plane[b, x], first))
        outer = np.uint16(pair(plane[c, x], plane[d, x], second) + pair(plane[e, x], plane[f, x], third))
        sums[x] = np.uint16(inner + outer)


@compiled
def add_columns(sums: Sums, line: Bytes, edge: int, step: int, near: int, weights: Sums) -> None:
    """The same along a line with `edge` values more on both sides."""
    a, b = np.uint64(edge - near * step), np.uint64(edge + near * step)
    c, d = a - np.uint64(step), b + np.uint64(step)
    e, f = c - np.uint64(step), d + np.uint64(step)
    middle, first, second, third = weights[0], weights[near], weights[near + 1], weights[near + 2]
    for place in range(sums.size):
        x = np.uint64(place)
        start = np.uint16(np.uint16(line[x + np.uint64(edge)]) * middle) if near == 1 else sums[x]
        inner = np.uint16(start + pair(line[x + a], line[x + b], first))
        outer = np.uint16(pair(line[x + c], line[x + d], second) + pair(line[x + e], line[x + f], third))
        sums[x] = np.uint16(inner + outer)


@compiled
def extend(line: Bytes, edge: int, step: int) -> None:
    """Fill the `edge` values on both sides of a line with the mirrored line."""
    columns = (line.size - 2 * edge) // step
    for distance in range(edge // step):
        left, right = mirrored(-distance - 1, columns), mirrored(columns + distance, columns)
        for channel in range(step):
            line[edge - (distance + 1) * step + channel] = line[edge + left * step + channel]
            line[edge + (columns + distance) * step + channel] = line[edge + right * step + channel]


@compiled
def settle_line(line: Bytes, edge: int, sums: Sums) -> None:
    """The sums as bytes, behind the edge."""
    for place in range(sums.size):
        line[np.uint64(place) + np.uint64(edge)] = byte(sums[place])


@compiled
def settle_row(plane: Bytes, y: int, sums: Sums) -> None:
    """The sums as bytes of row y."""
    for x in range(sums.size):
        plane[y, x] = byte(sums[x])


@compiled
def blur(plane: Bytes, blurred: Bytes, weights: Sums, step: int) -> None:
    """Blur a plane (height, width x step) into another array of its shape."""
    height, width = plane.shape
    edge = (weights.size - 1) * step
    line, sums = np.empty(width + 2 * edge, np.uint8), np.empty(width, np.uint16)
    for y in range(height):
        for near in range(1, weights.size, 3):
            add_rows(sums, plane, y, near, weights)
        settle_line(line, edge, sums)
        extend(line, edge, step)
        for near in range(1, weights.size, 3):
            add_columns(sums, line, edge, step, near, weights)
        settle_row(blurred, y, sums)
