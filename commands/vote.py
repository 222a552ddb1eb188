"""`podium vote A.csv B.csv ...`: one submission out of many files, checked and written like any other.

Reads data/index and the files (labels or probabilities); writes submissions/<name>.csv and its sidecar. With scores of
the public board (--score kim=0.93) files are weighted by them and by how much they repeat each other; without, each
clique of near copies has one voice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from commands.diff import competition_at, new_table, team_options
from storage.errors import DataError, ParamsError, printable

Method = Literal["auto", "majority", "weighted", "soft"]


def main(
    files: Annotated[list[Path], typer.Argument(help="One or more files: CSV, Parquet, .npy or .safetensors.")],
    *,
    score: Annotated[
        list[str] | None, typer.Option(help="A file's score on the public board: name=0.93; else compare.board.")
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            help="majority: one vote each; weighted: by agreement and board scores, where that is convincing; soft: "
            "weighted mean of probabilities, labels smoothed; auto: soft if all files are probabilities, else weighted."
        ),
    ] = "auto",
    smooth: Annotated[float, typer.Option(help="Share that a label leaves to other classes.", min=0, max=0.5)] = 0.1,
    name: Annotated[str, typer.Option(help="Name of the submission.")] = "vote",
    out: Annotated[Path, typer.Option(help="Folder of the submissions.")] = Path("submissions"),
    index: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("data/index"),
    params: Annotated[
        Path, typer.Option(help="Parameters: compare.team and compare.board; their hash goes into the sidecar.")
    ] = Path("params.yaml"),
    override: Annotated[
        Path | None, typer.Option(help="Hand-made labels from the gallery; marks the result as tainted.")
    ] = None,
    by_class: Annotated[bool, typer.Option("--by-class", help="Show each file's agreement class by class.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the weights, write nothing.")] = False,
) -> None:
    """Vote: one submission out of many files."""
    from analysis.label_table import read_label_table
    from analysis.overrides import apply_overrides
    from analysis.voting import best_first, cliques, ranking
    from analysis.voting_cast import cast_labels, cast_soft

    competition = competition_at(index)
    if competition is None:
        raise DataError(f"{index} holds no index, so the sample's format is not known. Run: dvc repro prepare")
    options, board = team_options(params)
    found = read_label_table(files, competition, options)
    if list(found.ids) != list(competition.test_ids):
        raise DataError(f"{files[0]}: its ids are not those of the index in {index}. See: podium diff")
    scores = read_scores(score or [], found.names)
    if scores is None and all(name in board for name in found.names):
        scores = [board[name] for name in found.names]
    n_classes = len(competition.class_names)
    chosen = method
    if method == "auto":
        chosen = "soft" if all(file.probabilities is not None for file in found.files) else "weighted"
    ranked = ranking(found.labels, n_classes)
    order = best_first(scores, len(files)) if scores else [column for column, _ in ranked]
    if chosen == "soft":
        cast = cast_soft(found.files, n_classes, scores=scores, smooth=smooth)
    else:
        cast = cast_labels(found.labels, n_classes, scores=scores, order=order, even=chosen == "majority")
    weights, voted, shares = cast.weights, cast.labels, cast.shares
    groups = [[found.names[column] for column in group] for group in cliques(found.labels, n_classes).groups]
    changed, people = apply_overrides(override, voted, shares, competition) if override else (0, [])
    show(found, weights, scores=scores, ranked=ranked, groups=groups, voted=voted, method=chosen)
    if cast.remark:
        print(cast.remark)
    if by_class:
        show_classes(found)
    if not dry_run:
        content = sidecar_of(found, weights, scores, chosen, groups) | ({"vote": cast.remark} if cast.remark else {})
        if override:
            content |= {"tainted": True, "overrides": {"file": override.name, "rows": changed, "decided_by": people}}
        path = write(name, out, index, params=params, voted=voted, shares=shares, content=content)
        print(f"{path}: {len(voted):,} rows, exactly like the sample")
        if override:
            print(f"{changed:,} rows were changed by hand: tainted, which its sidecar says")


def read_scores(given: list[str], names: list[str]) -> list[float] | None:
    """Scores in the order of the files, or none; raises ParamsError where they are not one number for each file."""
    if not given:
        return None
    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise ParamsError(f"--score {text}: expected name=0.93") from None
    unknown, missing = sorted(set(found) - set(names)), [name for name in names if name not in found]
    if unknown or missing:
        raise ParamsError(f"--score: unknown {unknown}, missing {missing}; the files are {names}")
    if not all(0 <= value <= 1 for value in found.values()):
        raise ParamsError(f"--score: scores lie between 0 and 1; given {found}")
    return [found[name] for name in names]


def show(
    found: Any,
    weights: np.ndarray[Any, Any],
    *,
    scores: list[float] | None,
    ranked: list[tuple[int, float]],
    groups: list[list[str]],
    voted: np.ndarray[Any, Any],
    method: Method,
) -> None:
    """Print weights, rank and what the vote changes in each file."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    place = {column: number for number, (column, _) in enumerate(ranked, start=1)}
    table = new_table(f"vote: {method}")
    for heading, justify in (
        ("file", "left"),
        ("weight", "right"),
        ("board", "right"),
        ("rank*", "right"),
        ("changed", "right"),
    ):
        table.add_column(heading, justify=justify)
    for column, name in enumerate(found.names):
        changed = int((found.labels[:, column] != voted).sum())
        table.add_row(
            Text(printable(name)),
            f"{weights[column]:.3f}",
            f"{scores[column]:.4f}" if scores else "–",
            str(place[column]),
            f"{changed:,}",
        )
    console.print(table)
    if len(found.names) == 2 and scores and method != "soft":
        console.print("[dim]two files: where they differ, the one with the better score is believed[/]")
    console.print(
        "[dim]* by agreement with the others: a ranking only, no accuracy; it fails where files copy each other[/]"
    )
    for group in groups:
        console.print(Text(printable(f"near copies, they share one voice: {', '.join(group)}"), style="yellow"))
    for name, file in zip(found.names, found.files, strict=True):
        smooth = ["labels only: smoothed, weight capped"] if method == "soft" and file.probabilities is None else []
        for note in [*file.notes, *smooth]:
            console.print(Text(printable(f"{name}: {note}"), style="yellow"))


