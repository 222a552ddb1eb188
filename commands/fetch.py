"""`podium fetch digits`: lay out the embedded competition on disk, where the default params.yaml looks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages import fetch


def main(
    name: Annotated[str, typer.Argument(help="Which embedded competition: digits.")] = "digits",
    out: Annotated[Path | None, typer.Option(help="The folder; default: data/raw/NAME.")] = None,
    answers: Annotated[Path | None, typer.Option(help="The hidden labels; default: data/answers/NAME.csv.")] = None,
) -> None:
    """Lay out an embedded competition on disk."""
    fetch.main(name, out or Path("data/raw") / name, answers or Path("data/answers") / f"{name}.csv")
