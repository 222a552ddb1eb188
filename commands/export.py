"""`podium export`: write images into folders, to look at them in any image viewer or a browser.

Reads   data/index/, and by what is asked data/folds/, data/blend/ or data/predictions/, submissions/team/*
Writes  the folder given with --out: one folder per class or pair, index.html with all of them, export.csv

podium export --by class                  training images, a folder per class
podium export --by predicted              test images, a folder per predicted class, the least certain first
podium export --by pair                   held-out training images that were mistaken: `truth as prediction`
podium export --by pair --disputed        test images on which members or team-mates' files differ: `this or that`
    --between kim --between lee           only where these two differ, in folders `kim says this, lee says that`
podium export --by pair --suspicious      training images whose label is likely wrong: `label perhaps other`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storage.errors import DataError, ParamsError, printable

if TYPE_CHECKING:
    from analysis.albums import Item
    from stages.tables import Folds, Index


class By(StrEnum):
    """What a folder stands for."""

    CLASS = "class"
    PREDICTED = "predicted"
    PAIR = "pair"


@dataclass(frozen=True)
class Places:
    """Where the pipeline's tables lie."""

    index: Path
    folds: Path
    predictions: Path
    blend: Path
    team: Path
    params: Path


def main(
    by: Annotated[By, typer.Option(help="What a folder stands for.")] = By.CLASS,
    out: Annotated[Path, typer.Option(help="Folder to write; replaced if it is an export.")] = Path("exported"),
    *,
    source: Annotated[str, typer.Option(help="Whose predictions: blend, a member, or a file.")] = "blend",
    disputed: Annotated[bool, typer.Option("--disputed", help="With --by pair: where sources differ.")] = False,
    between: Annotated[list[str] | None, typer.Option(help="With --disputed: two sources; give it twice.")] = None,
    suspicious: Annotated[bool, typer.Option("--suspicious", help="With --by pair: labels likely wrong.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many images per folder.")] = 500,
    index: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("data/index"),
    folds: Annotated[Path, typer.Option(help="Table of the folds.")] = Path("data/folds/folds.parquet"),
    predictions: Annotated[Path, typer.Option(help="Folder of the members' predictions.")] = Path("data/predictions"),
    blend: Annotated[Path, typer.Option(help="Folder of the blend.")] = Path("data/blend"),
    team: Annotated[Path, typer.Option(help="Folder of the team-mates' files.")] = Path("submissions/team"),
    params: Annotated[Path, typer.Option(help="Parameters: compare.team says what files hold.")] = Path("params.yaml"),
) -> None:
    """Write images into folders by class, by prediction, or by pairs of classes that are confused or disputed."""
    from analysis.albums import refuse_foreign, write_albums
    from analysis.disputes import between_two, by_dispute
    from analysis.pictures import Pictures
    from stages.tables import read_index
    from storage.shards import Shards

    if (disputed or suspicious) and by is not By.PAIR:
        raise ParamsError("--disputed and --suspicious go with --by pair")
    if disputed and suspicious:
        raise ParamsError("choose one of --disputed and --suspicious")
    if between and (not disputed or len(set(between)) != 2):
        raise ParamsError("--between goes with --disputed, and is given twice, with two sources")
    refuse_foreign(out)
    tainted = False
    counts: dict[str, int] = {}
    data = read_index(index)
    places = Places(index, folds, predictions, blend, team, params)
    if by is By.CLASS:
        items, counts = by_class(data, limit)
    elif by is By.PREDICTED:
        items = by_predicted(data, places, source)
    elif disputed:
        sources, tainted = all_sources(data, places)
        names = data.classes.names
        items = between_two(names, sources, between) if between else by_dispute(names, sources)
    else:
        items = by_suspicion(data, places, source) if suspicious else by_confusion(data, places, source)
    shards = Shards(data.folder)
    pictures = {"train": Pictures(data.train, shards), "test": Pictures(data.test, shards)}
    folders = write_albums(out, items, pictures, limit=limit, tainted=tainted, counts=counts)
    print(f"{sum(folders.values()):,} images in {len(folders):,} folders: {out}. In a browser: {out / 'index.html'}")


def by_class(data: Index, limit: int) -> tuple[list[Item], dict[str, int]]:
    """The first training images of each label, and how many each has."""
    import numpy as np

    from analysis.albums import Item

    names, labels = data.classes.names, data.train["label"].to_numpy(np.int64)
    items = [
        Item(name, "train", row, name, row)
        for label, name in enumerate(names)
        for row in np.flatnonzero(labels == label)[:limit].tolist()
    ]
    return items, dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))


def by_predicted(data: Index, places: Places, source: str) -> list[Item]:
    """Test images by the predicted class, the least certain first."""
    from analysis.albums import Item

    labels, certainty = test_predictions(data, places, source)
    names = data.classes.names
    texts = [
        f"{names[label]}" + (f", {100 * sure:.1f}%" if sure < 2 else "")
        for label, sure in zip(labels, certainty, strict=True)
    ]
    return [Item(names[label], "test", row, texts[row], certainty[row]) for row, label in enumerate(labels)]