def show_classes(found: Any) -> None:
    """Print how often each file is with the vote of the others, class by class."""
    from rich.console import Console
    from rich.text import Text

    from analysis.voting import agreement_by_class

    table = new_table("with the vote of the others, by class (agreement, not accuracy)")
    table.add_column("class")
    for name in found.names:
        table.add_column(Text(printable(name)), justify="right")
    shares = agreement_by_class(found.labels, len(found.classes)).T  # (n_classes, n_files)
    for name, row in zip(found.classes, shares, strict=True):
        table.add_row(Text(printable(name)), *["–" if np.isnan(value) else f"{value:.1%}" for value in row])
    Console(highlight=False).print(table)


def sidecar_of(
    found: Any, weights: np.ndarray[Any, Any], scores: list[float] | None, method: Method, groups: list[list[str]]
) -> dict[str, Any]:
    """What the sidecar says about a vote."""
    from storage.atomic import sha256

    names = found.names
    return {
        "method": f"vote, {method}",
        "members": {name: round(float(weight), 6) for name, weight in zip(names, weights, strict=True)},
        "files": {name: sha256(file.path) for name, file in zip(names, found.files, strict=True)},
        "board": dict(zip(names, scores, strict=True)) if scores else None,
        "near_copies": groups,
        "honest": None,  # label files have no out-of-fold rows to be scored on
        "tainted": any("tainted" in note for file in found.files for note in file.notes),
    }


def write(
    name: str,
    folder: Path,
    index: Path,
    *,
    params: Path,
    voted: np.ndarray[Any, Any],
    shares: np.ndarray[Any, Any],
    content: dict[str, Any],
) -> Path:
    """Write the submission through the same check as every other, and its sidecar."""
    from analysis.submission import label_cells, probability_cells
    from stages.submit import SubmitParams, write_sidecar, write_submission
    from stages.tables import read_index

    chosen = SubmitParams(name=name)
    data = read_index(index)
    classes, ids = data.classes, data.classes.submission.row_ids
    if classes.submission.kind == "labels":
        cells = label_cells(ids, voted, values=classes.values)
    else:
        cells = probability_cells(ids, shares, style=classes.submission, names=classes.names, values=classes.values)
    result = write_submission(folder, chosen, data, cells)
    path = folder / f"{name}.csv"
    write_sidecar(path, data, params=params, content={**content, "warnings": result.warnings})
    for warning in result.warnings:
        print(f"warning: {warning}")
    return path
