"""Lay out an embedded competition on disk, as if it had been downloaded: `podium fetch digits`.

Reads nothing; writes the competition's folder, and its hidden answers to a file that no stage reads. With an empty
`fetch:` list in params.yaml this stage does not exist.

    python -m stages.fetch digits --out data/raw/digits --answers data/answers/digits.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layouts.embedded import lay_out_digits
from stages.entry import entry
from storage.errors import ParamsError

COMPETITIONS = {"digits": lay_out_digits}


def main(
    name: Annotated[str, typer.Argument(help="Which embedded competition: digits.")],
    out: Annotated[Path, typer.Option(help="The competition's folder, as the pipeline reads it.")],
    answers: Annotated[Path, typer.Option(help="The hidden labels; only `podium score` reads them.")],
) -> None:
    """Lay out an embedded competition on disk."""
    if name not in COMPETITIONS:
        raise ParamsError(f"fetch: {name!r} is not embedded; known: {', '.join(COMPETITIONS)}")
    COMPETITIONS[name](out, answers)
    print(f"fetch: {name} lies in {out}; its hidden answers in {answers}")


if __name__ == "__main__":
    entry(main)
