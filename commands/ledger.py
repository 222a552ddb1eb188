"""`podium ledger add FILE [--public SCORE]`, `podium ledger show`: every submission with its honest and board score."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from analysis import ledger
from storage.atomic import sha256, write_text
from storage.errors import DataError, IntegrityError, ParamsError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Book = Annotated[Path, typer.Option("--ledger", help="The ledger.")]
IndexFolder = Annotated[Path, typer.Option("--index", help="Folder of the index: which competition this is.")]
BOOK, INDEX = Path("submissions/ledger.csv"), Path("data/index")
RANGES = {"log_loss": (0.0, math.inf), "qwk": (-1.0, 1.0)}  # of other metrics: 0 to 1


def competition_here(index: Path) -> str:
    """The competition of the index that is prepared, or "" where none is."""
    from stages.submit import competition_of
    from stages.tables import read_index

    return competition_of(read_index(index)) if (index / "classes.json").is_file() else ""


def read_book(path: Path) -> list[ledger.Row]:
    """The rows of the ledger; none where there is no file yet."""
    return ledger.parse(path.read_text(encoding="utf-8-sig")) if path.is_file() else []


def read_sidecar(path: Path, index: Path = INDEX) -> ledger.Row:
    """The row of a submission from its sidecar, or from its bytes alone; refuses a CSV changed since."""
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.csv") if file.name != BOOK.name)[:10])
        raise DataError(f"{path} not found. In {path.parent} there are: {there or 'no CSVs'}")
    now, digest = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), sha256(path)
    side = path.with_suffix(".json")
    if not side.is_file():
        return ledger.Row(now, path.name, digest, competition=competition_here(index))
    content = json.loads(side.read_text(encoding="utf-8"))
    if content.get("sha256") != digest:
        raise IntegrityError(
            f"{path} is not the file that {side.name} describes: it was changed. Run: dvc repro submit"
        )
    return ledger.from_sidecar(content, time=now)


def write_book(path: Path, rows: list[ledger.Row], *, competition: str) -> None:
    """The ledger, and the picture of one competition in it."""
    write_text(path, ledger.render(rows))
    write_text(path.with_suffix(".svg"), ledger.picture(ledger.of_competition(rows, competition)))


def expect_possible(metric: str, scores: dict[str, float | None]) -> None:
    """Raises ParamsError for a score that its metric cannot reach."""
    low, high = RANGES.get(metric, (0.0, 1.0)) if metric else (-math.inf, math.inf)
    for board, value in scores.items():
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            said = f"{metric or 'a score'} lies between {low:g} and {high:g}"
            raise ParamsError(f"--{board} {value:g}: {said}; give percentages as fractions, 93.7% as 0.937")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="The submission's CSV.")],
    *,
    public: Annotated[float | None, typer.Option(help="Score on the public board.")] = None,
    private: Annotated[float | None, typer.Option(help="Score on the private board.")] = None,
    note: Annotated[str, typer.Option(help="Anything worth remembering.")] = "",
    book: Book = BOOK,
    index: IndexFolder = INDEX,
) -> None:
    """Record a submission, or what the board said about it."""
    import dataclasses

    scores = {"public": public, "private": private}
    side = read_sidecar(file, index)
    expect_possible(side.metric, scores)
    told = {key: f"{value:.6f}" for key, value in scores.items() if value is not None}
    before = read_book(book)
    known = next((row for row in before if row.sha256 == side.sha256), None)
    for board, score in told.items():
        if known and (old := getattr(known, board)) not in ("", score):
            print(f"{side.file}: {board} {float(old):g} is replaced by {float(score):g}")
    rows = ledger.added(before, dataclasses.replace(side, note=note, **told))
    write_book(book, rows, competition=side.competition)
    print(f"{book}: {len(rows)} submission{'s' * (len(rows) > 1)}; the picture is {book.with_suffix('.svg')}")


@app.command()
def show(book: Book = BOOK, index: IndexFolder = INDEX) -> None:
    """The ledger as a table, and whether validation ranks submissions as the board does."""
    from rich.console import Console
    from rich.table import Table

    every = read_book(book)
    rows = ledger.of_competition(every, competition_here(index))
    if not rows:
        raise DataError(
            f"{book} has no submissions yet. Add one: podium ledger add submissions/NAME.csv --public SCORE"
        )
    table = Table(box=None, header_style="bold", pad_edge=False)
    cells = [shown(row) for row in rows]
    for name in cells[0]:
        if any(line[name] for line in cells):
            numbers = name in ("honest", "public", "private")
            table.add_column(name, justify="right" if numbers else "left", no_wrap=numbers or name == "date")
    for line in cells:
        table.add_row(*(line[str(column.header)] for column in table.columns))
    console = Console(highlight=False, markup=False)
    console.print(table)
    correlation = ledger.rank_correlation(rows)
    if correlation is not None:
        verdict = "validation ranks as the board does" if correlation > 0.7 else "do not choose by either alone"
        console.print(f"\nrank correlation of validation and public board: {correlation:.2f}; {verdict}")
    if len(rows) < len(every):
        console.print(f"\n{len(every) - len(rows)} of another competition left out; all are in {book}")


def shown(row: ledger.Row) -> dict[str, str]:
    """A submission's cells, by the heading of their column."""
    honest, error, public, private = (
        f"{float(text):.4f}" if text else "" for text in (row.honest, row.error, row.public, row.private)
    )
    return {
        "date": row.time[:10],
        "file": row.file,
        "method": row.method,
        "honest": f"{honest} ± {error}" if honest else "",
        "public": public,
        "private": private,
        "note": f"{row.note} tainted".strip() if row.tainted else row.note,
    }
