"""What is odd about a readable file, told by comparing it with what the others say: its classes or rows permuted.

The reference is a consensus (the blend, or the vote of the others); nothing is mended here, only said with its remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.team_matching import text_order

Array = np.ndarray[Any, np.dtype[Any]]
CLEAR_GAIN = 0.3  # share of rows by which a permutation has to agree better to be called one
CLEAR_AGREEMENT = 0.5


def diagnose(labels: Array, reference: Array, *, values: Sequence[str], ids: Sequence[str]) -> str | None:
    """One sentence on permuted classes or rows, with the remedy; none where nothing is clear.

    `labels` and `reference` are (n_rows,) positions of classes, rows in the order of `ids`.
    """
    as_given = float((labels == reference).mean())
    if as_given >= CLEAR_AGREEMENT + CLEAR_GAIN or len(labels) < 10:
        return None
    return permuted_classes(labels, reference, as_given, values) or permuted_rows(labels, reference, as_given, ids)


def permuted_classes(labels: Array, reference: Array, as_given: float, values: Sequence[str]) -> str | None:
    """Whether renaming the classes makes the file agree; the best renaming by the Hungarian method."""
    from scipy.optimize import linear_sum_assignment

    n_classes = len(values)
    table = np.bincount(labels * n_classes + reference, minlength=n_classes**2).reshape(n_classes, n_classes)
    said, meant = linear_sum_assignment(-table)
    renamed = float(table[said, meant].sum() / len(labels))
    if renamed < CLEAR_AGREEMENT or renamed - as_given < CLEAR_GAIN:
        return None
    found = f"its classes look permuted: it agrees with the others on {as_given:.0%} of rows, renamed on {renamed:.0%}"
    by_text = np.array(text_order(values))
    if (by_text[labels] == reference).mean() >= renamed - 0.02:
        return f"{found}; its numbers count the classes sorted as text. Set class_order: text for this file"
    order = ", ".join(values[int(position)] for position in meant)
    return f"{found}. If so, set class_order: [{order}] for this file"


def permuted_rows(labels: Array, reference: Array, as_given: float, ids: Sequence[str]) -> str | None:
    """Whether reading the rows in the sorted order of the ids makes the file agree."""
    by_name = np.argsort(np.array(ids, dtype=object), kind="stable")
    moved = np.empty_like(labels)
    moved[by_name] = labels
    agreed = float((moved == reference).mean())
    if agreed < CLEAR_AGREEMENT or agreed - as_given < CLEAR_GAIN:
        return None
    return (
        f"its rows look sorted by id instead of in the sample's order: it agrees with the others on {as_given:.0%} "
        f"of rows, in that order on {agreed:.0%}. Ask for a CSV with ids"
    )
