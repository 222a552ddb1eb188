"""`podium use RECIPE`: put a recipe's params.yaml in place.

Reads recipes/<name>/params.yaml; writes params.yaml. A params.yaml with changes of yours is kept as params.yaml.bak,
and only replaced with --force.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storage.atomic import write_bytes
from storage.errors import ParamsError
from storage.names import nearest

RECIPES = Path(__file__).parents[1] / "recipes"


def main(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; without one, they are listed.")] = "",
    *,
    params: Annotated[Path, typer.Option(help="The file to write.")] = Path("params.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a changed params.yaml; it is kept as .bak.")] = False,
) -> None:
    """Put a recipe's params.yaml in place."""
    known = recipes()
    if not recipe:
        for name, path in known.items():
            print(f"{name:<14} {headline(path)}")
        return
    if recipe not in known:
        raise ParamsError(f"no recipe {recipe!r}{nearest(recipe, known)} All of them: podium use")
    backup = put(known[recipe].read_bytes(), params, force=force)
    print(f"use: {params} is now the recipe {recipe}: {headline(known[recipe])}")
    if backup:
        print(f"     what was there before lies in {backup}")
    print("     its first lines say where the data belongs; then: dvc repro")


def recipes() -> dict[str, Path]:
    """The recipes by name."""
    return {path.parent.name: path for path in sorted(RECIPES.glob("*/params.yaml"))}


def headline(path: Path) -> str:
    """The first line of a recipe, which says what it is."""
    if path.parent.name == "digits":
        return "The embedded default (10 classes): 5,000 real handwritten digits, the test set under noise."
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def put(content: bytes, params: Path, *, force: bool) -> Path | None:
    """Write params.yaml; returns where a changed one was kept. Raises ParamsError for a changed one without `force`."""
    if not params.exists() or params.read_bytes() == content:
        write_bytes(params, content)
        return None
    before = params.read_bytes()
    if any(path.read_bytes() == before for path in recipes().values()):
        write_bytes(params, content)
        return None
    if not force:
        raise ParamsError(f"{params} has changes that no recipe has. Commit or copy them, then add --force")
    backup = next(path for path in backups(params) if not path.exists())
    write_bytes(backup, before)
    write_bytes(params, content)
    return backup


def backups(params: Path) -> list[Path]:
    """Names for a copy, in the order in which they are taken."""
    return [params.with_name(f"{params.name}.bak{number or ''}") for number in range(1000)]
