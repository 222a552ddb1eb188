"""`podium pick`: propose the two final submissions, by validation and not by the public board, and say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from analysis.finals import Candidate, propose, remarks
from commands.ledger import BOOK, Book, read_book
from storage.atomic import sha256
from storage.csvfile import read_csv
from storage.errors import DataError


def candidates(folder: Path, book: Path) -> list[Candidate]:
    """Every CSV of the folder whose sidecar carries an honest score and fits its bytes."""
    public = {
        row.sha256: -float(row.public) if row.metric == "log_loss" else float(row.public)  # greater is better
        for row in read_book(book)
        if row.public
    }
    found = []
    for side in sorted(folder.glob("*.json")):
        path = side.with_suffix(".csv")
        content = json.loads(side.read_text(encoding="utf-8"))
        honest = content.get("honest")
        if not honest or not path.is_file() or sha256(path) != content.get("sha256"):
            continue
        table = read_csv(path)
        answers = dict(zip(table.iloc[:, 0], table.iloc[:, 1:].agg("|".join, axis=1), strict=True))
        tainted = bool(content.get("tainted"))
        score = public.get(content["sha256"])
        found.append(Candidate(path.name, honest["score"], honest["error"], answers, score, tainted))
    return found


def main(
    submissions: Annotated[Path, typer.Option(help="folder of the submissions")] = Path("submissions"),
    book: Book = BOOK,
) -> None:
    """Propose the two final submissions by validation, saying why."""
    from rich.console import Console

    found = candidates(submissions, book)
    proposals = propose(found)
    if not proposals:
        raise DataError(f"{submissions} holds no submission with an honest score. Run: dvc repro submit")
    console = Console(highlight=False)
    for number, proposal in enumerate(proposals, start=1):
        console.print(f"[bold]{number}. {proposal.candidate.name}[/]  {proposal.why}", soft_wrap=True)
    for remark in remarks(found, proposals):
        console.print(f"   {remark}", style="yellow", soft_wrap=True)
    if len(proposals) == 1:
        console.print("   only one submission to choose from: make another, e.g. another submit.name and blend.method")
