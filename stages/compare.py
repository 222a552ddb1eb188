"""Compare members, blend and team-mates' files; write the report of where they disagree.

Reads the index, folds, predictions, blend and `submissions/team/*`; if given, test-like copies (to show how near
they are to the test images), duplicates and the ledger. Writes a static site that opens from disk: OUT/index.html.
Run: dvc repro compare, or python -m stages.compare --index data/index ... (the paths stand in dvc.yaml)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import typer
from pydantic import Field

from analysis.pages import relative_link
from analysis.pictures import Pictures, decode
from analysis.report import write_report
from analysis.report_material import Look, Material
from analysis.sources import Array, Held, Source
from analysis.team_diagnosis import diagnose
from analysis.team_files import TeamFile, TeamFolder, known_taint, read_team
from analysis.team_formats import Competition, TeamSettings
from stages.entry import entry
from stages.params import run_lists, section
from stages.probabilities import (
    Member,
    Probabilities,
    canonical_order,
    read_member,
    read_probabilities,
)
from stages.tables import (
    Folds,
    Index,
    read_augmented,
    read_folds,
    read_index,
)
from storage.csvfile import read_csv
from storage.errors import DataError, IntegrityError, printable
from storage.names import nearest
from storage.shards import Shards

COPIES = 300  # test-like copies that are looked at
PERFECT = 0.99995  # an out-of-fold accuracy from which on a team-mate's table was probably trained on its rows


class CompareParams(TeamSettings):
    """What the report shows, and what the team's files do not say of themselves."""

    thumbnail: int = Field(160, ge=32, le=512, description="longest side of a small picture, in pixels")
    large: int = Field(900, ge=64, le=4096, description="longest side of a picture in the close view, in pixels")
    neighbours: int = Field(3, ge=0, le=12, description="nearest training images shown beside a disputed image")
    pictures: int = Field(20_000, ge=1, description="disputed images shown at most, the least certain first")
    suspects: int = Field(500, ge=0, description="suspicious training labels shown at most")


def held_rows(index: Index, members: list[Member]) -> Held:
    """The rows that scores are measured on: test-like copies where there are any, else the clean images."""
    oof = members[0].oof
    view = "testlike" if (oof.view == "testlike").any() else "clean"
    ids = oof.image_id[oof.view == view]
    label = dict(zip(index.train["image_id"], index.train["label"], strict=True))
    return Held(ids, np.array([label[image_id] for image_id in ids], dtype=np.int64), view)


def model_source(
    kind: Literal["member", "blend"],
    name: str,
    test: Probabilities,
    oof: Probabilities,
    *,
    view: str,
    board: float | None,
) -> Source:
    """Two tables of probabilities in canonical order as a source."""
    shares, held = test.probabilities(), oof.take(oof.view == view).probabilities()
    return Source(name, kind, shares.argmax(axis=1), shares, held.argmax(axis=1), held, board)


def blend_source(folder: Path, index: Index, folds: Folds, *, view: str, board: float | None) -> Source:
    """The blend, with the labels that it chose for the test set."""
    test = canonical_order(read_probabilities(folder / "test.parquet", index, folds), index.test["image_id"])
    oof = canonical_order(read_probabilities(folder / "oof.parquet", index, folds), index.train["image_id"])
    found = model_source("blend", "blend", test, oof, view=view, board=board)
    path = folder / "labels.parquet"
    if not path.is_file():
        return found
    chosen = pd.read_parquet(path).set_index("image_id")["label"].reindex(index.test["image_id"])
    if chosen.isna().any():
        raise IntegrityError(f"{path} lacks test images. Run: dvc repro blend")
    labels = chosen.to_numpy(np.int64)
    return Source("blend", "blend", labels, found.probabilities, found.oof_labels, found.oof_probabilities, board)


