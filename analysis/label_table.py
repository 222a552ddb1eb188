"""Several files side by side: one column of labels each, the same rows; with the competition's classes, or without.

Without an index the first file stands for the sample, and the labels that occur are the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.disagreement import names_apart
from analysis.team_diagnosis import diagnose
from analysis.team_files import TeamFile, read_team_file, with_equals
from analysis.team_formats import TABLES, Competition, TeamOptions, refuse_pickle
from analysis.team_matching import match_ids, plain, whole
from analysis.voting import majority
from storage.csvfile import read_csv
from storage.errors import DataError, problems

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class LabelTable:
    """Columns of labels, as positions in the competition's classes; rows in the order of its test ids."""

    names: list[str]
    labels: Array  # (n_rows, n_files)
    files: list[TeamFile]
    competition: Competition

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the rows."""
        return self.competition.test_ids

    @property
    def classes(self) -> Sequence[str]:
        """What a label is called."""
        return self.competition.class_names


def read_label_table(
    paths: Sequence[Path], competition: Competition | None = None, options: dict[str, TeamOptions] | None = None
) -> LabelTable:
    """The files as columns; raises one DataError with what is wrong with each.

    `competition` is used if the first file's ids are its ids; else the files speak for themselves.
    """
    options = options or {}
    if competition is None or not fits(paths[0], competition):
        competition = competition_of(paths)
    files, wrong = [], []
    for path in paths:
        try:
            files.append(read_team_file(path, competition, options.get(path.stem)))
        except DataError as error:
            wrong.append(str(error))
    wrong += [f"{file.path}: these are the training images, not the test set" for file in files if file.part == "train"]
    if wrong:
        raise DataError(wrong[0] if len(wrong) == 1 else problems("files that cannot be compared", wrong))
    labels = np.stack([file.labels for file in files], axis=1)
    names = names_of(paths)
    known = with_equals([replace(file, name=name) for file, name in zip(files, names, strict=True)])
    return LabelTable(names, labels, with_oddities(known, labels, competition), competition)


def with_oddities(files: list[TeamFile], labels: Array, competition: Competition) -> list[TeamFile]:
    """The files with a note where one looks permuted beside the majority of two or more others."""
    if len(files) < 3:
        return files
    n_classes, result = len(competition.class_names), []
    for column, file in enumerate(files):
        others = majority(np.delete(labels, column, axis=1), n_classes)
        odd = diagnose(file.labels, others, values=competition.class_values, ids=competition.test_ids)
        result.append(replace(file, notes=(*file.notes, odd)) if odd else file)
    return result


def names_of(paths: Sequence[Path]) -> list[str]:
    """File names without endings, with as many folders as tell them apart."""
    parts = [(*path.parts[:-1], path.stem) for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(set(paths)):
            break
    stems = [path.stem for path in paths]
    return names_apart([stem if stems.count(stem) == 1 else name for stem, name in zip(stems, names, strict=True)])


def fits(path: Path, competition: Competition) -> bool:
    """Whether the file's ids are the competition's; formats without ids belong to it."""
    if path.suffix.lower() not in TABLES:
        return True
    ids = read_csv(path).iloc[:, 0].astype(str).tolist()
    return match_ids(ids, competition.test_ids) is not None


def competition_of(paths: Sequence[Path]) -> Competition:
    """What the files themselves say: ids of the first, all labels that occur, numbers in order of size."""
    ids: list[str] = []
    found: set[str] = set()
    for path in paths:
        refuse_pickle(path)
        if path.suffix.lower() not in TABLES:
            raise DataError(f"{path}: without an index only CSVs can be compared. Give its folder with --index")
        table = read_csv(path)
        ids = ids or table.iloc[:, 0].astype(str).tolist()
        if len(table.columns) < 2:
            raise DataError(f"{path} has one column; expected an id and a label")
        if len(table.columns) == 2:
            found |= {whole(plain(label)) for label in table.iloc[:, 1].astype(str)}
        else:
            found |= {str(column) for column in table.columns[1:]}
    classes = sorted(found, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
    return Competition(ids, [], classes, classes)
