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
from analysis.ensemble import Blend
from analysis.fitting import as_before
from analysis.judge import Entry, Hearing, Judge, Plan
from analysis.leaderboard import fold_gain
from analysis.library import Library
from analysis.metrics import published
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
    library: Library,
    test: Array,
    *,
    views: Array,
    plan: Plan,
    fold_tests: Sequence[Array] = (),
    plain: Array | None = None,
) -> Result:
    """Fit the planned method, apply it to `test` (n_members, n_test, n_classes), and score it beside others.

    `fold_tests`: the members' test tables of each fold, whose mean is `test`; with them the expected board counts what
    the mean over folds gains. `plain`: the library's table without test-time augmentation, for the ablation.
    """
    hearing = Hearing(library, views, plan, plain)
    judge = hearing.judge
    best = hearing.entry("best_member")
    chosen = best if plan.method == "best_member" else hearing.entry(plan.method)
    others = [hearing.entry(name) for name in plan.compare_with if name not in (plan.method, "best_member", "given")]
    final = hearing.final(test)
    pooled = final.apply(test)
    labels = decide(plan.options.metric, pooled) if plan.decision == "expected" else pooled.argmax(axis=1)
    lines = [row(other, judge, chosen) for other in (chosen, *others, best)]
    effects = effects_of(hearing, final, chosen=chosen, best=best, others=others) if plan.with_ablation else []
    gain = gain_of(judge.score(chosen), final, fold_tests, pooled, metric=plan.options.metric)
    alone = {name: published(plan.options.metric, value) for name, value in hearing.alone.items()}
    board = boards(judge, chosen, best, plan=plan, n_test=test.shape[1], gain=gain)
    return Result(
        weights_of(hearing, judge, final, chosen, expected=board.get("test")),
        chosen.table,
        pooled,
        labels,
        {**metrics_of(hearing, judge, chosen, best), "alone": alone, "board": board, "members": final.weights},
        methods_csv(lines),
        ablation.to_csv(effects),
        ablation.to_svg(effects),
        text_of(lines, alone, plan.options.metric, view=hearing.main_view, board=board),
    )


def metrics_of(hearing: Hearing, judge: Judge, chosen: Entry, best: Entry) -> dict[str, Any]:
    """The honest scores, in the metric's usual orientation."""
    metric = hearing.plan.options.metric
    headline, rival = judge.estimate(chosen), judge.estimate(best)
    return {
        "method": hearing.plan.method,
        "metric": metric,
        "view": hearing.main_view,
        **usual(headline, metric),
        "score": published(metric, judge.score(chosen)),
        "best_member": {
            "name": max(hearing.alone, key=lambda name: hearing.alone[name]),
            "score": published(metric, judge.score(best)),
            "error": rival.error,
        },
        "over_best_member": asdict(judge.compare(chosen, best)),
        "views": {view: usual(one.estimate(chosen), metric) for view, one in hearing.judges.items()},
    }


def usual(estimate: Estimate, metric: str) -> dict[str, float]:
    """An estimate as plain values; log-loss, negated inside, as the smaller the better."""
    if metric != "log_loss":
        return asdict(estimate)
    return {"score": -estimate.score, "error": estimate.error, "low": -estimate.high, "high": -estimate.low}


def weights_of(
    hearing: Hearing, judge: Judge, final: Blend, chosen: Entry, *, expected: dict[str, Any] | None
) -> dict[str, Any]:
    """What weights.json holds: shares, nested score and expected one (greater is better), and the blend itself."""
    return {
        "weights": final.weights,
        "method": hearing.plan.method,
        "metric": hearing.plan.options.metric,
        "nested": {"view": hearing.main_view, **asdict(judge.estimate(chosen))},
        "expected": expected,
        "blend": final.to_json(),
    }


def gain_of(honest: float, final: Blend, fold_tests: Sequence[Array], pooled: Array, *, metric: str) -> float:
    """What averaging the folds gains; 0 where it can't be estimated."""
    if len(fold_tests) < 2 or metric == "log_loss":
        return 0.0
    return fold_gain(metric, [final.apply(part) for part in fold_tests], pooled, honest=honest)


