"""`podium submit FILE`: check a submission, send it through the Kaggle CLI, and see that it arrived.

Reads data/index (the sample's format), params.yaml (`submit.competition`, `submit.daily_limit`) and Kaggle's own
settings; adds the submission to the ledger. Nothing is sent unless the file fits the sample and the limit has room.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from commands.ledger import BOOK, Book, read_book, read_sidecar, write_book
from storage.errors import DataError, ParamsError, PodiumError, missing_extra


class UploadError(PodiumError):
    """The contest's site did not take the submission."""

    exit_code = 6


def kaggle(*arguments: str) -> str:
    """Run the Kaggle CLI and return what it prints."""
    program = shutil.which("kaggle")
    if program is None:
        raise missing_extra("kaggle", "kaggle")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UploadError(f"kaggle {arguments[0]} {arguments[1]}: {said[-1] if said else done.returncode}")
    return done.stdout


def entries(competition: str) -> list[dict[str, str]]:
    """The team's submissions as the site lists them, newest first."""
    text = kaggle("competitions", "submissions", "-c", competition, "--csv")
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if "fileName" in line), len(lines))
    return list(csv.DictReader(io.StringIO("\n".join(lines[start:]))))


def expect_room(listed: list[dict[str, str]], limit: int) -> int:
    """How many may still be sent today (UTC). Raises UploadError where none."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    used = sum(entry.get("date", "").startswith(today) for entry in listed)
    if used >= limit:
        raise UploadError(f"0 of {limit} left, resets 00:00 UTC. Nothing was sent")
    return limit - used


def arrived(
    competition: str, before: list[dict[str, str]], *, message: str, seconds: float, pause: float
) -> dict[str, str]:
    """The new entry; raises UploadError where none appears in time."""
    end = time.monotonic() + seconds
    while True:
        listed = entries(competition)
        mine = [entry for entry in listed if entry not in before and entry.get("description") == message]
        if len(listed) > len(before) and mine:
            return mine[0]
        if time.monotonic() > end:
            raise UploadError(
                f"upload reported success, but no entry appeared within {seconds:.0f} s. Look at the contest's page "
                "before sending it again"
            )
        time.sleep(pause)


def main(
    file: Annotated[Path, typer.Argument(help="The submission's CSV.")],
    *,
    message: Annotated[str, typer.Option("--message", "-m", help="What the site shows beside it.")] = "",
    competition: Annotated[str, typer.Option(help="Overrides submit.competition.")] = "",
    index: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("data/index"),
    book: Book = BOOK,
    params: Annotated[Path, typer.Option(help="Parameters.")] = Path("params.yaml"),
    wait: Annotated[float, typer.Option(help="Seconds to wait for the entry.")] = 120.0,
    pause: Annotated[float, typer.Option(help="Seconds between two looks.")] = 5.0,
) -> None:
    """Check a submission, send it, see that it arrived, note it in the ledger."""
    from analysis import ledger
    from analysis.submission import checked
    from stages.params import section
    from stages.submit import SubmitParams
    from stages.tables import read_index

    settings = section("submit", SubmitParams, path=params)
    contest = competition or settings.competition
    if not contest or contest.startswith("-"):
        raise ParamsError(f"{params}: submit.competition is missing: the contest's name as in its address")
    classes = read_index(index).classes
    limit = int(settings.max_megabytes * 1_000_000)
    result = checked(file, classes.submission, values=classes.values, max_bytes=limit)
    if result.warnings and any("byte style" in warning for warning in result.warnings):
        raise DataError(f"{file}: {'; '.join(result.warnings)}. Write it with: dvc repro submit")
    for warning in result.warnings:
        print(f"warning: {warning}")
    row = read_sidecar(file, index)
    text = message or f"{row.file} {row.sha256[:8]}"
    before = entries(contest)
    left = expect_room(before, settings.daily_limit)
    kaggle("competitions", "submit", "-c", contest, "-f", str(file.resolve()), "-m", text)
    entry = arrived(contest, before, message=text, seconds=wait, pause=pause)
    write_book(book, ledger.added(read_book(book), row), competition=row.competition)
    score = entry.get("publicScore") or "no score yet"
    print(f"{file} arrived: {entry.get('status', 'entered')}, {score}; {left - 1} of {settings.daily_limit} left today")