def by_confusion(data: Index, places: Places, source: str) -> list[Item]:
    """Held-out training images that were predicted as another class, the surest mistakes first."""
    from analysis.albums import Item

    rows, truth, probabilities = held_out(data, places, source)
    names, items = data.classes.names, []
    for row, label, values in zip(rows, truth, probabilities, strict=True):
        said = int(values.argmax())
        if said != label:
            text = f"{names[label]} {100 * values[label]:.1f}%, {names[said]} {100 * values[said]:.1f}%"
            items.append(Item(f"{names[label]} as {names[said]}", "train", int(row), text, -float(values[said])))
    return items


def by_suspicion(data: Index, places: Places, source: str) -> list[Item]:
    """Training images whose label is likely wrong, the likeliest first."""
    from analysis.albums import Item
    from analysis.label_errors import suspects

    rows, truth, probabilities = held_out(data, places, source)
    names, items = data.classes.names, []
    for place, found in enumerate(suspects(truth, probabilities).to_dict("records")):
        label, other = names[int(found["label"])], names[int(found["suggested"])]
        text = f"labelled {label} ({100 * found['own']:.1f}%), looks like {other} ({100 * found['other']:.1f}%)"
        items.append(Item(f"{label} perhaps {other}", "train", int(rows[int(found["row"])]), text, place))
    return items


def all_sources(data: Index, places: Places) -> tuple[dict[str, Any], bool]:
    """({name: labels of the test images} of the members and team-mates' files, whether hand-made labels are in one)."""
    from analysis.team_files import read_team
    from commands.diff import as_competition, team_options
    from stages.params import run_lists

    trained = sorted(folder.name for folder in places.predictions.glob("*"))
    if places.params.is_file():  # the others were trained for an earlier contest
        trained = [name for name in run_lists(places.params)[0] if name in trained]
    found = {name: test_predictions(data, places, name)[0] for name in trained}
    team = read_team(places.team, as_competition(data), team_options(places.params)[0])
    for message in team.refused.values():
        print(printable(f"warning: {message}"), file=sys.stderr)
    order = in_index_order(data)
    found |= {file.path.name: file.labels[order] for file in team.files}
    return found, any("tainted" in note for file in team.files for note in file.notes)


def in_index_order(data: Index) -> Any:
    """For each test image of the index, its row in the sample, whose order team-mates' files are read in."""
    import numpy as np

    place = {image_id: row for row, image_id in enumerate(data.classes.submission.row_ids)}
    return np.array([place[image_id] for image_id in data.test["image_id"]], dtype=np.int64)


def test_predictions(data: Index, places: Places, source: str) -> tuple[Any, Any]:
    """Labels (n_test,) and certainties (n_test,) of the test images; certainty is 2 where a file has labels only."""
    import numpy as np

    from analysis.team_files import read_team_file
    from stages.probabilities import canonical_order, read_member, read_probabilities
    from stages.submit import read_labels
    from stages.tables import read_folds

    path = Path(source)
    if path.suffix and path.is_file():
        from commands.diff import as_competition, team_options

        file = read_team_file(path, as_competition(data), team_options(places.params)[0].get(path.stem))
        order = in_index_order(data)
        if file.probabilities is None:
            return file.labels[order], np.full(len(order), 2.0)
        return file.labels[order], file.probabilities.max(axis=1)[order]
    cut = read_folds(places.folds, data)
    if source == "blend":
        table = canonical_order(read_probabilities(places.blend / "test.parquet", data, cut), data.test["image_id"])
    else:
        table = read_member(places.predictions / source, done(places, source, cut), data, cut).test
    values = table.probabilities()
    labels = values.argmax(axis=1)
    if source == "blend" and (chosen := places.blend / "labels.parquet").is_file():  # as the submission says
        labels = read_labels(chosen, table)
    return labels, values[np.arange(len(labels)), labels]


def held_out(data: Index, places: Places, source: str) -> tuple[Any, Any, Any]:
    """Rows of the training table, labels and out-of-fold probabilities (n, n_classes) of the clean held-out images."""
    import numpy as np

    from stages.probabilities import read_member, read_probabilities
    from stages.tables import read_folds

    cut = read_folds(places.folds, data)
    if source == "blend":
        table = read_probabilities(places.blend / "oof.parquet", data, cut)
    else:
        table = read_member(places.predictions / source, done(places, source, cut), data, cut).oof
    table = table.take(np.flatnonzero(table.view == "clean"))
    if not len(table):
        raise DataError(f"{source} has no predictions of clean held-out images")
    place = {image_id: row for row, image_id in enumerate(data.train["image_id"])}
    rows = np.array([place[image_id] for image_id in table.image_id], np.int64)
    return rows, data.train["label"].to_numpy(np.int64)[rows], table.probabilities()


def done(places: Places, member: str, cut: Folds) -> list[int]:
    """The folds of a member whose predictions are there. Raises DataError where there is none."""
    folder = places.predictions / member
    numbers = [number for number in cut.numbers if (folder / str(number) / "test.parquet").is_file()]
    if not numbers:
        known = sorted(path.name for path in places.predictions.iterdir()) if places.predictions.is_dir() else []
        raise DataError(
            f"no predictions of {member!r} in {places.predictions}; there are: {', '.join(known) or 'none'}. "
            "A team-mate's file is named by its path"
        )
    return numbers
