"""`podium score`: a submission against the hidden answers of the embedded competition.

Reads a CSV in the form of the sample and data/answers/<name>.csv; prints macro-F1 of the public and private half. No
stage ever reads the answers.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import typer

from storage.errors import DataError, problems

Answers = dict[str, tuple[str, str]]


def main(
    submission: Annotated[Path, typer.Argument(help="The CSV to score.")] = Path("submissions/blend.csv"),
    answers: Annotated[Path, typer.Option(help="The hidden answers.")] = Path("data/answers/digits.csv"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a submission on the hidden answers: macro-F1 of the public half, the private half, and both."""
    scores = score(read_rows(submission), read_answers(answers))
    if as_json:
        print(json.dumps(scores))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"[bold]{submission}[/] on the hidden answers, macro-F1")
    for name, value in scores.items():
        console.print(f"  {name:<8} [bold]{value:.4f}[/]")


def score(predicted: dict[str, str], answers: Answers) -> dict[str, float]:
    """Macro-F1 per half and on all rows; raises DataError where ids do not match."""
    from sklearn.metrics import f1_score

    missing = sorted(set(answers) - set(predicted))
    unknown = sorted(set(predicted) - set(answers))
    if missing or unknown:
        raise DataError(problems("ids do not match the answers", [f"{i} missing" for i in missing] + unknown))
    classes = sorted({label for label, _ in answers.values()})
    result = {}
    for half in ("public", "private", "all"):
        ids = [i for i, (_, part) in answers.items() if half in ("all", part)]
        truth = [answers[i][0] for i in ids]
        result[half] = float(
            f1_score(truth, [predicted[i] for i in ids], labels=classes, average="macro", zero_division=0)
        )
    return result


def read_answers(path: Path) -> Answers:
    """Id -> (label, half)."""
    if not path.is_file():
        raise DataError(f"{path} not found. Only embedded competitions have answers: podium fetch digits")
    with path.open(newline="", encoding="utf-8") as file:
        return {row["ID"]: (row["target"], row["half"]) for row in csv.DictReader(file)}


def read_rows(path: Path) -> dict[str, str]:
    """Id -> label of a two-column CSV."""
    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))[1:]
    wrong = [f"{path}:{line}: {len(row)} values" for line, row in enumerate(rows, 2) if len(row) != 2]
    if wrong:
        raise DataError(problems("rows are not id,label", wrong))
    return {row[0]: row[1] for row in rows}
