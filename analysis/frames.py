"""Frames of a video, pictures of a person: keep the k of each group that show the most, leave out what adds nothing.

The first kept is the sharpest; each next is the one that differs most from all kept so far (Gonzalez, Clustering to
minimize the maximum intercluster distance, 1985: at most twice as far from the left-out ones as the best choice is).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Thumbnail = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
LONGEST = 4_000  # frames of one group that are compared; of longer ones, every so-manieth


def informative(groups: NDArray[np.int64], thumbnails: Thumbnail, keep: int) -> NDArray[np.bool_]:
    """Which rows to keep: all of groups up to `keep` rows, the most informative `keep` of larger ones.  # (n_rows,)

    `groups` (n_rows,) numbers the groups; `thumbnails(rows)` gives grey squares (n, size, size). Memory is that of one
    group's thumbnails.
    """
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    kept = np.zeros(len(groups), bool)
    for rows in np.split(order, cuts):
        if len(rows) <= keep:
            kept[rows] = True
        else:
            rows_compared = rows[:: -(-len(rows) // LONGEST)]
            kept[rows_compared[spread(thumbnails(rows_compared), keep)]] = True
    return kept


def spread(pictures: NDArray[np.uint8], keep: int) -> NDArray[np.int64]:
    """Positions of `keep` pictures (n, size, size): the sharpest, then always the one furthest from those chosen."""
    values = pictures.reshape(len(pictures), -1).astype(np.float32)
    steps = np.abs(np.diff(pictures.astype(np.float32), axis=1)).mean(axis=(1, 2))
    chosen = [int(np.argmax(steps))]
    distance = np.full(len(values), np.inf, np.float32)  # to the nearest chosen picture
    while len(chosen) < min(keep, len(values)):
        gap = values - values[chosen[-1]]
        distance = np.minimum(distance, np.einsum("ij,ij->i", gap, gap))
        distance[chosen] = -1
        chosen.append(int(np.argmax(distance)))
    return np.array(sorted(chosen), np.int64)
