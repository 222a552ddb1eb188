"""Judging blends on held-out rows: nested entries of methods, their scores per view, paired errors and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.decision import decide
from analysis.ensemble import Blend, Options, adjusted_to_test
from analysis.leaderboard import Held
from analysis.library import Library, evenly
from analysis.metrics import score, true_logs
from analysis.nested import Nested, fitter, nested, without_each
from analysis.uncertainty import Difference, Estimate, Resamples, compare, estimate

Array = NDArray[Any]
MOST_CELLS = 1 << 25  # of a table that members are left out of: 0.13 GB, and 0.27 GB shared by the tables without each


@dataclass(frozen=True)
class Plan:
    """What is blended how, and what is scored beside it; the names are those of `blend` in params.yaml."""

    method: str = "auto"
    options: Options = field(default_factory=Options)
    fit_view: str = "testlike"  # or clean, both
    decision: str = "expected"  # or likeliest
    to_test_priors: bool = False
    compare_with: Sequence[str] = ("soft", "weighted", "greedy")
    with_ablation: bool = True
    draws: int = 1000
    public_share: float = 0.5


@dataclass(frozen=True)
class Entry:
    """One method on the held-out rows: nested probabilities, the labels chosen from them, and scores per view."""

    name: str
    table: Array  # (n_rows, n_classes) log-probabilities
    labels: Array  # (n_rows,)
    blends: tuple[Blend, ...] = ()  # of the nesting's parts


@dataclass(frozen=True)
class Judge:
    """The rows of one view and how they are scored; resamples are shared, so every comparison is paired."""

    library: Library
    rows: Array  # positions of the view's rows
    metric: str
    draws: int
    seed: int
    heard: dict[int, tuple[Entry, Array]] = field(default_factory=dict)  # resampled scores of entries, kept

    @cached_property
    def resamples(self) -> Resamples:
        """Of this view's rows, by groups; every entry is scored on the same ones."""
        return Resamples.of(self.library.groups[self.rows], draws=self.draws, seed=self.seed)

    @cached_property
    def actual(self) -> Array:
        """How often each resample holds each class, (draws, n_classes)."""
        n_classes = self.library.log_probabilities.shape[-1]
        return self.resamples.counts(self.library.labels[self.rows], n_classes)

    def score(self, entry: Entry) -> float:
        """The metric on this view, greater is better."""
        table, labels = entry.table[self.rows], entry.labels[self.rows]
        return score(self.metric, self.library.labels[self.rows], labels=labels, log_probabilities=table)

    def resampled(self, entry: Entry) -> Array:
        """Scores of an entry on the resamples, (draws,); the same ones for every entry, so differences are paired."""
        if id(entry) not in self.heard:
            truth, n_classes = self.library.labels[self.rows], entry.table.shape[-1]
            if self.metric == "log_loss":
                drawn = self.resamples.means(true_logs(entry.table[self.rows], truth))
            else:
                decided, actual = [entry.labels[self.rows]], self.actual
                drawn = self.resamples.scores(self.metric, truth, decided, n_classes=n_classes, actual=actual)[:, 0]
            self.heard[id(entry)] = (entry, drawn)
        return self.heard[id(entry)][1]

    def held(self, entries: Sequence[Entry]) -> Held:
        """Entries' decisions on these rows, for the expected board."""
        truth, n_classes = self.library.labels[self.rows], self.library.log_probabilities.shape[-1]
        decisions = [entry.labels[self.rows] for entry in entries]
        return Held.of(self.metric, truth, decisions, resamples=self.resamples, n_classes=n_classes)

    def estimate(self, entry: Entry) -> Estimate:
        """The score with its error."""
        return estimate(self.score(entry), self.resampled(entry))

    def compare(self, first: Entry, second: Entry) -> Difference:
        """First minus second."""
        resampled = np.stack([self.resampled(first), self.resampled(second)], axis=1)
        return compare(self.score(first), self.score(second), resampled)


