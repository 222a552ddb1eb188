"""A source: whatever says what the test images are. A member, a blend, or a team-mate's file, in one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Source:
    """Predictions of one source, rows in the order of the index; labels are positions in the list of classes."""

    name: str
    kind: Literal["member", "blend", "team"]
    labels: Array  # (n_test,)
    probabilities: Array | None = None  # (n_test, n_classes)
    oof_labels: Array | None = None  # (n_oof,) rows of `Held.truth`
    oof_probabilities: Array | None = None  # (n_oof, n_classes)
    board: float | None = None  # score on the public board
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """The held-out rows on which sources with out-of-fold predictions are scored."""

    image_id: Array  # (n_oof,)
    truth: Array  # (n_oof,)
    view: str  # which view of the images: testlike where there are such copies, else clean

    @property
    def title(self) -> str:
        """The view as people write it."""
        return "test-like" if self.view == "testlike" else self.view


def labels_of(sources: Sequence[Source]) -> Array:
    """One column of labels per source.  # (n_test, n_sources)"""
    return np.stack([source.labels for source in sources], axis=1)


def scored(sources: Sequence[Source]) -> list[Source]:
    """The sources with out-of-fold predictions."""
    return [source for source in sources if source.oof_labels is not None]


def oof_labels_of(sources: Sequence[Source]) -> Array:
    """One column of out-of-fold labels per source; each has to have them.  # (n_oof, n_sources)"""
    return np.stack([np.asarray(source.oof_labels) for source in sources], axis=1)


def mean_shares(sources: Sequence[Source], n_classes: int) -> Array:
    """What the sources say together: the mean of probabilities, a label counting as 1.  # (n_test, n_classes)"""
    total = np.zeros((len(sources[0].labels), n_classes))
    rows = np.arange(len(total))
    for source in sources:
        if source.probabilities is None:
            total[rows, source.labels] += 1
        else:
            total += source.probabilities
    return total / len(sources)
