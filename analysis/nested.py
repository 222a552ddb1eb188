"""Honest scores: every row is blended with weights that other rows chose.

The rows are cut into parts (the folds, or groups where there are fewer than five folds); for each part a method is
fitted on the other parts and applied to it. The choice among methods, where there is one, happens inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.decision import decide
from analysis.ensemble import Blend, Options
from analysis.fitting import as_before, fit, fit_warm, possible, warm
from analysis.library import Library
from analysis.methods import splits
from analysis.metrics import score

Array = NDArray[Any]
BEST = "best_member"
CHOICE = ("soft", "weighted", "greedy_bagged", "auto")  # what `choose` chooses from


@dataclass(frozen=True)
class Nested:
    """Log-probabilities (n_rows, n_classes) in which no row's label chose anything about that row, and the blends."""

    table: Array
    blends: tuple[Blend, ...]  # of each part, in the order of `parts`


def parts(library: Library, fit_rows: Array | None = None) -> Iterator[tuple[Array, Library]]:
    """For each part of the rows: its positions, and what may be fitted on to predict it.

    `fit_rows` (a mask): the rows that may be fitted on, for example one view; all rows are predicted.
    """
    part = splits(library, parts=5)
    usable = np.ones(len(part), dtype=bool) if fit_rows is None else fit_rows
    for number in np.unique(part):
        yield np.flatnonzero(part == number), library.to_fit(np.flatnonzero((part != number) & usable))


def nested(library: Library, fitter: Callable[[Library], Blend], *, fit_rows: Array | None = None) -> Nested:
    """Every part blended with what was fitted on the other parts."""
    table, blends = np.zeros(library.log_probabilities.shape[1:]), []
    for held, others in parts(library, fit_rows):
        blends.append(fitter(others))
        table[held] = blends[-1].apply(library.log_probabilities, rows=held)
    return Nested(table, tuple(blends))


def without_each(
    library: Library, options: Options, whole: Nested, *, fit_rows: Array | None = None
) -> dict[str, Array]:
    """Nested tables (n_rows, n_classes) without each member in turn, each part by the method that blends it in `whole`.

    What a fit chooses by cross-validation, and the members' temperatures, stay: they hardly depend on one member.
    Members that the given weights or the limits cannot do without are left out.
    """
    tables: dict[str, Array] = {}
    for (held, others), blend in zip(parts(library, fit_rows), whole.blends, strict=True):
        ready, told = warm(blend.method, others, options), as_before(options, blend)
        for place, name in enumerate(library.members):
            members = np.delete(np.arange(len(library.members)), place)
            fewer = ready.without(name)
            if possible(blend.method, fewer.library.members, told):
                rest = best_member(fewer.library, told) if blend.method == BEST else fit_warm(blend.method, fewer, told)
                table = tables.setdefault(name, np.zeros(library.log_probabilities.shape[1:]))
                table[held] = rest.apply(library.log_probabilities, rows=held, members=members)
    return tables


def choose(library: Library, options: Options, *, methods: Sequence[str] = CHOICE) -> Blend:
    """The method with the best nested score on these rows, fitted on all of them."""
    scores = []
    for method in methods:
        table = nested(library, fitter(method, options)).table
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
    return replace(fit("given", library, replace(options, weights={best: 1.0}, limits={})), method=BEST)


def fitter(method: str, options: Options) -> Callable[[Library], Blend]:
    """The function that fits `method`, including `choose` and `best_member`."""
    if method == "choose":
        return lambda library: choose(library, options)
    if method == BEST:
        return lambda library: best_member(library, options)
    return lambda library: fit(method, library, options)
