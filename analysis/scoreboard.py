"""The whole of a blend: fit, nested scores beside other methods, errors, expected board, ablation, as plain records.

A pure function from arrays to a `Result`; the stage reads and writes around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import NDArray

from analysis import ablation
from analysis.decision import decide
from analysis.ensemble import Blend, Library
from analysis.judge import Entry, Hearing, Judge, Plan, best_name
from analysis.leaderboard import board_draws, contest, expected, fold_gain
from analysis.pools import LogLinearPool
from analysis.uncertainty import Estimate

Array = NDArray[Any]


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


def blend_and_score(
    library: Library, test: Array, *, views: Array, plan: Plan, fold_tests: Sequence[Array] = ()
) -> Result:
    """Fit the planned method, apply it to `test` (n_members, n_test, n_classes), and score it beside others.

    `fold_tests`: the members' test tables of each fold, whose mean is `test`; with them the expected board counts what
    the mean over folds gains.
    """
    hearing = Hearing(library, views, plan)
    judge = hearing.judge(hearing.main_view)
    best = hearing.entry("best_member", how="likeliest")
    chosen = best if plan.method == "best_member" else hearing.entry(plan.method)
    others = [hearing.entry(name) for name in plan.compare_with if name not in (plan.method, "best_member", "given")]
    final = hearing.final(test)
    pooled = final.apply(test)
    labels = decide(plan.options.metric, pooled) if plan.decision == "expected" else pooled.argmax(axis=1)
    lines = [row(other, judge, chosen) for other in (chosen, *others, best)]
    effects = effects_of(hearing, judge, final, chosen=chosen, best=best, others=others) if plan.with_ablation else []
    board = boards(judge, chosen, best, plan=plan, n_test=test.shape[1], gain=gain_of(plan, final, fold_tests, pooled))
    return Result(
        weights_of(hearing, judge, final, chosen),
        chosen.table,
        pooled,
        labels,
        {**metrics_of(hearing, judge, chosen, best), "board": board, "members": final.weights},
        methods_csv(lines),
        ablation.to_csv(effects),
        ablation.to_svg(effects),
        text_of(lines, plan.options.metric, hearing.main_view),
    )


def metrics_of(hearing: Hearing, judge: Judge, chosen: Entry, best: Entry) -> dict[str, Any]:
    """The honest scores, in the metric's usual orientation."""
    metric = hearing.plan.options.metric
    views = [view for view in ("testlike", "clean") if (hearing.views == view).any()]
    headline, rival = judge.estimate(chosen), judge.estimate(best)
    return {
        "method": hearing.plan.method,
        "metric": metric,
        "view": hearing.main_view,
        **usual(headline, metric),
        "score": judge.published(chosen),
        "best_member": {
            "name": best_name(hearing.library.rows(judge.rows), metric),
            "score": judge.published(best),
            "error": rival.error,
        },
        "over_best_member": asdict(judge.compare(chosen, best)),
        "views": {view: usual(hearing.judge(view).estimate(chosen), metric) for view in views},
    }


def usual(estimate: Estimate, metric: str) -> dict[str, float]:
    """An estimate as plain values; log-loss, negated inside, as the smaller the better."""
    if metric != "log_loss":
        return asdict(estimate)
    return {"score": -estimate.score, "error": estimate.error, "low": -estimate.high, "high": -estimate.low}


def weights_of(hearing: Hearing, judge: Judge, final: Blend, chosen: Entry) -> dict[str, Any]:
    """What weights.json holds: shares, the nested score (greater is better), and the blend itself."""
    return {
        "weights": final.weights,
        "method": hearing.plan.method,
        "metric": hearing.plan.options.metric,
        "nested": {"view": hearing.main_view, **asdict(judge.estimate(chosen))},
        "blend": final.to_json(),
    }


def gain_of(plan: Plan, final: Blend, fold_tests: Sequence[Array], pooled: Array) -> float:
    """What averaging the folds gains; 0 where it can't be estimated."""
    if len(fold_tests) < 2 or plan.options.metric == "log_loss":
        return 0.0
    return fold_gain(plan.options.metric, [final.apply(part) for part in fold_tests], pooled)


def effects_of(
    hearing: Hearing, judge: Judge, final: Blend, *, chosen: Entry, best: Entry, others: Sequence[Entry]
) -> list[ablation.Effect]:
    """The ablation; the ridge stays the final blend's: choosing it again without a member changes nothing."""
    if len(hearing.library.members) < 2:
        return []
    soft = next((other for other in others if other.name == "soft"), None) or hearing.entry("soft")
    plain, plain_soft = (replace(one, labels=one.table.argmax(axis=1)) for one in (chosen, soft))
    ridges = [pool.ridge for pool in final.pools if isinstance(pool, LogLinearPool)]
    fixed = replace(hearing.plan.options, ridge=max(ridges, default=0.0))
    return ablation.effects(
        hearing.library,
        judge,
        lambda name, library: hearing.entry(name, library, options=fixed),
        chosen=chosen,
        plain=plain,
        soft=plain_soft,
        best=best,
    )


def boards(judge: Judge, chosen: Entry, best: Entry, *, plan: Plan, n_test: int, gain: float) -> dict[str, Any]:
    """The expected public and private score (the honest one plus the gain of averaging folds), and whether the blend
    beats the best member on the private part."""
    if judge.metric == "log_loss":
        return {}
    labels, others = chosen.labels[judge.rows], best.labels[judge.rows]
    given: dict[str, Any] = {
        "groups": judge.library.groups[judge.rows],
        "n_classes": judge.library.log_probabilities.shape[-1],
        "draws": judge.draws,
        "seed": judge.seed,
    }
    truth = judge.library.labels[judge.rows]
    public = round(n_test * plan.public_share)
    result: dict[str, Any] = {"gain_of_averaging_folds": gain}
    for name, size in (("public", public), ("private", n_test - public)):
        if size:
            drawn = board_draws(judge.metric, truth, [labels], rows=size, **given)
            result[name] = {"rows": size, **asdict(expected(judge.score(chosen) + gain, drawn[:, 0]))}
    against = contest(judge.metric, truth, [labels, others], rows=n_test - public or n_test, **given)
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
