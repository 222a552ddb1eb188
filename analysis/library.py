"""Libraries: the members' out-of-fold tables on the same rows, which blends are fitted on and judged by.

A model is one column: its folds make one out-of-fold table. A blend of blends, or of team-mates' tables, is the same
thing with other columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_CELLS = 1 << 27  # of a table that a fit reads: 0.5 GB; weights do not gain by more


@dataclass(frozen=True)
class Library:
    """Members' out-of-fold tables on the same rows."""

    members: tuple[str, ...]
    log_probabilities: Array  # (n_members, n_rows, n_classes) float32, in memory or memory-mapped
    labels: Array  # (n_rows,) true classes
    groups: Array  # (n_rows,) rows of one group are copies or relatives: never split, never counted as independent
    folds: Array  # (n_rows,)

    def rows(self, chosen: Array) -> Library:
        """The library on some rows (a mask or positions)."""
        return Library(
            self.members,
            self.log_probabilities[:, chosen],
            self.labels[chosen],
            self.groups[chosen],
            self.folds[chosen],
        )

    def to_fit(self, chosen: Array) -> Library:
        """The library on some rows (positions), or on evenly spaced ones of them where a fit would read too much."""
        n_members, _, n_classes = self.log_probabilities.shape
        return self.rows(chosen[evenly(len(chosen), MOST_CELLS // (n_members * n_classes))])

    def without(self, member: str) -> Library:
        """The library without one member."""
        kept = [position for position, name in enumerate(self.members) if name != member]
        return Library(
            tuple(self.members[position] for position in kept),
            self.log_probabilities[kept],
            self.labels,
            self.groups,
            self.folds,
        )


def evenly(n_rows: int, most: int) -> Array:
    """At most `most` evenly spaced positions out of n_rows; all where they are fewer."""
    return np.arange(n_rows) if n_rows <= most else np.unique(np.linspace(0, n_rows - 1, most).astype(np.int64))
