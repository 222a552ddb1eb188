"""A team-mate's file, read safely and diagnosed: labels or probabilities, CSV, Parquet, .npy or safetensors.

    competition = Competition(test_ids, train_ids, class_names, class_values)
    file = read_team_file("submissions/team/kim.csv", competition)

Nothing that could run code is ever opened as anything but bytes. What was mended is said in `notes`; what cannot be
known is refused with a remedy. Options per file: what the numbers are, in which order its classes are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.team_formats import Competition, Raw, TeamOptions, read_raw, refuse_pickle, shortened, steadily
from analysis.team_matching import explain_ids, label_positions, match_classes, match_ids, text_order
from analysis.team_values import as_probabilities
from storage.atomic import sha256
from storage.errors import DataError, problems

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class TeamFile:
    """Predictions in the order of `test_ids` (or `train_ids` where part is "train")."""

    name: str
    path: Path
    part: Literal["test", "train"]
    labels: Array  # (n_rows,) positions of classes
    probabilities: Array | None  # (n_rows, n_classes)
    notes: tuple[str, ...]


def read_team_file(path: str | Path, competition: Competition, options: TeamOptions | None = None) -> TeamFile:
    """One file as predictions in our order of rows and classes; raises DataError with a diagnosis and a remedy."""
    path = Path(path)
    options = options or TeamOptions()
    refuse_pickle(path)
    raw = steadily(path, lambda: read_raw(path, competition, options))
    part, positions, note = rows_of(path, raw, competition)
    known = competition.test_ids if part == "test" else competition.train_ids
    order = np.empty(len(known), dtype=np.int64)
    order[positions] = np.arange(len(positions))
    notes = [*raw.notes, *([note] if note else []), *sidecar_notes(path)]
    if part == "train" and competition.folds_hash and raw.folds_hash not in ("", competition.folds_hash):
        raise DataError(
            f"{path}: made with folds {raw.folds_hash}, ours are {competition.folds_hash}: its rows are not "
            "comparable. Share data/folds, or leave the file out"
        )
    if raw.labels is not None:
        labels, said = read_labels(path, raw, competition, options)
        return TeamFile(path.stem, path, part, labels[order], None, (*notes, *said))
    values, said = read_values(path, raw, competition, options)
    values = values[order]
    return TeamFile(path.stem, path, part, values.argmax(axis=1), values, (*notes, *said))


def rows_of(path: Path, raw: Raw, competition: Competition) -> tuple[Literal["test", "train"], Array, str]:
    """Which images the rows are of, and their places; tells out-of-fold tables from those of the test set."""
    n_rows = len(raw.labels) if raw.labels is not None else len(raw.values if raw.values is not None else [])
    n_test, n_train = len(competition.test_ids), len(competition.train_ids)
    if raw.ids is None:
        if n_rows in (n_test, n_train):
            return "test" if n_rows == n_test else "train", np.arange(n_rows), ""
        raise DataError(f"{path}: {n_rows:,} rows; the test set has {n_test:,}, the training set {n_train:,}")
    if n_rows == n_test and (found := match_ids(raw.ids, competition.test_ids)):
        return "test", found.positions, found.note
    if n_rows == n_train and (found := match_ids(raw.ids, competition.train_ids)):
        return "train", found.positions, found.note
    raise explain_ids(str(path), raw.ids, competition.test_ids)


def read_labels(path: Path, raw: Raw, competition: Competition, options: TeamOptions) -> tuple[Array, list[str]]:
    """Labels as positions of classes.  # (n_rows,)"""
    assert raw.labels is not None
    values = ordered_values(path, competition, options)
    if values is not None:  # its numbers count the classes in an order of its own
        places = {str(i): list(competition.class_values).index(value) for i, value in enumerate(values)}
        found = np.array([places.get(label.strip(), -1) for label in raw.labels], dtype=np.int64)
        note, unknown = (
            "labels read in the given class_order",
            sorted({raw.labels[i] for i in np.flatnonzero(found < 0)}),
        )
    else:
        found, note, unknown = label_positions(raw.labels, competition.class_names, competition.class_values)
    if unknown:
        lines = {label: raw.labels.index(label) + 2 for label in unknown}
        items = [
            f"line {line}: label {label!r}{full_width(label)}"
            for label, line in sorted(lines.items(), key=lambda i: i[1])
        ]
        raise DataError(
            problems(f"{path}: labels that are not among {', '.join(competition.class_values[:20])}", items)
        )
    return found, [note] if note else []


def full_width(label: str) -> str:
    """A hint at digits that only look like digits."""
    return " (full-width digit?)" if any(letter.isdigit() and not letter.isascii() for letter in label) else ""


def ordered_values(path: Path, competition: Competition, options: TeamOptions) -> list[str] | None:
    """The values of the classes in the file's own order, if the options give one."""
    values = list(competition.class_values)
    if options.class_order is None:
        return None
    if options.class_order == "text":
        return [values[i] for i in text_order(values)]
    if sorted(options.class_order) != sorted(values):
        raise DataError(f"{path}: class_order has to hold each of {', '.join(values)} once")
    return options.class_order