@dataclass(frozen=True)
class Hearing:
    """A library, the view of each of its rows (n_rows,), and the plan: fits, nested entries and judges of them."""

    library: Library
    views: Array
    plan: Plan
    plain: Array | None = None  # the library's table without test-time augmentation, where a member keeps it

    @cached_property
    def main_view(self) -> str:
        """Everything is chosen and headlined on the test-like view where there is one."""
        return next(iter(self.judges))

    @cached_property
    def fit_rows(self) -> Array:
        """The rows that weights may be fitted on, a mask."""
        if self.plan.fit_view == "both":
            return np.ones(len(self.views), dtype=bool)
        rows = np.asarray(self.views == self.plan.fit_view)
        return rows if rows.any() else np.asarray(self.views == self.main_view)

    @cached_property
    def judges(self) -> dict[str, Judge]:
        """The judge of each view, the hardest first."""
        metric, seed, found = self.plan.options.metric, self.plan.options.seed, {}
        for view in ("testlike", "clean"):
            rows = np.flatnonzero(self.views == view)
            if len(rows):
                found[view] = Judge(self.library, rows, metric, self.plan.draws, seed)
        return found

    @property
    def judge(self) -> Judge:
        """The judge of the main view."""
        return self.judges[self.main_view]

    def entry(self, name: str, *, how: str = "", options: Options | None = None) -> Entry:
        """A method's nested entry."""
        told = options or self.plan.options
        whole = nested(self.library, fitter(name, told), fit_rows=self.fit_rows)
        return self.entered(name, whole.table, how=how, blends=whole.blends)

    def entered(self, name: str, table: Array, *, how: str = "", blends: tuple[Blend, ...] = ()) -> Entry:
        """The entry of a nested table."""
        metric, how = self.plan.options.metric, how or self.plan.decision
        return Entry(name, table, decided(table, metric, how=how, views=self.views), blends)

    def without_each(self, entry: Entry) -> dict[str, Entry]:
        """The entry without each member that can be done without."""
        whole = Nested(entry.table, entry.blends)
        tables = without_each(self.library, self.plan.options, whole, fit_rows=self.fit_rows)
        return {name: self.entered(entry.name, table) for name, table in tables.items()}

    @cached_property
    def alone(self) -> dict[str, float]:
        """Each member's own score on the main view, its labels decided as the blend's are; greater is better."""
        metric, rows, found = self.plan.options.metric, self.judge.rows, {}
        truth = self.library.labels[rows]
        for name, member in zip(self.library.members, self.library.log_probabilities, strict=True):
            table = np.asarray(member[rows])
            labels = decide(metric, table) if self.plan.decision == "expected" else table.argmax(axis=1)
            found[name] = score(metric, truth, labels=labels, log_probabilities=table)
        return found

    def thinned(self) -> Hearing:
        """This hearing, or where its table is large one on evenly spaced rows of it: as many tables as members fit."""
        n_members, n_rows, n_classes = self.library.log_probabilities.shape
        few = evenly(n_rows, MOST_CELLS // (n_members * n_classes))
        if len(few) == n_rows:
            return self
        plain = None if self.plain is None else self.plain[:, few]
        return Hearing(self.library.rows(few), self.views[few], self.plan, plain)

    def without_tta(self, entry: Entry) -> Entry | None:
        """The entry on the members' plain views; None where no member averages several."""
        if self.plain is None:
            return None
        return Hearing(replace(self.library, log_probabilities=self.plain), self.views, self.plan).entry(entry.name)

    def final(self, test: Array) -> Blend:
        """The planned blend, fitted on all rows that may be fitted on."""
        library = self.library.to_fit(np.flatnonzero(self.fit_rows))
        blend = fitter(self.plan.method, self.plan.options)(library)
        if not self.plan.to_test_priors:
            return blend
        shares = np.bincount(library.labels, minlength=test.shape[-1]) / len(library.labels)
        return adjusted_to_test(blend, test, np.maximum(shares, 1e-6))


def decided(table: Array, metric: str, *, how: str, views: Array) -> Array:
    """Labels of each view by itself: a decision for macro-F1 depends on all rows that are decided together."""
    labels = table.argmax(axis=1)
    if how == "expected":
        for view in np.unique(views.astype(str)):
            rows = np.flatnonzero(views == view)
            labels[rows] = decide(metric, table[rows])
    return np.asarray(labels)