def effects_of(
    hearing: Hearing, final: Blend, *, chosen: Entry, best: Entry, others: Sequence[Entry]
) -> list[ablation.Effect]:
    """The ablation, of members and of the blend's own steps."""
    if len(hearing.library.members) < 2:
        return []
    soft = next((other for other in others if other.name == "soft"), None)
    short = hearing.thinned()
    if short is not hearing:
        chosen, best, soft = short.entry(chosen.name), short.entry(best.name), None
    hearing, judge, soft = short, short.judge, soft or short.entry("soft")
    rests = hearing.without_each(chosen)
    plain, plain_soft, plain_best = (replace(one, labels=one.table.argmax(axis=1)) for one in (chosen, soft, best))
    steps = [("blending (soft voting over the best member)", plain_soft, plain_best)]
    if chosen.name != "soft":
        raw = as_before(replace(hearing.plan.options, calibration="none", bias="none"), final)
        uncalibrated = hearing.entry(chosen.name, how="likeliest", options=raw)
        steps.append((f"weights ({chosen.name} over soft voting)", uncalibrated, plain_soft))
        if (uncalibrated.table != plain.table).any():
            steps.append(("calibration (temperatures and bias)", plain, uncalibrated))
    if (chosen.labels != plain.labels).any():
        steps.append(("labels by expected metric over the likeliest class", chosen, plain))
    if without_tta := hearing.without_tta(chosen):
        steps.insert(0, ("test-time augmentation, where members keep it", chosen, without_tta))
    found = [ablation.effect("member", name, judge, chosen, rest) for name, rest in rests.items()]
    return found + [ablation.effect("step", name, judge, with_it, rest) for name, with_it, rest in steps]


def boards(judge: Judge, chosen: Entry, best: Entry, *, plan: Plan, n_test: int, gain: float) -> dict[str, Any]:
    """The score to expect on the test and on its public and private part, what it adds to the honest one and why, and
    whether the blend beats the best member on the private part."""
    if judge.metric == "log_loss":
        return {}
    held, seed = judge.held([chosen]), judge.seed
    public = round(n_test * plan.public_share)
    result: dict[str, Any] = {"honest": judge.score(chosen), "gain_of_averaging_folds": gain}
    for name, size in (("test", n_test), ("public", public), ("private", n_test - public)):
        if size:
            estimate, size_gain = held.expected(size, gain=gain, seed=seed)
            result[name] = {"rows": size, **asdict(estimate), "gain_of_size": size_gain}
    result["against_best_member"] = asdict(judge.held([chosen, best]).contest(n_test - public or n_test, seed=seed))
    return result


def row(entry: Entry, judge: Judge, chosen: Entry) -> dict[str, Any]:
    """One line of the table of methods."""
    own, apart = judge.estimate(entry), judge.compare(chosen, entry)
    same = entry is chosen
    verdict = "chosen" if same else "tie" if apart.tie else "behind" if apart.difference > 0 else "ahead"
    return {
        "method": entry.name,
        "score": published(judge.metric, own.score),
        "error": own.error,
        "gain_of_chosen": 0.0 if same else apart.difference,
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


def text_of(
    lines: Sequence[dict[str, Any]], alone: dict[str, float], metric: str, *, view: str, board: dict[str, Any]
) -> str:
    """The table of methods for a terminal, and how the honest score leads to the one expected on the test."""
    order = ", the smaller the better" if metric == "log_loss" else ""
    head = [f"honest (nested) {metric} on the {view} view, with its standard error{order}"]
    head += [f"  {line['method']:<14}{line['score']:.4f} ± {line['error']:.4f}  {line['verdict']}" for line in lines]
    head.append("  best_member: in each fold the one that is best elsewhere; each member alone, nothing chosen:")
    head.append("    " + ", ".join(f"{name} {value:.4f}" for name, value in alone.items()))
    if test := board.get("test"):
        head += [
            "what the blend may expect on the test",
            f"  honest        {board['honest']:.4f}  out of fold",
            f"               {board['gain_of_averaging_folds']:+.4f}  averaging the folds' models",
            f"               {test['gain_of_size']:+.4f}  {test['rows']:,} rows instead of the held-out ones",
            f"  expected      {test['score']:.4f}  95%: {test['low']:.4f} to {test['high']:.4f}",
        ]
    return "\n".join(head)
