"""`podium fetch NAME`: put the files of a competition in place, where its params.yaml looks for them.

The names are those of `fetch` in params.yaml, and of recipes that can be fetched: digits, fashion-mnist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.use import RECIPES
from stages import fetch
from stages.params import read_params


def main(
    name: Annotated[str, typer.Argument(help="An entry of `fetch` in params.yaml, or a recipe.")] = "digits",
    *,
    out: Annotated[Path | None, typer.Option(help="The folder; default: data/raw/NAME.")] = None,
    answers: Annotated[Path | None, typer.Option(help="The hidden labels; default: data/answers/NAME.csv.")] = None,
    params: Annotated[Path, typer.Option(help="The file of parameters.")] = Path("params.yaml"),
) -> None:
    """Put the files of a competition in place."""
    folder, hidden = out or Path("data/raw") / name, answers or Path("data/answers") / f"{name}.csv"
    fetch.main(name, folder, hidden, params=listed(name, params))


def listed(name: str, params: Path) -> Path:
    """The file that says what to fetch under this name: params.yaml if it does, else the recipe of that name."""
    recipe = RECIPES / name / "params.yaml"
    known = read_params(params).values.get("fetch") if params.is_file() else None
    return recipe if name not in (known or {}) and recipe.is_file() else params
