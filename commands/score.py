"""`podium score`: a submission against hidden answers, as the embedded competition and labelled test folders have them.

Reads a CSV in the form of the sample and the answers: a table with the same two columns, and a column `half` where the
board is cut into public and private. Prints macro-F1. No stage ever reads the answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from storage.csvfile import read_csv
from storage.errors import DataError, problems

Answers = dict[str, tuple[str, str]]


def main(
    submission: Annotated[
        Path | None, typer.Argument(help="The CSV to score; default: that of submit.name in submissions/.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="The hidden answers; default: answers.csv of the index, else data/answers/NAME.csv."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    params: Annotated[Path, typer.Option(help="Parameters: submit.name and prepare.root.")] = Path("params.yaml"),
) -> None:
    """Score a submission on hidden answers: macro-F1 of the public half, the private half, and both."""
    name, root = names_of(params)
    submission = submission or Path(f"submissions/{name}.csv")
    hidden = answers or Path("data/index/answers.csv")  # where the test's labels are known, or a part was held out
    if not answers and not hidden.is_file():
        hidden = Path(f"data/answers/{root}.csv")
    if not submission.is_file():
        raise DataError(f"{submission} not found. Give the CSV of a submission, or make one: dvc repro")
    if not hidden.is_file():
        why = (
            "" if answers else f": the answers of {root} are not known here. Give a table: podium score --answers FILE"
        )
        raise DataError(f"{hidden} not found{why}")
    predicted = read_rows(submission)
    scores = score(predicted, read_answers(hidden, like=submission))
    if as_json:
        print(json.dumps(scores))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"[bold]{submission}[/] on the hidden answers, macro-F1")
    for part, value in scores.items():
        console.print(f"  {part:<8} [bold]{value:.4f}[/]")


def names_of(params: Path) -> tuple[str, str]:
    """Names of the submission and of the competition's folder, as in params.yaml; the default's without one."""
    from stages.params import read_params

    values = read_params(params).values if params.is_file() else {}
    submit, prepare = values.get("submit") or {}, values.get("prepare") or {}
    return str(submit.get("name", "blend")), Path(str(prepare.get("root", "data/raw/digits"))).name


def score(predicted: dict[str, str], answers: Answers) -> dict[str, float]:
    """Macro-F1 per half and on all rows; raises DataError where ids do not match."""
    from sklearn.metrics import f1_score

    missing = sorted(set(answers) - set(predicted))
    unknown = sorted(set(predicted) - set(answers))
    if predicted and len(unknown) == len(predicted):
        raise DataError(
            f"not one id is in the answers ({unknown[0]}, but {missing[0]}): they are of another competition"
        )
    if missing or unknown:
        raise DataError(problems("ids do not match the answers", [f"{i} missing" for i in missing] + unknown))
    classes = sorted({label for label, _ in answers.values()})
    result = {}
    halves = sorted({part for _, part in answers.values()} - {""}, reverse=True)
    for half in (*halves, "all"):
        ids = [i for i, (_, part) in answers.items() if half in ("all", part)]
        truth = [answers[i][0] for i in ids]
        result[half] = float(
            f1_score(truth, [predicted[i] for i in ids], labels=classes, average="macro", zero_division=0)
        )
    return result


def read_answers(path: Path, *, like: Path | None = None) -> Answers:
    """Id -> (label, half, or "" where the table has none); the columns are named as those of the CSV `like`.

    Columns of other names are taken where there is no choice: the first, and the only one beside it and `half`.
    """
    frame = read_csv(path)
    columns = [str(name) for name in frame]
    wanted = [str(name) for name in read_csv(like)][:2] if like else []
    if len(wanted) == 2 and set(wanted) <= set(columns):
        ids, label = wanted
    else:
        ids, *rest = columns
        rest = [name for name in rest if name != "half"]
        if len(rest) != 1:
            raise DataError(f"{path} has the columns {','.join(columns)}; expected {','.join(wanted) or 'id,label'}")
        label = rest[0]
    half = frame["half"] if "half" in columns else [""] * len(frame)
    return {row: (said, part) for row, said, part in zip(frame[ids], frame[label], half, strict=True)}


def read_rows(path: Path) -> dict[str, str]:
    """Id -> label of a two-column CSV."""
    frame = read_csv(path)
    if frame.shape[1] != 2:
        raise DataError(f"{path} has the columns {','.join(map(str, frame))}: expected an id and a label")
    return dict(zip(frame.iloc[:, 0], frame.iloc[:, 1], strict=True))
