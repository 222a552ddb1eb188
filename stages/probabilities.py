"""Tables of probabilities, the contract between training and blending: their only reader and writer.

One row per prediction, with the view of the image that was seen. A reader checks that rows are distributions, that
ids, classes and views are known, and that data and folds are those of the index at hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.parquet import read_parquet
from stages.tables import Folds, Index, check_hashes, check_ids
from storage.atomic import replacing
from storage.errors import IntegrityError, problems

VIEWS = ("clean", "testlike", "test")

Strings = npt.NDArray[np.object_]
Integers = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Probabilities:
    """One row per prediction; (image_id, view, copy) is unique; exponentials of a row sum to 1."""

    image_id: Strings  # (n_rows,)
    view: Strings  # (n_rows,) clean, testlike or test
    copy: Integers  # (n_rows,)
    fold: Integers  # (n_rows,) the fold of the model that predicted the row; -1: a mean over folds
    log_probabilities: Matrix  # (n_rows, n_classes)
    class_names: list[str]
    index_hash: str
    folds_hash: str

    def __len__(self) -> int:
        return len(self.image_id)

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Probabilities in float64, rows summing to 1.  # (n_rows, n_classes)"""
        values: npt.NDArray[np.float64] = np.exp(self.log_probabilities.astype(np.float64))
        values /= values.sum(axis=1, keepdims=True)
        return values

    def take(self, rows: npt.NDArray[Any]) -> Probabilities:
        """The rows picked by a mask or by positions."""
        return Probabilities(
            self.image_id[rows],
            self.view[rows],
            self.copy[rows],
            self.fold[rows],
            self.log_probabilities[rows],
            self.class_names,
            self.index_hash,
            self.folds_hash,
        )


@dataclass(frozen=True)
class Member:
    """One column of a blend: rows in the order of `canonical_order`, the same for every member of the same data."""

    name: str
    oof: Probabilities  # every row predicted by the fold that did not train on it
    test: Probabilities  # mean over folds
    tests: list[Probabilities] = field(default_factory=list)  # of each fold; a blend has none


def write_probabilities(path: str | Path, probabilities: Probabilities) -> None:
    """Write a table of probabilities; raises DataError where rows are not distributions."""
    p = probabilities
    check_distributions(path, p)
    flat = pa.array(np.ascontiguousarray(p.log_probabilities, dtype=np.float32).ravel())
    table = pa.table(
        {
            "image_id": pa.array(p.image_id.tolist(), pa.string()),
            "view": pa.array(p.view.tolist(), pa.string()),
            "copy": pa.array(p.copy, pa.int64()),
            "fold": pa.array(p.fold, pa.int64()),
            "log_probabilities": pa.FixedSizeListArray.from_arrays(flat, len(p.class_names)),
        }
    )
    metadata = {"class_names": json.dumps(p.class_names), "index_hash": p.index_hash, "folds_hash": p.folds_hash}
    with replacing(path) as file:
        pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def read_probabilities(path: str | Path, index: Index | None = None, folds: Folds | None = None) -> Probabilities:
    """A table of probabilities; with `index` and `folds`, refused where it was made from others."""
    path = Path(path)
    table, metadata = read_parquet(path)
    columns = ("image_id", "view", "copy", "fold", "log_probabilities")
    missing = [name for name in columns if name not in table.column_names]
    missing += [name for name in ("class_names", "index_hash", "folds_hash") if name not in metadata]
    if missing:
        raise IntegrityError(f"{path} is not a table of probabilities: {missing} are missing")
    class_names = json.loads(metadata["class_names"])
    values = table.column("log_probabilities").combine_chunks()
    probabilities = Probabilities(
        table.column("image_id").to_numpy(),
        table.column("view").to_numpy(),
        table.column("copy").to_numpy(),
        table.column("fold").to_numpy(),
        values.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, len(class_names)),
        class_names,
        metadata["index_hash"],
        metadata["folds_hash"],
    )
    check_distributions(path, probabilities)
    if index is not None:
        check_hashes(path, metadata, index, folds)
        if class_names != index.classes.names:
            raise IntegrityError(f"{path} has classes {class_names[:5]}..., the index {index.classes.names[:5]}...")
    return probabilities


