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
BAND = 6144  # values of some rows, whose sums stay in the nearest cache


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
def add_rows(sums: Sums, plane: Bytes, top: int, near: int, weights: Sums) -> None:
    """Add to each row those at distances near, near + 1, near + 2 above and below it; at first, start with itself."""
    height = plane.shape[0]
    middle, first, second, third = weights[0], weights[near], weights[near + 1], weights[near + 2]
    for row in range(sums.shape[0]):
        y = top + row
        a, b = mirrored(y - near, height), mirrored(y + near, height)
        c, d = mirrored(y - near - 1, height), mirrored(y + near + 1, height)
        e, f = mirrored(y - near - 2, height), mirrored(y + near + 2, height)
        for x in range(sums.shape[1]):
            start = np.uint16(np.uint16(plane[y, x]) * middle) if near == 1 else sums[row, x]
            inner = np.uint16(start + pair(plane[a, x], plane[b, x], first))
            outer = np.uint16(pair(plane[c, x], plane[d, x], second) + pair(plane[e, x], plane[f, x], third))
            sums[row, x] = np.uint16(inner + outer)


@compiled
def add_columns(sums: Sums, lines: Bytes, edge: int, step: int, near: int, weights: Sums) -> None:
    """The same along lines with `edge` values more on both sides."""
    a, b = np.uint64(edge - near * step), np.uint64(edge + near * step)
    c, d = a - np.uint64(step), b + np.uint64(step)
    e, f = c - np.uint64(step), d + np.uint64(step)
    middle, first, second, third = weights[0], weights[near], weights[near + 1], weights[near + 2]
    for row in range(sums.shape[0]):
        line = lines[row]
        for place in range(sums.shape[1]):
            x = np.uint64(place)
            start = np.uint16(np.uint16(line[x + np.uint64(edge)]) * middle) if near == 1 else sums[row, x]
            inner = np.uint16(start + pair(line[x + a], line[x + b], first))
            outer = np.uint16(pair(line[x + c], line[x + d], second) + pair(line[x + e], line[x + f], third))
            sums[row, x] = np.uint16(inner + outer)


@compiled
def extend(lines: Bytes, count: int, columns: int, reach: int, step: int) -> None:
    """Fill `reach` pixels on both sides of lines with the mirrored line."""
    for distance in range(1, reach + 1):
        left, right = reach - distance, reach + columns - 1 + distance
        like_left, like_right = reach + mirrored(-distance, columns), reach + mirrored(right - reach, columns)
        for row in range(count):
            for channel in range(step):
                lines[row, left * step + channel] = lines[row, like_left * step + channel]
                lines[row, right * step + channel] = lines[row, like_right * step + channel]


@compiled
def settle(result: Bytes, top: int, edge: int, sums: Sums) -> None:
    """The sums as bytes, in rows from `top` on, behind the edge."""
    for row in range(sums.shape[0]):
        for place in range(sums.shape[1]):
            result[top + row, np.uint64(place) + np.uint64(edge)] = byte(sums[row, place])


@compiled
def blur(plane: Bytes, blurred: Bytes, weights: Sums, step: int) -> None:
    """Blur a plane (height, width x step) into another array of its shape."""
    height, width = plane.shape
    reach, columns = weights.size - 1, width // step
    edge = reach * step
    rows = min(height, max(1, BAND // width))
    lines, sums = np.empty((rows, width + 2 * edge), np.uint8), np.empty((rows, width), np.uint16)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        some = sums[:count]
        for near in range(1, weights.size, 3):
            add_rows(some, plane, top, near, weights)
        settle(lines, 0, edge, some)
        extend(lines, count, columns, reach, step)
        for near in range(1, weights.size, 3):
            add_columns(some, lines, edge, step, near, weights)
        settle(blurred, top, 0, some)
