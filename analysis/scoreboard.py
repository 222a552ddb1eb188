"""The whole of a blend: fit, nested scores beside other methods, errors, expected board, ablation, as plain records.

A pure function from arrays to a `Result`; the stage reads and writes around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import ablation
from analysis.decision import decide
from analysis.ensemble import Library, Options, adjusted_to_test
from analysis.leaderboard import board_draws, contest, expected, fold_gain
from analysis.metrics import published, score, true_class
from analysis.nested import fitter, nested_table
from analysis.pools import LogLinearPool
from analysis.uncertainty import Difference, Estimate, bootstrap, bootstrap_means, compare, estimate

Array = NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One method on the held-out rows: nested probabilities, the labels chosen from them, and scores per view."""

    name: str
    table: Array  # (n_rows, n_classes) log-probabilities
    labels: Array  # (n_rows,)


@dataclass(frozen=True)
class Result:
    """What the stage writes."""

    weights: dict[str, Any]
    oof: Array  # (n_rows, n_classes) nested log-probabilities
    test: Array  # (n_test, n_classes)
    labels: Array  # (n_test,)
    metrics: dict[str, Any]
    methods_csv: str
    ablation_csv: str
    ablation_svg: str
    text: str


@dataclass(frozen=True)
class Judge:
    """The rows of one view and how they are scored; resamples are shared, so every comparison is paired."""

    library: Library
    rows: Array  # positions of the view's rows
    metric: str
    draws: int
    seed: int

    def score(self, entry: Entry) -> float:
        """The metric on this view, greater is better."""
        table, labels = entry.table[self.rows], entry.labels[self.rows]
        return score(self.metric, self.library.labels[self.rows], labels=labels, log_probabilities=table)

    def resampled(self, entries: Sequence[Entry]) -> Array:
        """Scores of entries on the same resamples, (draws, n_entries)."""
        truth, groups = self.library.labels[self.rows], self.library.groups[self.rows]
        if self.metric == "log_loss":
            values = [true_class(entry.table[self.rows], truth) for entry in entries]
            return bootstrap_means(values, groups=groups, draws=self.draws, seed=self.seed)
        n_classes = self.library.log_probabilities.shape[-1]
        decisions = [entry.labels[self.rows] for entry in entries]
        return bootstrap(
            self.metric, truth, decisions, groups=groups, n_classes=n_classes, draws=self.draws, seed=self.seed
        )

    def estimate(self, entry: Entry) -> Estimate:
        """The score with its error."""
        return estimate(self.score(entry), self.resampled([entry])[:, 0])

    def compare(self, first: Entry, second: Entry) -> Difference:
        """First minus second."""
        return compare(self.score(first), self.score(second), self.resampled([first, second]))

    def published(self, entry: Entry) -> float:
        """The score as scikit-learn gives it."""
        truth = self.library.labels[self.rows]
        return published(self.metric, truth, labels=entry.labels[self.rows], log_probabilities=entry.table[self.rows])


def blend_and_score(
    library: Library,
    test: Array,
    *,
    views: Array,
    method: str,
    options: Options,
    fit_view: str = "testlike",
    decision: str = "expected",
    to_test_priors: bool = False,
    compare_with: Sequence[str] = ("soft", "weighted", "greedy"),
    with_ablation: bool = True,
    draws: int = 1000,
    public_share: float = 0.5,
    fold_tests: Sequence[Array] = (),
) -> Result:
    """Fit `method`, apply it to `test` (n_members, n_test, n_classes), and score it beside others.

    `views` (n_rows,): the view of each row of the library. Everything is chosen and headlined on the test-like view
    where there is one. `fold_tests`: the members' test tables of each fold, whose mean is `test`; with them the
    expected board counts what the mean over folds gains.
    """
    main_view = "testlike" if (views == "testlike").any() else "clean"
    fit_rows = np.ones(len(views), dtype=bool) if fit_view == "both" else views == fit_view
    if not fit_rows.any():
        fit_rows = views == main_view
    judges = {
        view: Judge(library, np.flatnonzero(views == view), options.metric, draws, options.seed)
        for view in dict.fromkeys((main_view, "clean"))
        if (views == view).any()
    }

    def entry(name: str, part: Library = library, *, how: str = decision, told: Options = options) -> Entry:
        table = nested_table(part, fitter(name, told), fit_rows=fit_rows)
        return Entry(name, table, decided(table, options.metric, how=how, views=views))

    best = entry("best_member", how="likeliest")
    chosen = best if method == "best_member" else entry(method)
    others = [entry(name) for name in compare_with if name not in (method, "best_member", "given")]
    final = fitter(method, options)(library.rows(np.flatnonzero(fit_rows)))
    if to_test_priors:
        labels = library.labels[fit_rows]
        shares = np.bincount(labels, minlength=test.shape[-1]) / len(labels)
        final = adjusted_to_test(final, test, np.maximum(shares, 1e-6))
    pooled = final.apply(test)
    labels = decide(options.metric, pooled) if decision == "expected" else pooled.argmax(axis=1)
    judge = judges[main_view]
    headline, rival = judge.estimate(chosen), judge.estimate(best)
    metrics: dict[str, Any] = {
        "method": method,
        "metric": options.metric,
        "view": main_view,
        "score": judge.published(chosen),
        "error": headline.error,
        "low": headline.low,
        "high": headline.high,
        "best_member": {
            "name": best_name(library.rows(judge.rows), options.metric),
            "score": judge.published(best),
            "error": rival.error,
        },
        "over_best_member": asdict(judge.compare(chosen, best)),
        "views": {view: asdict(each.estimate(chosen)) for view, each in judges.items()},
        "board": boards(
            judge,
            chosen,
            best,
            n_test=test.shape[1],
            public_share=public_share,
            gain=fold_gain(options.metric, [final.apply(part) for part in fold_tests], pooled)
            if len(fold_tests) > 1 and options.metric != "log_loss"
            else 0.0,
        ),
        "members": dict(final.weights),
    }
    lines = [row(other, judge, chosen) for other in (chosen, *others, best)]
    effects = []
    if with_ablation and len(library.members) > 1:
        soft = next((other for other in others if other.name == "soft"), None) or entry("soft")
        plain = [replace(one, labels=one.table.argmax(axis=1)) for one in (chosen, soft)]
        ridges = [pool.ridge for pool in final.pools if isinstance(pool, LogLinearPool)]
        fixed = replace(options, ridge=max(ridges, default=0.0))  # choosing it again without a member changes nothing
        effects = ablation.effects(
            library,
            judge,
            lambda name, part: entry(name, part, told=fixed),
            chosen=chosen,
            plain=plain[0],
            soft=plain[1],
            best=best,
        )
    weights = {
        "weights": dict(final.weights),
        "method": method,
        "metric": options.metric,
        "nested": {"view": main_view, **asdict(headline)},
        "blend": final.to_json(),
    }
    return Result(
        weights,
        chosen.table,
        pooled,
        labels,
        metrics,
        methods_csv(lines),
        ablation.to_csv(effects),
        ablation.to_svg(effects),
        text_of(lines, options.metric, main_view),
    )


