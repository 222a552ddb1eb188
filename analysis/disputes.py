"""Test images in dispute as items of an album: between all sources, or between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.albums import Item
from storage.errors import DataError, ParamsError

Labels = Mapping[str, np.ndarray[Any, np.dtype[Any]]]  # {source: (n_test,) positions of classes}


def by_dispute(names: Sequence[str], sources: Labels) -> list[Item]:
    """Images that not all sources label alike, by the two labels named most; the closest calls first."""
    if len(sources) < 2:
        raise DataError(
            f"a dispute needs two sources; found {sorted(sources)}. Train, or put team-mates' files in place"
        )
    items = []
    for row in range(len(next(iter(sources.values())))):
        votes: dict[int, list[str]] = {}
        for name, labels in sources.items():
            votes.setdefault(int(labels[row]), []).append(name)
        if len(votes) > 1:
            ranked = sorted(votes, key=lambda label: (-len(votes[label]), label))
            pair = " or ".join(names[label] for label in sorted(ranked[:2]))
            text = "; ".join(f"{names[label]}: {', '.join(votes[label])}" for label in ranked)
            items.append(Item(pair, "test", row, text, len(votes[ranked[0]]) - len(votes[ranked[1]])))
    return items


def between_two(names: Sequence[str], sources: Labels, between: Sequence[str]) -> list[Item]:
    """Images on which two sources differ, by what each says; a file may be named without its ending."""
    known = {Path(name).stem: name for name in sources} | {name: name for name in sources}
    unknown = [name for name in between if name not in known]
    if unknown:
        raise ParamsError(f"--between {unknown[0]}: there are {', '.join(sorted(sources))}")
    one, other = between
    first, second = sources[known[one]], sources[known[other]]
    return [
        Item(f"{one} says {names[first[row]]}, {other} says {names[second[row]]}", "test", row, "", row)
        for row in np.flatnonzero(first != second).tolist()
    ]
