"""Honest scores: every row is blended with weights that other rows chose.

The rows are cut into parts (the folds, or groups where there are fewer than five folds); for each part a method is
fitted on the other parts and applied to it. The choice among methods, where there is one, happens inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.decision import decide
from analysis.ensemble import Blend, Options
from analysis.library import Library
from analysis.methods import fit, splits
from analysis.metrics import score

Array = NDArray[Any]
CHOICE = ("soft", "weighted", "greedy_bagged", "auto")  # what `choose` chooses from


def nested_table(
    library: Library, fitter: Callable[[Library], Blend], *, fit_rows: Array | None = None, without: str = ""
) -> Array:
    """Log-probabilities (n_rows, n_classes) in which no row's label chose anything about that row.

    `fit_rows` (a mask): the rows that may be fitted on, for example one view; all rows are predicted. `without`: a
    member that is left out.
    """
    part = splits(library, parts=5)
    usable = np.ones(len(part), dtype=bool) if fit_rows is None else fit_rows
    members = np.array([place for place, name in enumerate(library.members) if name != without])
    result = np.zeros(library.log_probabilities.shape[1:])
    for number in np.unique(part):
        held = np.flatnonzero(part == number)
        others = library.to_fit(np.flatnonzero((part != number) & usable))
        blend = fitter(others.without(without) if without else others)
        result[held] = blend.apply(library.log_probabilities, rows=held, members=members if without else None)
    return result


def choose(library: Library, options: Options, *, methods: Sequence[str] = CHOICE) -> Blend:
    """The method with the best nested score on these rows, fitted on all of them."""
    scores = []
    for method in methods:
        table = nested_table(library, lambda part, method=method: fit(method, part, options))  # type: ignore[misc]
        labels = decide(options.metric, table)
        scores.append(score(options.metric, library.labels, labels=labels, log_probabilities=table))
    return fit(methods[int(np.argmax(scores))], library, options)


def best_member(library: Library, options: Options) -> Blend:
    """The member with the best score on these rows, alone: choosing it is part of the nesting."""
    scores = [
        score(options.metric, library.labels, labels=table.argmax(axis=1), log_probabilities=table)
        for table in library.log_probabilities
    ]
    best = library.members[int(np.argmax(scores))]
    return replace(fit("given", library, replace(options, weights={best: 1.0}, limits={})), method="best_member")


def fitter(method: str, options: Options) -> Callable[[Library], Blend]:
    """The function that fits `method`, including `choose` and `best_member`."""
    if method == "choose":
        return lambda library: choose(library, options)
    if method == "best_member":
        return lambda library: best_member(library, options)
    return lambda library: fit(method, library, options)