def decided(table: Array, metric: str, *, how: str, views: Array) -> Array:
    """Labels of each view by itself: a decision for macro-F1 depends on all rows that are decided together."""
    labels = table.argmax(axis=1)
    if how == "expected":
        for view in np.unique(views.astype(str)):
            rows = np.flatnonzero(views == view)
            labels[rows] = decide(metric, table[rows])
    return np.asarray(labels)


def best_name(library: Library, metric: str) -> str:
    """The member that is best over all rows; its score is reported with the choice nested."""
    scores = [
        score(metric, library.labels, labels=table.argmax(axis=1), log_probabilities=table)
        for table in library.log_probabilities
    ]
    return library.members[int(np.argmax(scores))]


def boards(
    judge: Judge, chosen: Entry, best: Entry, *, n_test: int, public_share: float, gain: float
) -> dict[str, Any]:
    """The expected public and private score (the honest one plus the gain of averaging folds), and whether the blend
    beats the best member on the private part."""
    if judge.metric == "log_loss":
        return {}
    truth, groups = judge.library.labels[judge.rows], judge.library.groups[judge.rows]
    n_classes = judge.library.log_probabilities.shape[-1]
    public = round(n_test * public_share)
    result: dict[str, Any] = {"gain_of_averaging_folds": gain}
    for name, size in (("public", public), ("private", n_test - public)):
        if size == 0:
            continue
        drawn = board_draws(
            judge.metric,
            truth,
            [chosen.labels[judge.rows]],
            groups=groups,
            n_classes=n_classes,
            rows=size,
            draws=judge.draws,
            seed=judge.seed,
        )
        result[name] = {"rows": size, **asdict(expected(judge.score(chosen) + gain, drawn[:, 0]))}
    size = n_test - public or n_test
    against = contest(
        judge.metric,
        truth,
        [chosen.labels[judge.rows], best.labels[judge.rows]],
        groups=groups,
        n_classes=n_classes,
        rows=size,
        draws=judge.draws,
        seed=judge.seed,
    )
    result["against_best_member"] = asdict(against)
    return result


def row(entry: Entry, judge: Judge, chosen: Entry) -> dict[str, Any]:
    """One line of the table of methods."""
    own, apart = judge.estimate(entry), judge.compare(chosen, entry)
    same = entry is chosen
    verdict = "chosen" if same else "tie" if apart.tie else "behind" if apart.difference > 0 else "ahead"
    return {
        "method": entry.name,
        "score": own.score,
        "error": own.error,
        "chosen_minus_this": 0.0 if same else apart.difference,
        "error_of_difference": 0.0 if same else apart.error,
        "verdict": verdict,
    }


def methods_csv(lines: Sequence[dict[str, Any]]) -> str:
    """The table of methods as CSV."""
    head = ",".join(lines[0])
    body = [
        ",".join(f"{value:.6f}" if isinstance(value, float) else str(value) for value in line.values())
        for line in lines
    ]
    return "\n".join([head, *body]) + "\n"


def text_of(lines: Sequence[dict[str, Any]], metric: str, view: str) -> str:
    """The table of methods for a terminal."""
    head = [f"honest (nested) {metric} on the {view} view, with its standard error"]
    head += [f"  {line['method']:<14}{line['score']:.4f} ± {line['error']:.4f}  {line['verdict']}" for line in lines]
    return "\n".join(head)
