"""`podium status`: what exists, what it is worth, what to try next. Reads what the stages left; writes nothing."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from stages.params import read_params
from storage.errors import DataError


def main(
    metrics: Annotated[Path, typer.Option(help="The blend's scores.")] = Path("data/blend/metrics.json"),
    submissions: Annotated[Path, typer.Option(help="Folder of the submissions.")] = Path("submissions"),
    report: Annotated[Path, typer.Option(help="The report's first page.")] = Path("analysis/report/index.html"),
    params: Annotated[Path, typer.Option(help="Parameters.")] = Path("params.yaml"),
) -> None:
    """Say what exists, what it is worth, and what to try next."""
    from rich.console import Console

    console = Console(highlight=False)
    for line in lines(metrics, submissions, report, params):
        console.print(line, soft_wrap=True)
    if not os.environ.get("VIRTUAL_ENV"):
        console.print("[dim]dvc and podium are at hand after: source .venv/bin/activate[/]\n")


def lines(metrics: Path, submissions: Path, report: Path, params: Path) -> list[str]:
    """The lines to print, in rich's markup."""
    if not metrics.is_file():
        raise DataError(f"{metrics} not found: nothing is blended yet. Run: dvc repro")
    scores = json.loads(metrics.read_text(encoding="utf-8"))["blend"]
    name = (read_params(params).values.get("submit") or {}).get("name", "blend")
    path = submissions / f"{name}.csv"
    shown = [
        "",
        *score_lines(scores),
        "",
        f"  submission       {path}" if path.is_file() else f"  submission       {path} is missing: dvc repro submit",
    ]
    found = [*doubts(metrics.parent, scores["method"]), *hints(scores)]
    if report.is_file():
        shown.append(f"  report           {report}")
    return [*shown, "", "[bold]What to try next[/]", *(f"  - {hint}" for hint in found[:5]), ""]


def score_lines(scores: dict[str, Any]) -> list[str]:
    """The honest score of the blend, the best member beside it, and the board to expect."""
    best, over = scores["best_member"], scores["over_best_member"]
    names = {"testlike": "test-like", "clean": "clean"}
    verdict = "a tie" if over["tie"] else f"{100 * over['difference']:+.1f} ± {100 * over['error']:.1f} points"
    shown = [
        f"[bold]Honest {scores['metric'].replace('_', '-')}[/] (nested, {names[scores['view']]} view)",
        f"  blend ({scores['method']})".ljust(19) + f"[bold green]{scores['score']:.4f}[/] ± {scores['error']:.4f}",
        "  best member".ljust(19)
        + f"{best['score']:.4f} ± {best['error']:.4f}   chosen in the nesting; the blend: {verdict}",
        "  each alone".ljust(19) + ", ".join(f"{name} {value:.4f}" for name, value in scores["alone"].items()),
    ]
    if board := scores["board"].get("private"):
        gain = 100 * scores["board"]["gain_of_averaging_folds"]
        folds = f"; averaging the folds adds {gain:.1f} points" if gain >= 0.1 else ""
        shown.append(f"  expected board   {board['low']:.4f} to {board['high']:.4f} (95%, private{folds})")
        ahead = scores["board"]["against_best_member"]["probability"]
        shown.append(f"                   there the blend beats the best member with probability {ahead:.0%}")
    return shown


def doubts(blend: Path, method: str) -> list[str]:
    """Other methods that are ahead, and members that hurt, by more than their standard error."""
    from analysis.ablation import from_csv

    found = []
    if (blend / "methods.csv").is_file():
        with (blend / "methods.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["verdict"] == "ahead"]
        if rows:
            best = min(rows, key=lambda row: float(row["gain_of_chosen"]))
            gap, error = -100 * float(best["gain_of_chosen"]), 100 * float(best["error_of_difference"])
            found.append(
                f"{best['method']} is ahead of {method} by {gap:.1f} ± {error:.1f} points here: blend.method: "
                f"{best['method']} (its score is flattered a little by being picked)"
            )
    if (blend / "ablation.csv").is_file():
        effects = from_csv((blend / "ablation.csv").read_text(encoding="utf-8"))
        hurting = [one for one in effects if one.kind == "member" and one.gain < 0 and not one.tie]
        if hurting:
            told = ", ".join(f"{one.name} ({one.gain:+.1f} ± {one.error:.1f} points)" for one in hurting)
            found.append(f"the blend is better without {told}: take it out of members, or train it longer")
    return found


def hints(scores: dict[str, Any]) -> list[str]:
    """Things worth trying, by what the numbers say; the first matter most."""
    found = []
    views = scores["views"]
    sign = -1 if scores["metric"] == "log_loss" else 1
    gap = 100 * sign * (views["clean"]["score"] - views["testlike"]["score"]) if len(views) == 2 else 0.0
    if gap > 3:
        found.append(
            f"noise costs {gap:.1f} points (clean against test-like): more copies, or augment.strength: fitted"
        )
    if scores["over_best_member"]["tie"]:
        found.append("the blend ties with its best member: add a different kind of backbone to members")
    shares = {name: abs(share) for name, share in scores["members"].items()}  # a log-linear pool may subtract one
    weakest = min(shares, key=lambda name: shares[name], default=None)
    if weakest is not None and len(shares) > 2 and shares[weakest] < 0.05:
        found.append(f"{weakest} carries {shares[weakest]:.0%} of the blend: see data/blend/ablation.csv")
    found.append("put team-mates' CSVs into submissions/team/ and run: dvc repro compare")
    found.append("record the board's score: podium ledger add submissions/NAME.csv --public SCORE")
    return found
