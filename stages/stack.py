"""The members' tables stacked for a blend: out of fold, on the test, and of each fold on the test.

Reads data/predictions and other blends, one member after another. Stacks above IN_MEMORY bytes lie memory-mapped in a
nameless file of the scratch folder, which is gone when the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.library import Library
from stages.probabilities import Member, Probabilities, canonical_order, read_member, read_probabilities
from stages.tables import Folds, Index
from storage.errors import IntegrityError

IN_MEMORY = 1 << 30  # bytes of one stack


@dataclass(frozen=True)
class Stack:
    """All members on the same rows."""

    library: Library
    test: np.ndarray  # (n_members, n_test, n_classes) means over folds
    fold_tests: list[np.ndarray]  # of each fold, like `test`; a blend of others has no folds and repeats its mean
    oof_rows: Probabilities  # the keys of the rows, with the first member's values
    test_rows: Probabilities
    plain: np.ndarray | None  # the library's table without test-time augmentation; None where no member keeps it


@dataclass(frozen=True)
class Place:
    """Where the members' predictions lie, and what they are predictions of."""

    predictions: Path
    index: Index
    folds: Folds
    scratch: Path  # for stacks that are too large for memory


def read_stack(place: Place, names: Sequence[str], numbers: Sequence[int], others: Mapping[str, str]) -> Stack:
    """The members `names` (of the folds `numbers`) and the blends `others` {name: folder}, sorted by name."""
    every = sorted([*names, *others])  # their order carries no meaning
    first = read_member(place.predictions / names[0], numbers, place.index, place.folds)
    n_rows, n_classes = first.oof.log_probabilities.shape
    oof = empty((len(every), n_rows, n_classes), place.scratch)
    tests = empty((1 + len(numbers), len(every), len(first.test), n_classes), place.scratch)
    for position, member in enumerate(members(place, every, numbers, others, first)):
        oof[position] = member.oof.log_probabilities
        for number, part in enumerate([member.test, *(member.tests or [member.test] * len(numbers))]):
            tests[number, position] = part.log_probabilities
    library = Library(tuple(every), oof, *truth_of(first.oof, place.index, place.folds), first.oof.fold)
    plain = plain_views(place, library, numbers, first.oof)
    return Stack(library, tests[0], list(tests[1:]), first.oof, first.test, plain)


def plain_views(place: Place, library: Library, numbers: Sequence[int], rows: Probabilities) -> np.ndarray | None:
    """The library's table with the plain view of each member and fold that averages several; None where none does."""
    train_ids, table = place.index.train["image_id"].tolist(), None
    for position, name in enumerate(library.members):
        for number in numbers:
            path = place.predictions / name / str(number) / "plain.parquet"
            if not path.is_file():
                continue
            if table is None:
                table = empty(library.log_probabilities.shape, place.scratch)
                table[:] = library.log_probabilities
            part = canonical_order(read_probabilities(path, place.index, place.folds), train_ids)
            own = np.flatnonzero(rows.fold == number)
            check_keys(part, rows.take(own), f"{path} has other rows (image, view, copy) than the fold's valid.parquet")
            table[position, own] = part.log_probabilities
    return table


def members(
    place: Place, names: Sequence[str], numbers: Sequence[int], others: Mapping[str, str], first: Member
) -> Iterator[Member]:
    """The members one after another, each refused where its rows are not those of the first."""
    for name in names:
        if name == first.name:
            yield first
        elif name in others:
            member = read_other(name, Path(others[name]), place)
            check_rows(member, first, Path(others[name]))
            yield member
        else:
            member = read_member(place.predictions / name, numbers, place.index, place.folds)
            check_rows(member, first, place.predictions / name)
            yield member


def read_other(name: str, folder: Path, place: Place) -> Member:
    """A blend, ours or a team-mate's, as a member."""
    train_ids, test_ids = place.index.train["image_id"].tolist(), place.index.test["image_id"].tolist()
    oof = canonical_order(read_probabilities(folder / "oof.parquet", place.index, place.folds), train_ids)
    test = canonical_order(read_probabilities(folder / "test.parquet", place.index, place.folds), test_ids)
    return Member(name, oof, test)


def check_rows(member: Member, first: Member, folder: Path) -> None:
    """Refuse a member with other rows than the first's."""
    for part, own, theirs in (("oof", first.oof, member.oof), ("test", first.test, member.test)):
        check_keys(theirs, own, f"{folder}: its {part} table has other rows (image, view, copy) than {first.name}'s")


def check_keys(part: Probabilities, expected: Probabilities, message: str) -> None:
    """Refuse a table whose rows are not the expected ones, in their order."""
    keys = ("image_id", "view", "copy")
    if len(part) != len(expected) or any((getattr(part, key) != getattr(expected, key)).any() for key in keys):
        raise IntegrityError(message)


def truth_of(oof: Probabilities, index: Index, folds: Folds) -> tuple[np.ndarray, np.ndarray]:
    """The label and the group of each row; a group is what the folds kept together."""
    label = dict(zip(index.train["image_id"], index.train["label"], strict=True))
    group = dict(zip(folds.table["image_id"], folds.table["duplicate_group"], strict=True))
    labels = np.array([label[image_id] for image_id in oof.image_id], dtype=np.int64)
    return labels, np.array([group[image_id] for image_id in oof.image_id], dtype=np.int64)


def empty(shape: tuple[int, ...], scratch: Path) -> np.ndarray:
    """A float32 array to fill, in memory or, where it is large, in a nameless file."""
    if 4 * int(np.prod(shape, dtype=np.int64)) <= IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
