"""Read every section of params.yaml before hours of work are spent on a typo in the last of them.

Writes a file that never changes, so that an edit reruns this check and nothing else.
Run: python -m stages.check --out data/checked.txt
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from augmentation.recipe import AugmentParams
from layouts.records import layout
from stages.blend_params import BlendParams
from stages.compare import CompareParams
from stages.entry import entry
from stages.explore import ExploreParams
from stages.fetch import wanted
from stages.model_params import member_params
from stages.params import LISTS, Params, check, read_params, run_lists, section
from stages.params import SECTIONS as EVERY_SECTION
from stages.prepare import PrepareParams
from stages.split import SplitParams, expect_folds
from stages.submit import SubmitParams
from storage.atomic import write_text
from storage.errors import ParamsError, problems

SECTIONS = {
    "explore": ExploreParams,
    "augment": AugmentParams,
    "blend": BlendParams,
    "submit": SubmitParams,
    "compare": CompareParams,
}


def main(
    out: Annotated[Path | None, typer.Option(help="File that says so where all is well.")] = None,
    params: Annotated[Path, typer.Option(help="The file of parameters.")] = Path("params.yaml"),
) -> None:
    """Check params.yaml as a whole."""
    refused = refusals(params)
    if refused:
        raise ParamsError(problems(f"{params} cannot be used", refused, limit=30))
    if out is not None:
        write_text(out, "params.yaml fits every schema\n")


def refusals(path: Path) -> list[str]:
    """All that is wrong in a params.yaml, a line each."""
    found: list[str] = []

    def attempt(read: Callable[..., Any], *given: Any, **named: Any) -> None:
        try:
            read(*given, **named)
        except ParamsError as error:
            found.extend(error.items)

    read = read_params(path)
    found += missing(read)
    for name, model in SECTIONS.items():
        attempt(section, name, model, path=path)
    attempt(check_prepare, path)
    attempt(check_split, path)
    for name in read.values.get("models") or {}:
        attempt(member_params, name, path)
    for name in read.values.get("fetch") or {}:
        attempt(wanted, read, name)
    return sorted(dict.fromkeys(found), key=lambda line: [int(n) for n in re.findall(r":(\d+):", line)[:1]])


def missing(read: Params) -> list[str]:
    """What dvc.yaml takes from params.yaml, so that it has to stand there."""
    found = [
        f"{read.path}: the section {name} is missing; for its defaults write {name}: {{}}"
        for name in (*LISTS, *EVERY_SECTION)
        if name not in read.values
    ]
    for name, key, meaning in (("prepare", "root", "the competition's folder"), ("submit", "name", "of the CSV")):
        if name in read.values and key not in (read.values[name] or {}):
            found.append(f"{read.path}:{read.line((name,))}: {name}.{key} is missing: {meaning}")
    return found


def check_split(path: Path) -> None:
    """The section, and the lists that have to agree with it."""
    expect_folds(section("split", SplitParams, path=path).folds, run_lists(path)[1], path)


def check_prepare(path: Path) -> None:
    """The section, the options of its layout, and a root that exists or will be fetched."""
    read = read_params(path)
    chosen = section("prepare", PrepareParams, path=path)
    try:
        options = layout(chosen.layout).Options
    except ParamsError as error:
        raise ParamsError(f"{path}:{read.line(('prepare', 'layout'))}: {error}") from None
    check(read, ("prepare", "options"), chosen.options, options)
    fetched = set(Path(chosen.root).parts) & set(read.values.get("fetch") or {})
    if not fetched and not Path(chosen.root).is_dir():
        line = read.line(("prepare", "root"))
        raise ParamsError(
            f"{path}:{line}: prepare.root: {chosen.root!r} is not a folder. Put the competition's files there, or "
            "correct it; podium init FOLDER proposes a params.yaml"
        )


if __name__ == "__main__":
    entry(main)
