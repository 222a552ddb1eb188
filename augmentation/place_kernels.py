"""Where the pixels of a copy lie in its source: rows of places, found in single precision, in 128ths of a pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from augmentation.compiling import compiled

Singles = npt.NDArray[np.float32]
BEHIND = 3  # columns after the last place: the other three bytes of a fetch


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