def team_sources(
    team: TeamFolder, reference: Array, held: Held, *, index: Index, settings: CompareParams, taken: set[str]
) -> list[Source]:
    """The team-mates' files as sources; odd ones with a diagnosis against the blend's labels."""
    place = {image_id: row for row, image_id in enumerate(index.classes.submission.row_ids)}
    order = np.array([place[image_id] for image_id in index.test["image_id"]], dtype=np.int64)
    ids = index.test["image_id"].tolist()
    result = []
    for file in team.files:
        labels = file.labels[order]
        odd = diagnose(labels, reference, values=index.classes.values, ids=ids)
        shares = None if file.probabilities is None else file.probabilities[order]
        held_labels, held_shares, notes = held_of(team.held.get(file.name), held, index)
        if shares is not None and file.name not in team.held:
            notes = (*notes, f"no {file.name}.oof table beside it: not scored")
        name = file.name if file.name not in taken else f"{file.name} (team)"
        board = settings.board.get(file.name)
        every = (*file.notes, *([odd] if odd else []), *notes)
        result.append(Source(name, "team", labels, shares, held_labels, held_shares, board, every))
    return result


def held_of(file: TeamFile | None, held: Held, index: Index) -> tuple[Array | None, Array | None, tuple[str, ...]]:
    """A team-mate's out-of-fold table on the held-out rows: each copy of an image gets its image's row."""
    if file is None:
        return None, None, ()
    truth = index.train["label"].to_numpy(np.int64)
    right = float((file.labels == truth).mean())
    if right > PERFECT:
        return None, None, (f"out-of-fold accuracy {right:.4f}: trained on its own rows? Left aside",)
    place = {image_id: row for row, image_id in enumerate(index.train["image_id"])}
    rows = np.array([place[image_id] for image_id in held.image_id], dtype=np.int64)
    note = ("scored on clean images, the members on test-like copies",) if held.view != "clean" else ()
    shares = None if file.probabilities is None else file.probabilities[rows]
    return file.labels[rows], shares, note


def test_like_copies(folder: Path, index: Index, folds: Folds) -> list[Array]:
    """A spread sample of the test-like copies as RGB pixels."""
    table = read_augmented(folder, index, folds)
    table = table[table["view"] == "testlike"]
    rows = np.unique(np.linspace(0, max(len(table) - 1, 0), min(COPIES, len(table))).astype(int))
    shards, result = Shards(folder), []
    for row in table.iloc[rows].to_dict("records"):
        data = shards.read(row["shard"], row["offset"], row["size"])
        if row["encoding"] == "raw":
            result.append(np.frombuffer(data, np.uint8).reshape(row["height"], row["width"], 3))
        else:
            result.append(decode(data, name=row["copy_id"]))
    return result


def read_curves(predictions: Path, names: list[str], numbers: list[int]) -> dict[str, pd.DataFrame]:
    """The learning curve of every fold that has one."""
    paths = {
        f"{name}/{number}": predictions / name / str(number) / "curves.csv" for name in names for number in numbers
    }
    return {name: pd.read_csv(path) for name, path in paths.items() if path.is_file()}


def read_metrics(blend: Path) -> dict[str, Any]:
    """The blend's metrics, if they are there."""
    path = blend / "metrics.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def optional_csv(path: Path | None) -> pd.DataFrame | None:
    """A CSV as text, none where it is absent or has no rows."""
    if path is None or not path.is_file():
        return None
    try:
        return read_csv(path)
    except DataError:
        return pd.DataFrame()


