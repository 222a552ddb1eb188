"""Compare members, blend and team-mates' files; write the report of where they disagree.

Reads the index, folds, predictions, blend and `submissions/team/*`; writes a static site that opens from disk.
Run: dvc repro compare, or python -m stages.compare --index data/index ... (the paths stand in dvc.yaml)
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import Field

from analysis.report import write_report
from analysis.sources import Held, Source
from stages.entry import entry
from stages.params import run_lists, section
from stages.tables import Folds, Index, Member, Probabilities, read_folds, read_index, read_member, read_probabilities
from storage.section import Section


class CompareParams(Section):
    """What the report shows."""

    thumbnail: int = Field(160, ge=32, le=512, description="longest side of a thumbnail, in pixels")
    large: int = Field(900, ge=64, le=4096, description="longest side of a picture in the large view, in pixels")
    neighbours: int = Field(3, ge=0, le=12, description="nearest training images shown beside a disputed image")


def view_of(index: Index, members: list[Member]) -> Held:
    """The held-out rows that scores are measured on: test-like copies where there are any, else the clean images."""
    oof = members[0].oof
    view = "testlike" if (oof.view == "testlike").any() else "clean"
    ids = oof.image_id[oof.view == view]
    label = dict(zip(index.train["image_id"], index.train["label"], strict=True))
    return Held(ids, np.array([label[image_id] for image_id in ids], dtype=np.int64), view)


def member_source(member: Member, view: str) -> Source:
    """A member's test and held-out predictions as a source."""
    return source("member", member.name, member.test, member.oof, view)


def source(kind: str, name: str, test: Probabilities, oof: Probabilities, view: str) -> Source:
    """Two tables of probabilities as a source."""
    probabilities, held = test.probabilities(), oof.take(oof.view == view).probabilities()
    return Source(
        name,
        "blend" if kind == "blend" else "member",
        probabilities.argmax(axis=1),
        probabilities,
        held.argmax(axis=1),
        held,
    )


def read_members(predictions: Path, names: list[str], numbers: list[int], index: Index, folds: Folds) -> list[Member]:
    """The members in the order of params.yaml."""
    return [read_member(predictions / name, numbers, index, folds) for name in names]


def main(
    index: Annotated[Path, typer.Option(help="folder of the index")],
    folds: Annotated[Path, typer.Option(help="table of the folds")],
    *,
    predictions: Annotated[Path, typer.Option(help="folder of the members' predictions")],
    blend: Annotated[Path, typer.Option(help="folder of the blend")],
    team: Annotated[Path, typer.Option(help="folder of the team-mates' files")],
    out: Annotated[Path, typer.Option(help="folder to write the report to")],
    params: Annotated[Path, typer.Option(help="parameters")] = Path("params.yaml"),
) -> None:
    """Write the report of where members, blend and team-mates' files disagree."""
    settings = section("compare", CompareParams, path=params)
    names, numbers = run_lists(params)
    data = read_index(index)
    cut = read_folds(folds, data)
    members = read_members(predictions, names, numbers, data, cut)
    held = view_of(data, members)
    sources = [member_source(member, held.view) for member in members]
    sources.append(
        source(
            "blend",
            "blend",
            read_probabilities(blend / "test.parquet", data, cut),
            read_probabilities(blend / "oof.parquet", data, cut),
            held.view,
        )
    )
    write_report(out, sources, held, data.classes.names, data.test["image_id"].tolist())
    print(f"Report: {out / 'index.html'}", settings.thumbnail)


if __name__ == "__main__":
    entry(main)
