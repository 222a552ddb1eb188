"""`podium diff A.csv B.csv ...`: where files disagree, in the terminal, as a CSV, or as a page.

Exit code 0 if all say the same, 1 if they differ, 2 for trouble, as `diff` does. Reads label CSVs, probability tables
and data/index for names of classes, if it is there.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from analysis.disagreement import agreement, class_pairs, disputed, vote_counts, without_majority
from analysis.label_table import LabelTable, read_label_table
from analysis.team_formats import Competition, TeamOptions, TeamSettings
from storage.atomic import write_text
from storage.errors import DataError, printable
from storage.spreadsheet import guarded

if TYPE_CHECKING:
    from stages.tables import Index

MOST_PICTURES, FEW_FILES = 500, 8  # images on a page; files that stay in the order in which they were given


def main(
    files: Annotated[list[Path], typer.Argument(help="Two or more files: CSV, Parquet, .npy or .safetensors.")],
    *,
    table: Annotated[Path | None, typer.Option("--csv", help="Write the rows that differ to this CSV.")] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    rows: Annotated[int, typer.Option(help="Differing rows to show.", min=0)] = 10,
    index: Annotated[Path, typer.Option(help="Folder of the index, for the names of classes.")] = Path("data/index"),
    params: Annotated[Path, typer.Option(help="Parameters: compare.team says what files hold.")] = Path("params.yaml"),
) -> None:
    """Show where files disagree; exit code 1 if they do."""
    if len(files) < 2:
        raise DataError("podium diff compares two or more files")
    found = read_label_table(files, competition_at(index), team_options(params)[0])
    differing = disputed(found.labels)
    if table:
        write_text(table, as_csv(found, differing))
    if page:
        write_diff_page(page, found, differing, index=index)
    show(found, differing, rows)
    if len(differing):
        raise typer.Exit(1)


def team_options(params: Path) -> tuple[dict[str, TeamOptions], dict[str, float]]:
    """What params.yaml says of the team's files, and their board scores; nothing where there is no such file."""
    if not params.is_file():
        return {}, {}
    from stages.params import check, read_params

    read = read_params(params)
    section = read.values.get("compare") or {}
    ours = {key: value for key, value in section.items() if key in TeamSettings.model_fields}
    settings = check(read, ("compare",), ours, TeamSettings)
    return settings.team, settings.board


def competition_at(index: Path) -> Competition | None:
    """The competition of an index, if there is one."""
    if not (index / "classes.json").is_file():
        return None
    from stages.tables import read_index

    return as_competition(read_index(index))


def as_competition(data: Index) -> Competition:
    """What team-mates' files are read against."""
    classes = data.classes
    return Competition(classes.submission.row_ids, data.train["image_id"].tolist(), classes.names, classes.values)


def pair_lines(found: LabelTable, differing: np.ndarray[Any, Any]) -> list[tuple[str, str, int, float]]:
    """Pairs of classes that account for the differing rows: (one, other, rows, share of the differing rows)."""
    return [
        (found.classes[pair.first], found.classes[pair.second], pair.n_rows, pair.n_rows / len(differing))
        for pair in class_pairs(found.labels)
    ]


def show(found: LabelTable, differing: np.ndarray[Any, Any], rows: int) -> None:
    """Print the comparison."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    n_rows = len(found.labels)
    open_rows = len(without_majority(found.labels, len(found.classes)))
    console.print(f"[bold]{len(found.names)}[/] files, [bold]{n_rows:,}[/] rows")
    for name, file in zip(found.names, found.files, strict=True):
        for note in file.notes:
            console.print(Text(printable(f"  {name}: {note}"), style="yellow"))
    if not len(differing):
        console.print("[green]all say the same[/]")
        return
    console.print(
        f"[bold red]{len(differing):,}[/] rows differ ({len(differing) / n_rows:.1%}), "
        f"[bold]{open_rows:,}[/] of them without a majority\n"
    )
    console.print(agreement_table(found))
    console.print(pairs_table(found, differing))
    if rows:
        console.print(rows_table(found, differing[:rows], len(differing)))


def new_table(title: str) -> Any:
    """A table in the one style of this command."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    told = Text(title, no_wrap=True, overflow="ignore")  # often longer than the table is wide
    return Table(title=told, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)