def read_values(path: Path, raw: Raw, competition: Competition, options: TeamOptions) -> tuple[Array, list[str]]:
    """Probabilities with columns in our order.  # (n_rows, n_classes)"""
    assert raw.values is not None
    n_classes = len(competition.class_names)
    if raw.values.shape[1] != n_classes:
        raise DataError(f"{path}: {raw.values.shape[1]} columns of numbers, the competition has {n_classes} classes")
    places, notes = column_places(path, raw, competition, options)
    ids = raw.ids or [f"row {i}" for i in range(len(raw.values))]
    values, said = as_probabilities(str(path), raw.values, kind=options.kind, ids=ids)
    result = np.empty_like(values)
    result[:, places] = values
    return result, [*notes, *said]


def column_places(path: Path, raw: Raw, competition: Competition, options: TeamOptions) -> tuple[Array, list[str]]:
    """The class of each column: by the given order, else by name; without names, in our order, and said so."""
    values = ordered_values(path, competition, options)
    if values is not None:
        where = {value: position for position, value in enumerate(competition.class_values)}
        return np.array([where[value] for value in values]), ["columns read in the given class_order"]
    if raw.columns is None:
        return np.arange(len(competition.class_names)), ["no class names in this format: columns taken in our order"]
    found = match_classes(raw.columns, competition.class_names, competition.class_values)
    if found is None:
        raise DataError(
            f"{path}: cannot tell which column is class {competition.class_values[0]!r} among "
            f"{shortened(raw.columns)}; name the columns after the classes, or set class_order"
        )
    if (found == np.arange(len(found))).all():
        return found, []
    as_text = found.tolist() == text_order(competition.class_values)
    return found, [f"columns in another order{' (numbers sorted as text)' if as_text else ''}: matched by name"]


def sidecar_notes(path: Path) -> list[str]:
    """Remarks from the sidecar of a submission: hand-made labels in it, or another file than it was written for."""
    side = path.with_suffix(".json")
    try:
        content = json.loads(side.read_text(encoding="utf-8")) if side.is_file() and side.stat().st_size < 10**6 else {}
    except (OSError, ValueError):
        return [f"{side.name} beside it is not readable JSON"]
    if not isinstance(content, dict):
        return []
    notes = ["tainted: built from hand-made test labels"] if content.get("tainted") else []
    if content.get("sha256") not in (None, sha256(path)):
        notes.append(f"{side.name} beside it was written for other bytes (sha256 differs)")
    return notes


@dataclass(frozen=True)
class TeamFolder:
    """The files of a team: those for the test set, with their out-of-fold tables by name, and what was refused."""

    files: list[TeamFile]
    held: dict[str, TeamFile]
    refused: dict[str, str]


def read_team(
    folder: str | Path, competition: Competition, options: dict[str, TeamOptions] | None = None
) -> TeamFolder:
    """Every file of a folder, in order of name; `kim.oof.csv` is the out-of-fold table of `kim.csv`."""
    options = options or {}
    paths = sorted(path for path in Path(folder).glob("*") if path.is_file() and not path.name.startswith("."))
    found, held, refused = [], {}, {}
    for path in paths:
        if path.suffix.lower() in (".json", ".md", ".dvc"):
            continue
        base = re.sub(r"[._-]oof$", "", path.stem, flags=re.IGNORECASE)
        try:
            file = read_team_file(path, competition, options.get(base))
        except DataError as error:
            refused[path.name] = str(error)
            continue
        if file.part == "train" and base != path.stem:
            held[base] = replace(file, name=base)
        elif file.part == "train":
            refused[path.name] = (
                f"{path}: these are training images: out-of-fold instead of the test set? "
                f"If so, name it {path.stem}.oof{path.suffix}"
            )
        else:
            found.append(file)
    return TeamFolder(with_equals(found), held, refused)


def with_equals(files: Sequence[TeamFile]) -> list[TeamFile]:
    """The files with a note where one says the same as an earlier one on every row."""
    result: list[TeamFile] = []
    for file in files:
        twin = next((other.name for other in result if (other.labels == file.labels).all()), None)
        result.append(replace(file, notes=(*file.notes, f"equal to {twin}")) if twin else file)
    return result


def known_taint(team: TeamFolder, ledger: pd.DataFrame | None) -> TeamFolder:
    """The files with a note where the ledger knows their bytes as tainted, though no sidecar lies beside them."""
    if ledger is None or not {"sha256", "tainted"} <= set(ledger.columns):
        return team
    known = set(ledger.loc[ledger["tainted"] == "yes", "sha256"])
    note = "tainted: the ledger says that hand-made test labels are in it"
    files = [replace(file, notes=(*file.notes, note)) if sha256(file.path) in known else file for file in team.files]
    return replace(team, files=files)