def read_member(folder: str | Path, numbers: Sequence[int], index: Index, folds: Folds) -> Member:
    """The member `folder.name` from its folds' valid.parquet and test.parquet (folder/<fold>/).

    Raises IntegrityError where a fold is missing, a held-out image is predicted twice, or rows are lacking.
    """
    folder = Path(folder)
    valid = [read_probabilities(folder / str(number) / "valid.parquet", index, folds) for number in numbers]
    tests = [read_probabilities(folder / str(number) / "test.parquet", index, folds) for number in numbers]
    train_ids, test_ids = index.train["image_id"].tolist(), index.test["image_id"].tolist()
    fold_of = dict(zip(folds.table["image_id"].tolist(), folds.table["fold"].tolist(), strict=True))
    for number, part in zip(numbers, valid, strict=True):
        path = folder / str(number) / "valid.parquet"
        expected = [image_id for image_id, fold in fold_of.items() if fold == number]
        check_ids(path, part.image_id[part.view == "clean"], expected, complete=True)
        check_ids(path, part.image_id, expected, complete=False)
    for number, part in zip(numbers, tests, strict=True):
        check_ids(folder / str(number) / "test.parquet", part.image_id, test_ids, complete=True)
    oof = canonical_order(concatenate(valid), train_ids)
    ordered = [canonical_order(part, test_ids) for part in tests]
    return Member(folder.name, oof, mean_over_folds(ordered), ordered)


def concatenate(parts: Sequence[Probabilities]) -> Probabilities:
    """The rows of several tables of the same classes and hashes, one after another."""
    first = parts[0]
    return Probabilities(
        np.concatenate([part.image_id for part in parts]),
        np.concatenate([part.view for part in parts]),
        np.concatenate([part.copy for part in parts]),
        np.concatenate([part.fold for part in parts]),
        np.concatenate([part.log_probabilities for part in parts]),
        first.class_names,
        first.index_hash,
        first.folds_hash,
    )


def canonical_order(part: Probabilities, image_ids: Iterable[str]) -> Probabilities:
    """Rows sorted by view, position of the image in `image_ids`, and copy; refuses rows that appear twice."""
    position = {image_id: i for i, image_id in enumerate(image_ids)}
    places = np.array([position[image_id] for image_id in part.image_id], dtype=np.int64)
    views = sum(number * (part.view == view) for number, view in enumerate(VIEWS))  # (n_rows,)
    order = np.lexsort((part.copy, places, views))
    keys = np.stack([views, places, part.copy])[:, order]  # (3, n_rows)
    twice = np.flatnonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0))
    if len(twice):
        raise IntegrityError(problems("rows predicted twice", [str(part.image_id[order[i]]) for i in twice]))
    return part.take(order)


def mean_over_folds(parts: Sequence[Probabilities]) -> Probabilities:
    """The mean of the folds' probabilities, row by row; all parts in the same row order."""
    mean = np.mean([part.probabilities() for part in parts], axis=0)  # (n_rows, n_classes)
    first = parts[0]
    return Probabilities(
        first.image_id,
        first.view,
        first.copy,
        np.full(len(first), -1, dtype=np.int64),
        np.log(np.maximum(mean, 1e-38)).astype(np.float32),
        first.class_names,
        first.index_hash,
        first.folds_hash,
    )


def check_distributions(path: str | Path, part: Probabilities) -> None:
    """Refuse rows with NaN, or whose probabilities do not sum to 1 within 1e-3, naming the first."""
    sums = np.exp(part.log_probabilities.astype(np.float64)).sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= 1e-3))
    if len(wrong):
        raise IntegrityError(
            problems(
                f"{path}: rows that are no distribution", [f"{part.image_id[i]} sums to {sums[i]:.4g}" for i in wrong]
            )
        )
    views = sorted(set(part.view) - set(VIEWS))
    if views:
        raise IntegrityError(f"{path}: unknown views {views}; expected {list(VIEWS)}")
