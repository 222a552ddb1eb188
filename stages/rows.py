"""The rows of a fold: what it trains on, what it is judged on, and the test set; nothing of the held-out fold trains.

For the stage `train` and for `podium lr`.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.catalogue import COLUMNS, Catalogue
from models.feed import Rows, few_bytes
from models.material import Material
from models.schema import ModelParams
from stages.probabilities import read_probabilities
from stages.tables import Folds, Index, read_augmented
from storage.atomic import sha256
from storage.errors import DataError, IntegrityError, ParamsError
from storage.shards import Shards

ROW_COLUMNS = ["source", "partner_id", "copy", "view", "fold", "label", "partner_label", "weight"]


def fold_rows(fold: int, *, index: Index, folds: Folds, augmented: pd.DataFrame, params: ModelParams) -> dict[str, Any]:
    """All pictures of the competition as one table, and which of them train, validate and test on `fold`."""
    if fold not in folds.numbers:
        raise ParamsError(f"fold {fold} does not exist; the folds are {folds.numbers}")
    alone: dict[str, Any] = {"store": "index", "encoding": "png", "copy": 0}
    alone |= {"partner_id": "", "partner_label": -1, "weight": np.float32(1)}
    clean = index.train.assign(**alone, name=index.train["image_id"], source=index.train["image_id"], view="clean")
    test = index.test.assign(**alone, name=index.test["image_id"], source=index.test["image_id"], view="test", fold=-2)
    test["store"] = "test"
    clean = clean.assign(fold=folds.table["fold"].to_numpy())
    copies = augmented.assign(store="augmented", name=augmented["copy_id"], source=augmented["source_id"])
    table = pd.concat([part[COLUMNS + ROW_COLUMNS] for part in (clean, test, copies)], ignore_index=True)
    seen = (table["fold"] != fold) & (table["fold"] >= -1) & (table["view"] != "test")  # -2: left out by the split
    kinds = {"both": ["clean", "train"], "augmented": ["train"], "clean": ["clean"]}[params.rows]
    train = seen & table["view"].isin(kinds)
    if params.copies is not None:
        train &= (table["view"] != "train") | (table["copy"] < params.copies)
    valid = (table["fold"] == fold) & table["view"].isin(["clean", "testlike"])
    if not train.any() or not valid.any():
        raise DataError(
            f"fold {fold}: {train.sum()} rows to train on, {valid.sum()} to validate on; rows: {params.rows}"
        )
    return {"table": table, "train": train, "valid": valid, "test": table["view"] == "test"}


def build_material(
    fold: int, *, index: Index, folds: Folds, augmented: Path, params: ModelParams, state_folder: Path | None = None
) -> tuple[Material, pd.DataFrame]:
    """Everything that models.member needs, and the table of held-out rows; in `state_folder` lie the images' places."""
    copies = read_augmented(augmented, index, folds, drawn=False)
    split = fold_rows(fold, index=index, folds=folds, augmented=copies, params=params)
    table = split["table"]

    def rows(mask: pd.Series) -> Rows:
        part = table[mask]
        return few_bytes(part.index, part["label"], part["partner_label"], part["weight"])

    valid = table[split["valid"]]
    material = Material(
        pictures=Catalogue(table, folder=state_folder),
        stores={"index": Shards(index.folder), "test": Shards(index.folder), "augmented": Shards(augmented)},
        train=with_pseudo(rows(split["train"]), table[split["test"]], fold, index=index, folds=folds, params=params),
        valid=rows(split["valid"]),
        valid_view=valid["view"].to_numpy(object),
        test=table.index[split["test"]].to_numpy(np.int64),
        class_names=index.classes.names,
        identity=f"{index.hash} {folds.hash} {sha256(augmented / 'index.parquet')} {taught_by(fold, params)}".strip(),
    )
    return material, valid


def with_pseudo(rows: Rows, test: pd.DataFrame, fold: int, *, index: Index, folds: Folds, params: ModelParams) -> Rows:
    """With `pseudo_labels`, the test images that its model of this fold is sure of, as further training rows.

    The leak guard: only the teacher of the same fold may label, since every other one has learnt from the rows that
    this fold is judged on. Raises IntegrityError where the table was predicted by another fold, or a mean of folds.
    """
    if params.pseudo_labels is None:
        return rows
    path = Path(params.pseudo_labels) / str(fold) / "test.parquet"
    table = read_probabilities(path, index, folds)
    if set(table.fold.tolist()) != {fold}:
        found = sorted(set(table.fold.tolist()))
        raise IntegrityError(f"{path} was predicted by folds {found}; models that saw fold {fold} may not label for it")
    probabilities = table.probabilities()
    sure = probabilities.max(axis=1) >= params.pseudo_threshold
    number = pd.Series(test.index.to_numpy(np.int64), index=test["name"])
    picture = number.loc[table.image_id[sure]].to_numpy(np.int64)
    return few_bytes(
        np.concatenate([rows.picture, picture]),
        np.concatenate([rows.label, probabilities[sure].argmax(axis=1)]),
        np.concatenate([rows.partner_label, np.full(len(picture), -1)]),
        np.concatenate([rows.share, np.ones(len(picture), np.float32)]),
    )


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
