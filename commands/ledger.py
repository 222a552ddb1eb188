"""`podium ledger add FILE [--public SCORE]`, `podium ledger show`: every submission with its honest and board score."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from analysis import ledger
from storage.atomic import sha256, write_text
from storage.errors import DataError, IntegrityError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Book = Annotated[Path, typer.Option("--ledger", help="the ledger")]
BOOK = Path("submissions/ledger.csv")


def read_book(path: Path) -> list[ledger.Row]:
    """The rows of the ledger; none where there is no file yet."""
    return ledger.parse(path.read_text(encoding="utf-8-sig")) if path.is_file() else []


def read_sidecar(path: Path) -> ledger.Row:
    """The row of a submission from its sidecar, or from its bytes alone; refuses a CSV changed since."""
    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro submit")
    now, digest = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), sha256(path)
    side = path.with_suffix(".json")
    if not side.is_file():
        return ledger.Row(now, path.name, digest)
    content = json.loads(side.read_text(encoding="utf-8"))
    if content.get("sha256") != digest:
        raise IntegrityError(
            f"{path} is not the file that {side.name} describes: it was changed. Run: dvc repro submit"
        )
    return ledger.from_sidecar(content, time=now)


def write_book(path: Path, rows: list[ledger.Row]) -> None:
    """The ledger and its picture."""
    write_text(path, ledger.render(rows))
    write_text(path.with_suffix(".svg"), ledger.picture(rows))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="the submission's CSV")],
    *,
    public: Annotated[float | None, typer.Option(help="score on the public board")] = None,
    private: Annotated[float | None, typer.Option(help="score on the private board")] = None,
    note: Annotated[str, typer.Option(help="anything worth remembering")] = "",
    book: Book = BOOK,
) -> None:
    """Record a submission, or what the board said about it."""
    import dataclasses

    scores = {"public": public, "private": private}
    told = {key: f"{value:.6f}" for key, value in scores.items() if value is not None}
    row = dataclasses.replace(read_sidecar(file), note=note, **told)
    rows = ledger.added(read_book(book), row)
    write_book(book, rows)
    print(f"{book}: {len(rows)} submission{'s' * (len(rows) > 1)}; the picture is {book.with_suffix('.svg')}")


@app.command()
def show(book: Book = BOOK) -> None:
    """The ledger as a table, and whether validation ranks submissions as the board does."""
    from rich.console import Console
    from rich.table import Table

    rows = read_book(book)
    if not rows:
        raise DataError(
            f"{book} has no submissions yet. Add one: podium ledger add submissions/NAME.csv --public SCORE"
        )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("time", "file", "method", "honest", "± error", "public", "private", "note"):
        table.add_column(name, justify="right" if name in ("honest", "± error", "public", "private") else "left")
    for row in rows:
        shown = [f"{float(text):.4f}" if text else "" for text in (row.honest, row.error, row.public, row.private)]
        note = f"{row.note} tainted".strip() if row.tainted else row.note
        table.add_row(row.time[:16], row.file, row.method, *shown, note)
    console = Console(highlight=False, markup=False)
    console.print(table)
    correlation = ledger.rank_correlation(rows)
    if correlation is not None:
        verdict = "validation ranks as the board does" if correlation > 0.7 else "do not choose by either alone"
        console.print(f"\nrank correlation of validation and public board: {correlation:.2f}; {verdict}")
