"""The rows of a fold: what it trains on, what it is judged on, and the test set; nothing of the held-out fold trains.

For the stage `train` and for `podium lr`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.catalogue import COLUMNS, Catalogue
from models.feed import RowFile
from models.material import Material
from models.schema import ModelParams
from stages.probabilities import read_probabilities
from stages.tables import Folds, Index, augmented_parts
from storage.atomic import sha256
from storage.errors import DataError, IntegrityError, ParamsError
from storage.shards import Shards

RowColumns = tuple[Any, Any, Any, Any]  # picture, label, partner_label, share: as RowFile.add takes them
ROW_COLUMNS = ["source", "partner_id", "copy", "view", "fold", "label", "partner_label", "weight"]


def pictures(index: Index, folds: Folds, augmented: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """All pictures of the competition, part by part: clean ones, the test, then the copies as they come."""
    alone: dict[str, Any] = {"encoding": "png", "copy": 0, "partner_id": "", "partner_label": -1}
    alone |= {"weight": np.float32(1)}
    for table, store, view, fold in (
        (index.train, "index", "clean", folds.table["fold"].to_numpy()),
        (index.test, "test", "test", -2),
    ):
        ids = table["image_id"]
        part = table.assign(**alone, store=store, name=ids, source=ids, view=view, fold=fold)
        yield part[COLUMNS + ROW_COLUMNS]
    for copies in augmented:
        part = copies.assign(store="augmented", name=copies["copy_id"], source=copies["source_id"])
        yield part[COLUMNS + ROW_COLUMNS]


def roles(part: pd.DataFrame, fold: int, params: ModelParams) -> dict[str, pd.Series]:
    """Which of these pictures train, which are held out, and which are the test's, on `fold`."""
    seen = (part["fold"] != fold) & (part["fold"] >= -1) & (part["view"] != "test")  # -2: left out by the split
    kinds = {"both": ["clean", "train"], "augmented": ["train"], "clean": ["clean"]}[params.rows]
    train = seen & part["view"].isin(kinds)
    if params.copies is not None:
        train &= (part["view"] != "train") | (part["copy"] < params.copies)
    valid = (part["fold"] == fold) & part["view"].isin(["clean", "testlike"])
    return {"train": train, "valid": valid, "test": part["view"] == "test"}


def build_material(
    fold: int, *, index: Index, folds: Folds, augmented: Path, params: ModelParams, state_folder: Path | None = None
) -> tuple[Material, pd.DataFrame]:
    """Everything that models.member needs, and the table of held-out rows; in `state_folder` lie the images' places."""
    if fold not in folds.numbers:
        raise ParamsError(f"fold {fold} does not exist; the folds are {folds.numbers}")
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps a few megabytes more, the longer the tables are
    catalogue = Catalogue(folder=state_folder)
    chosen: dict[str, list[pd.DataFrame]] = {"valid": [], "test": []}
    trained, held_out = RowFile(state_folder), RowFile(state_folder)
    for part in pictures(index, folds, augmented_parts(augmented, index, folds)):
        part.index = pd.RangeIndex(len(catalogue), len(catalogue) + len(part))
        catalogue.add(part)
        found = roles(part, fold, params)
        trained.add(*row_columns(part[found["train"]]))
        for role, parts in chosen.items():
            parts.append(part[found[role]])
    valid, test = pd.concat(chosen["valid"]), pd.concat(chosen["test"])
    held_out.add(*row_columns(valid))
    if params.pseudo_labels is not None:
        trained.add(*pseudo_rows(test, fold, index=index, folds=folds, params=params))
    train = trained.rows()
    if not len(train) or valid.empty:
        raise DataError(f"fold {fold}: {len(train)} rows to train on, {len(valid)} to validate on; rows: {params.rows}")
    material = Material(
        pictures=catalogue,
        stores={"index": Shards(index.folder), "test": Shards(index.folder), "augmented": Shards(augmented)},
        train=train,
        valid=held_out.rows(),
        valid_view=valid["view"].to_numpy(object),
        test=test.index.to_numpy(np.int64),
        class_names=index.classes.names,
        identity=f"{index.hash} {folds.hash} {sha256(augmented / 'index.parquet')} {taught_by(fold, params)}".strip(),
    )
    return material, valid


def row_columns(part: pd.DataFrame) -> RowColumns:
    """Pictures as rows; their index is their number."""
    return part.index, part["label"], part["partner_label"], part["weight"]


def pseudo_rows(test: pd.DataFrame, fold: int, *, index: Index, folds: Folds, params: ModelParams) -> RowColumns:
    """With `pseudo_labels`, the test images that its model of this fold is sure of, as further training rows.

    The leak guard: only the teacher of the same fold may label, since every other one has learnt from the rows that
    this fold is judged on. Raises IntegrityError where the table was predicted by another fold, or a mean of folds.
    """
    path = Path(params.pseudo_labels or "") / str(fold) / "test.parquet"
    table = read_probabilities(path, index, folds)
    if set(table.fold.tolist()) != {fold}:
        found = sorted(set(table.fold.tolist()))
        raise IntegrityError(f"{path} was predicted by folds {found}; models that saw fold {fold} may not label for it")
    probabilities = table.probabilities()
    sure = probabilities.max(axis=1) >= params.pseudo_threshold
    number = pd.Series(test.index.to_numpy(np.int64), index=test["name"])
    picture = number.loc[table.image_id[sure]].to_numpy(np.int64)
    return picture, probabilities[sure].argmax(axis=1), -1, 1.0


def taught_by(fold: int, params: ModelParams) -> str:
    """A hash of the teacher's table, for the identity of a training."""
    if params.pseudo_labels is None:
        return ""
    path = Path(params.pseudo_labels) / str(fold) / "test.parquet"
    if not path.is_file():
        raise DataError(f"{path} not found; pseudo_labels names a folder of predictions: <fold>/test.parquet")
    return sha256(path)


def give_back() -> None:
    """Hand to the system what reading the tables took: Arrow's pool and glibc's heap would keep it for later."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # musl has none
        trim(0)
