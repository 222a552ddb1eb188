"""Put a competition's files in place: one that Podium carries, or files from the web, each with its checksum.

Reads   params.yaml: `fetch`, a mapping of names. `digits: embedded` is laid out; a list of {to, sha256, sources} is
        taken from data/raw/NAME if it lies there already, else from the first source that has it.
Writes  data/raw/NAME/, and the hidden answers of an embedded competition, which no stage reads.
Run     python -m stages.fetch digits --out data/raw/digits --answers data/answers/digits.csv

What was cut off waits in .podium/fetch and is continued. With `fetch: {}` this stage does not exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field, field_validator

from stages.entry import entry
from stages.params import Params, check, read_params
from stages.progress import progress
from storage.atomic import write_text
from storage.download import obtain
from storage.errors import ParamsError
from storage.names import nearest
from storage.paths import path_problem
from storage.section import Section

EMBEDDED = "embedded"
NO_ANSWERS = "ID,target,half\n"  # of files from the web, none are known


class Download(Section):
    """One file of a competition."""

    to: str = Field(description="its place below data/raw/NAME")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="checksum of the file, as sha256sum prints it")
    sources: list[str] = Field(
        min_length=1, description="where it is, tried in order: absolute paths of this machine, http(s) URLs"
    )
    largest: int = Field(20 * 2**30, gt=0, description="more bytes than that are refused")

    @field_validator("to")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        if problem := path_problem(value):
            raise ValueError(problem)
        return value


def main(
    name: Annotated[str, typer.Argument(help="An entry of `fetch` in params.yaml, such as digits.")],
    out: Annotated[Path, typer.Option(help="The competition's folder, as the pipeline reads it.")],
    answers: Annotated[Path, typer.Option(help="The hidden labels; only `podium score` reads them.")],
    *,
    work: Annotated[Path, typer.Option(help="Where unfinished files wait.")] = Path(".podium/fetch"),
    params: Annotated[Path, typer.Option(help="The file of parameters.")] = Path("params.yaml"),
) -> None:
    """Put a competition's files in place."""
    read = read_params(params)
    files = wanted(read, name)
    if files is None:
        lay_out(name, out, answers)
    else:
        fetch(files, out, work)
        write_text(answers, NO_ANSWERS)


def wanted(read: Params, name: str) -> list[Download] | None:
    """The files that `fetch` lists under a name; None for an embedded competition. Raises ParamsError."""
    known = read.values.get("fetch") or {}
    where = f"{read.path}:{read.line(('fetch',))}: fetch"
    if not isinstance(known, dict):
        raise ParamsError(f"{where}: expected names, as in fetch: {{digits: embedded}}")
    if name not in known:
        raise ParamsError(f"{where} has no {name!r}{nearest(name, known)}")
    return None if known[name] == EMBEDDED else downloads(read, name, known[name])


def downloads(read: Params, name: str, values: Any) -> list[Download]:
    """The files of an entry, checked."""
    place = ("fetch", name)
    if not isinstance(values, list) or not values:
        told = f"expected {EMBEDDED!r} or a list of {{to, sha256, sources}}; it is {str(values)[:80]!r}"
        raise ParamsError(f"{read.path}:{read.line(place)}: fetch.{name}: {told}")
    found = [check(read, (*place, number), value, Download) for number, value in enumerate(values)]
    if len({file.to for file in found}) < len(found):
        raise ParamsError(f"{read.path}:{read.line(place)}: fetch.{name}: two files have the same place")
    return found


def lay_out(name: str, out: Path, answers: Path) -> None:
    """An embedded competition."""
    from layouts.embedded import lay_out_digits

    embedded = {"digits": lay_out_digits}
    if name not in embedded:
        raise ParamsError(f"fetch: {name!r} is not embedded{nearest(name, embedded)}")
    embedded[name](out, answers)
    print(f"fetch: {name} lies in {out}; its hidden answers in {answers}")


def fetch(files: list[Download], out: Path, work: Path) -> None:
    """All files of a competition, one after another."""
    for file in files:
        with progress(f"fetch: {file.to}", unit="MB", scale=1e6) as advance:
            source = obtain(
                out / file.to,
                sources=file.sources,
                sha256=file.sha256,
                work=work,
                largest=file.largest,
                advance=advance,
            )
        print(f"fetch: {out / file.to}: {source}", flush=True)


if __name__ == "__main__":
    entry(main)
