"""What would change if a source were dropped from, or added to, the mean of the members: rows, and honest score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.sources import Held, Source, labels_of
from analysis.team_values import smoothed
from analysis.uncertainty import Difference, bootstrap, compare
from analysis.voting import majority

Array = np.ndarray[Any, np.dtype[Any]]
SMOOTH = 0.1
DRAWS = 400


@dataclass(frozen=True)
class Change:
    """`rows` of the test set get another label in the mean, `votes` in the plain majority of all sources."""

    name: str
    kind: str
    action: str  # dropped or added
    rows: int
    votes: int
    gain: Difference | None  # macro-F1 with the source minus without, on held-out rows


def changes(sources: Sequence[Source], held: Held, n_classes: int) -> list[Change]:
    """One row per member and team-mate's file; blends are left out, since they are made of the others."""
    plain = [source for source in sources if source.kind != "blend"]
    members = [source for source in plain if source.kind == "member"]
    voted = majority(labels_of(plain), n_classes)
    result = []
    for source in plain:
        inside = source.kind == "member"
        others = [other for other in members if other is not source]
        if not others:
            continue
        rest = [other for other in plain if other is not source]
        moved = int((mean_labels([*others, source], n_classes) != mean_labels(others, n_classes)).sum())
        votes = int((majority(labels_of(rest), n_classes) != voted).sum())
        action = "dropped" if inside else "added"
        result.append(Change(source.name, source.kind, action, moved, votes, gain(source, others, held, n_classes)))
    return result


def shares_of(source: Source, n_classes: int) -> Array:
    """A source's probabilities, or its labels smoothed.  # (n_test, n_classes)"""
    return smoothed(source.labels, n_classes, SMOOTH) if source.probabilities is None else source.probabilities


def mean_labels(sources: Sequence[Source], n_classes: int) -> Array:
    """Labels of the mean of the sources on the test set.  # (n_test,)"""
    return np.asarray(sum(shares_of(source, n_classes) for source in sources).argmax(axis=1))  # type: ignore[union-attr]


def gain(source: Source, others: Sequence[Source], held: Held, n_classes: int) -> Difference | None:
    """Macro-F1 of the mean with the source minus without it, on held-out rows; none without such rows."""
    from analysis.metrics import confusion, from_counts

    tables = [other.oof_probabilities for other in (*others, source)]
    known = [table for table in tables if table is not None]
    if len(known) < len(tables) or not len(held.truth):
        return None
    without = np.sum(known[:-1], axis=0)
    decisions = [(without + known[-1]).argmax(axis=1), without.argmax(axis=1)]
    scores = [float(from_counts("macro_f1", confusion(held.truth, d, n_classes=n_classes))) for d in decisions]
    resampled = bootstrap(
        "macro_f1", held.truth, decisions, groups=held.image_id.astype(str), n_classes=n_classes, draws=DRAWS
    )
    return compare(scores[0], scores[1], resampled)
