"""A team-mate's numbers as probabilities: decimal commas, percent, logarithms, rounding, said instead of guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import DataError, problems

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["auto", "labels", "probabilities", "percent", "logits"]
DECIMAL_COMMA = r"^\s*-?[0-9]+,[0-9]+([eE][-+]?[0-9]+)?\s*$|^\s*-?[0-9]+\s*$"
SUM_TOLERANCE = 1e-3


def numbers(name: str, table: pd.DataFrame) -> tuple[Array, list[str]]:
    """A table of text as float64 (n_rows, n_columns) and notes; raises DataError with line and column of the rest."""
    columns, notes, wrong = [], [], []
    for column in table.columns:
        text = pc.utf8_trim_whitespace(pa.array(table[column], pa.large_string()))
        try:
            columns.append(text.cast(pa.float64()).to_numpy(zero_copy_only=False))
            continue
        except pa.ArrowInvalid:
            pass
        if pc.all(pc.match_substring_regex(text, DECIMAL_COMMA)).as_py():
            columns.append(pc.replace_substring(text, ",", ".").cast(pa.float64()).to_numpy(zero_copy_only=False))
            notes.append("decimal commas read as points")
            continue
        unreadable = pd.to_numeric(table[column], errors="coerce").isna()
        wrong += [
            f"line {line}, column {column!r}: {value!r} is not a number"
            for line, value in table[column][unreadable].items()
        ]
    if wrong:
        raise DataError(problems(f"{name}: values that are no numbers", wrong))
    return np.stack(columns, axis=1), sorted(set(notes))


def as_probabilities(name: str, values: Array, *, kind: Kind, ids: Sequence[str]) -> tuple[Array, list[str]]:
    """Rows that sum to 1, and notes on what was done; raises DataError where that would be a guess.

    `values` is (n_rows, n_classes); `ids` name the rows in messages; `kind` says what the numbers are.
    """
    values = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError(problems(f"{name}: rows with empty or infinite values", [str(ids[int(row)]) for row in bad]))
    if kind == "logits":
        return softmax(values), ["logits turned into probabilities"]
    if kind == "percent":
        values = values / 100
    low, high, sums = values.min(), values.max(), values.sum(axis=1)
    if low < 0 and kind == "auto" and high <= SUM_TOLERANCE:
        shares = np.exp(np.minimum(values, 0))
        if np.allclose(shares.sum(axis=1), 1, atol=1e-2):
            return normalised(shares), ["log-probabilities turned into probabilities"]
    if low < 0:
        raise DataError(f"{name}: values from {low:.4g} to {high:.4g}: logits? Set kind: logits for this file")
    if high > 1 + SUM_TOLERANCE:
        hint = "percent? Set kind: percent" if np.allclose(sums, 100, atol=2) else "not probabilities"
        raise DataError(f"{name}: values from {low:.4g} to {high:.4g}: {hint} for this file")
    return checked_sums(name, values, ids)


def checked_sums(name: str, values: Array, ids: Sequence[str]) -> tuple[Array, list[str]]:
    """Normalise rows that miss 1 by rounding only; raises DataError with the rows that miss it by more."""
    sums = values.sum(axis=1)
    decimals = rounding(values)
    allowed = 1e-2 if decimals is None else max(1e-2, values.shape[1] * 0.5 * 10.0**-decimals + 1e-9)
    off = np.flatnonzero(np.abs(sums - 1) > allowed)
    if len(off):
        raise DataError(
            problems(
                f"{name}: rows that are no distribution", [f"{ids[int(row)]} sums to {sums[row]:.4g}" for row in off]
            )
        )
    notes = []
    worst = float(np.abs(sums - 1).max())
    if worst > SUM_TOLERANCE:
        cause = f"rounded to {decimals} decimals" if decimals is not None else "rounded"
        notes.append(f"{cause}: rows miss 1 by up to {worst:.3f}, made to sum to 1")
    return normalised(values), notes


def rounding(values: Array) -> int | None:
    """1, 2 or 3 if all values are rounded to so many decimals; none otherwise."""
    for decimals in (1, 2, 3):
        if np.allclose(values, np.round(values, decimals), atol=1e-9):
            return decimals
    return None


def normalised(shares: Array) -> Array:
    """Rows divided by their sums."""
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def softmax(values: Array) -> Array:
    """Exponentials of rows, made to sum to 1."""
    return normalised(np.exp(values - values.max(axis=1, keepdims=True)))


def smoothed(labels: Array, n_classes: int, smooth: float) -> Array:
    """Labels as probabilities: 1 - smooth for the label, the rest spread over the others.  # (n_rows, n_classes)"""
    others = smooth / max(n_classes - 1, 1)
    values = np.full((len(labels), n_classes), others)
    values[np.arange(len(labels)), labels] = 1 - smooth if n_classes > 1 else 1.0
    return values