def agreement_table(found: LabelTable) -> Any:
    """Rows on which two files differ, for each pair, and how often each file is not with the majority."""
    from rich.text import Text

    n_rows, n_classes = len(found.labels), len(found.classes)
    differ = np.rint((1 - agreement(found.labels, n_classes).agreement) * n_rows).astype(int)
    winners = most_say(vote_counts(found.labels, n_classes))
    against = ((winners >= 0)[:, None] & (found.labels != winners[:, None])).sum(axis=0)
    several = len(found.names) > 2  # two files have no majority
    result = new_table("rows that differ, file by file")
    result.add_column("")
    for number in range(1, len(found.names) + 1):
        result.add_column(str(number), justify="right")
    if several:
        result.add_column("not with most", justify="right", style="dim")
    for i, name in enumerate(found.names):
        cells = ["·" if i == j else f"{differ[i, j]:,}" for j in range(len(found.names))]
        result.add_row(Text(printable(f"{i + 1} {name}")), *cells, *([f"{against[i]:,}"] if several else []))
    return result


def most_say(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The label named most on each row of votes (n_rows, n_classes), -1 where two are named alike.  # (n_rows,)"""
    tied = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return np.where(tied, -1, counts.argmax(axis=1))


def pairs_table(found: LabelTable, differing: np.ndarray[Any, Any]) -> Any:
    """The pairs of classes that account for most of the differing rows."""
    from rich.text import Text

    result = new_table("between which classes")
    result.add_column("classes")
    result.add_column("rows", justify="right")
    result.add_column("share", justify="right")
    for first, second, n_rows, share in pair_lines(found, differing)[:8]:
        result.add_row(Text(printable(f"{first} ↔ {second}")), f"{n_rows:,}", f"{share:.0%}")
    return result


def rows_table(found: LabelTable, shown: np.ndarray[Any, Any], total: int) -> Any:
    """The first rows that differ; what most files say is dim."""
    from rich.text import Text

    counts = vote_counts(found.labels[shown], len(found.classes))
    result = new_table(f"the first {len(shown)} of {total:,} rows" if total > len(shown) else "the rows")
    result.add_column("id")
    for number in range(1, len(found.names) + 1):
        result.add_column(str(number))
    for row, votes in zip(shown, counts, strict=True):
        most = votes.max()
        cells = [
            Text(
                printable(found.classes[label]),
                style="dim" if 2 * most > len(found.names) and votes[label] == most else "bold",
            )
            for label in found.labels[row]
        ]
        result.add_row(Text(printable(found.ids[row])), *cells)
    return result


def as_csv(found: LabelTable, differing: np.ndarray[Any, Any]) -> str:
    """The differing rows for a spreadsheet: id, each file's label, the most frequent one ("" if tied), its votes."""
    counts = vote_counts(found.labels, len(found.classes))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([guarded(cell) for cell in ("id", *found.names, "most say", "votes")])
    winners = most_say(counts)
    for row in differing:
        said = [found.classes[label] for label in found.labels[row]]
        top = found.classes[winners[row]] if winners[row] >= 0 else ""
        writer.writerow([*map(guarded, [found.ids[row], *said, top]), int(counts[row].max())])
    return text.getvalue()


def pictures_at(index: Path, ids: list[str]) -> dict[str, str]:
    """The test images of these ids as text for a page, where the index has them."""
    if not (index / "classes.json").is_file():
        return {}
    from analysis.pictures import Pictures, data_uri
    from stages.tables import read_index
    from storage.shards import Shards

    test = read_index(index).test
    place = {image_id: row for row, image_id in enumerate(test["image_id"])}
    pictures = Pictures(test, Shards(index))
    return {image_id: data_uri(pictures[place[image_id]], side=96) for image_id in ids if image_id in place}


def write_diff_page(path: Path, found: LabelTable, differing: np.ndarray[Any, Any], *, index: Path) -> None:
    """The comparison as one page that opens from disk, with the first MOST_PICTURES images where they are at hand."""
    from analysis.disagreement import order_by_similarity
    from analysis.pages import write_page

    shared = agreement(found.labels, len(found.classes)).agreement
    order = order_by_similarity(shared) if len(found.names) > FEW_FILES else range(len(found.names))
    low = float(shared.min())
    cells = [
        [None if i == j else (f"{shared[i, j]:.1%}", (shared[i, j] - low) / max(1 - low, 1e-9)) for j in order]
        for i in order
    ]
    write_page(
        path,
        "diff.html",
        title="Where the files disagree",
        pictures=pictures_at(index, [found.ids[row] for row in differing[:MOST_PICTURES]]),
        ordered=len(found.names) > FEW_FILES,
        names=[found.names[i] for i in order],
        cells=cells,
        files=found.names,
        notes=[(name, note) for name, file in zip(found.names, found.files, strict=True) for note in file.notes],
        n_rows=len(found.labels),
        n_open=len(without_majority(found.labels, len(found.classes))),
        n_differing=len(differing),
        pairs=pair_lines(found, differing)[:20] if len(differing) else [],
        rows=[(found.ids[row], [found.classes[label] for label in found.labels[row]]) for row in differing],
    )
