"""`podium pick`: propose the two final submissions, by validation and not by the public board, and say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.finals import Candidate, propose, remarks
from commands.ledger import BOOK, INDEX, Book, IndexFolder, competition_here, read_book
from storage.atomic import sha256
from storage.csvfile import read_csv
from storage.errors import DataError


def candidates(folder: Path, book: Path, index: Path) -> tuple[list[Candidate], list[str]]:
    """Every CSV of the folder whose sidecar carries an honest score and fits its bytes; and why others are none."""
    here, left_out = competition_here(index), []
    public = {
        row.sha256: -float(row.public) if row.metric == "log_loss" else float(row.public)  # greater is better
        for row in read_book(book)
        if row.public
    }
    found = []
    for path in sorted(folder.glob("*.csv")):
        side = path.with_suffix(".json")
        if path.name == book.name:
            continue
        content: dict[str, Any] = json.loads(side.read_text(encoding="utf-8")) if side.is_file() else {}
        if reason := unfit(path, content, here):
            left_out.append(f"{path.name} is left out: {reason}")
            continue
        table, honest = read_csv(path), content["honest"]
        answers = dict(zip(table.iloc[:, 0], table.iloc[:, 1:].agg("|".join, axis=1), strict=True))
        tainted = bool(content.get("tainted"))
        score = public.get(content["sha256"])
        loss = content.get("metric") == "log_loss"
        found.append(Candidate(path.name, honest["score"], honest["error"], answers, score, tainted, loss))
    return found, left_out


def unfit(path: Path, content: dict[str, Any], here: str) -> str:
    """Why a CSV, whose sidecar holds `content`, cannot be compared by validation; "" if it can."""
    if not content:
        return "no sidecar says what it is"
    if here and content.get("competition", here) != here:
        return "another competition's"
    if not content.get("honest"):
        return "no honest score; a vote of label files has no held-out rows to be scored on"
    return "" if sha256(path) == content.get("sha256") else "changed since it was written"


def main(
    submissions: Annotated[Path, typer.Option(help="Folder of the submissions.")] = Path("submissions"),
    book: Book = BOOK,
    index: IndexFolder = INDEX,
) -> None:
    """Propose the two final submissions by validation, saying why."""
    from rich.console import Console

    found, left_out = candidates(submissions, book, index)
    proposals = propose(found)
    if not proposals:
        title = f"{submissions} holds no submission with an honest score. Run: dvc repro submit"
        raise DataError("\n".join([title, *(f"  {line}" for line in left_out)]))
    console = Console(highlight=False)
    for number, proposal in enumerate(proposals, start=1):
        console.print(f"[bold]{number}. {proposal.candidate.name}[/]  {proposal.why}", soft_wrap=True)
    for remark in [*left_out, *remarks(found, proposals)]:
        console.print(f"   {remark}", style="yellow", soft_wrap=True, markup=False)
    if len(proposals) == 1:
        told = "   only one submission to choose from: make another, e.g. another submit.name and blend.method"
        console.print(told, soft_wrap=True)