def main(
    index: Annotated[Path, typer.Option(help="folder of the index")],
    folds: Annotated[Path, typer.Option(help="table of the folds")],
    *,
    predictions: Annotated[Path, typer.Option(help="folder of the members' predictions")],
    blend: Annotated[Path, typer.Option(help="folder of the blend")],
    team: Annotated[Path, typer.Option(help="folder of the team-mates' files")],
    out: Annotated[Path, typer.Option(help="folder to write the report to")],
    augmented: Annotated[Path | None, typer.Option(help="folder of the copies, for the noise")] = None,
    noise: Annotated[Path | None, typer.Option(help="folder of the statistics, for the duplicates")] = None,
    ledger: Annotated[Path | None, typer.Option(help="ledger of the submissions")] = None,
    exploration: Annotated[Path | None, typer.Option(help="the exploration page, to link to if it is there")] = None,
    params: Annotated[Path, typer.Option(help="parameters")] = Path("params.yaml"),
) -> None:
    """Write the report of where members, blend and team-mates' files disagree."""
    settings = section("compare", CompareParams, path=params)
    names, numbers = run_lists(params)
    data = read_index(index)
    cut = read_folds(folds, data)
    members = [read_member(predictions / name, numbers, data, cut) for name in names]
    held = held_rows(data, members)
    sources = [
        model_source("member", m.name, m.test, m.oof, view=held.view, board=settings.board.get(m.name)) for m in members
    ]
    sources.append(blend_source(blend, data, cut, view=held.view, board=settings.board.get("blend")))
    classes = data.classes
    train_ids = data.train["image_id"].tolist()
    contest = Competition(
        classes.submission.row_ids, train_ids, classes.names, classes.values, index_hash=data.hash, folds_hash=cut.hash
    )
    book = optional_csv(ledger)
    found = known_taint(read_team(team, contest, settings.team), book)
    taken = {source.name for source in sources}
    sources += team_sources(found, sources[-1].labels, held, index=data, settings=settings, taken=taken)
    for message in [*found.refused.values(), *unknown_names(settings, sources, found)]:
        print(printable(f"warning: {message}"), file=sys.stderr)
    shards = Shards(data.folder)
    judged = data.train[data.train["image_id"].isin(set(members[0].oof.image_id))]  # without those only trained on
    material = Material(
        sources=sources,
        held=held,
        class_names=classes.names,
        class_values=classes.values,
        test_ids=data.test["image_id"].tolist(),
        train_ids=judged["image_id"].tolist(),
        train_labels=judged["label"].to_numpy(np.int64),
        test_pictures=Pictures(data.test, shards),
        train_pictures=Pictures(judged, shards),
        train_shares=clean_shares(members),
        fold_labels=fold_labels(predictions, names, numbers, data, cut),
        refused=found.refused,
        metrics=read_metrics(blend),
        curves=read_curves(predictions, names, numbers),
        ledger=book,
        duplicates=optional_csv(noise / "duplicates.csv" if noise else None),
        exploration=relative_link(exploration, out) if exploration else "",
        copies=test_like_copies(augmented, data, cut) if augmented and (augmented / "index.parquet").is_file() else [],
    )
    look = Look(settings.thumbnail, settings.large, settings.neighbours, settings.pictures, settings.suspects)
    write_report(out, material, look)
    print(f"{out / 'index.html'}: {len(sources)} sources compared")


def unknown_names(settings: CompareParams, sources: list[Source], team: TeamFolder) -> list[str]:
    """The names in compare.board and compare.team that nothing here has: a typo, or a file that is gone."""
    files = [*(file.name for file in team.files), *(Path(name).stem.removesuffix(".oof") for name in team.refused)]
    known = {"board": [*(source.name for source in sources), *files], "team": [*files, *team.held]}
    return [
        f"params.yaml: compare.{key}: nothing here is called {name!r}{nearest(name, known[key])}"
        for key, given in (("board", settings.board), ("team", settings.team))
        for name in given
        if name not in known[key]
    ]


def clean_shares(members: list[Member]) -> dict[str, Array]:
    """Out-of-fold probabilities of the clean held-out images, in the order of the index.  # {member: (n, n_classes)}"""
    return {member.name: member.oof.take(member.oof.view == "clean").probabilities() for member in members}


def fold_labels(
    predictions: Path, names: list[str], numbers: list[int], index: Index, folds: Folds
) -> dict[str, Array]:
    """Test labels of each fold of each member.  # {member: (n_test, n_folds)}"""
    result = {}
    for name in names:
        tables = [read_probabilities(predictions / name / str(n) / "test.parquet", index, folds) for n in numbers]
        ordered = [canonical_order(table, index.test["image_id"]) for table in tables]
        result[name] = np.stack([table.log_probabilities.argmax(axis=1) for table in ordered], axis=1)
    return result


if __name__ == "__main__":
    entry(main)
