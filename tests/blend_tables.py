"""A small competition's tables of predictions, drawn at random: members that share most of their errors.

tables = write_competition(tmp_path)      # data/index, data/folds, data/predictions, params.yaml
library = library_of_members(n_members=4) # arrays only
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.library import Library
from analysis.pools import log_softmax
from stages.probabilities import Probabilities, concatenate, write_probabilities
from stages.tables import (
    Classes,
    Folds,
    Index,
    SubmissionFormat,
    read_folds,
    read_index,
    write_folds,
    write_index,
)

Array = np.ndarray[Any, np.dtype[Any]]
N_CLASSES, N_FOLDS = 4, 3


def member_tables(labels: Array, *, n_members: int, n_classes: int, random: np.random.Generator) -> Array:
    """Log-probabilities (n_members, n_rows, n_classes)."""
    shared = random.normal(size=(len(labels), n_classes))
    shared[np.arange(len(labels)), labels] += 2.0
    noise = random.normal(size=(n_members, len(labels), n_classes))
    return log_softmax(1.5 * shared + noise).astype(np.float32)


def library_of_members(
    *, n_rows: int = 200, n_members: int = 4, n_classes: int = N_CLASSES, seed: int = 0, copies: int = 1
) -> Library:
    """Members' out-of-fold tables; with copies, rows of one group follow each other."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_rows // copies), copies)
    labels = np.repeat(random.integers(n_classes, size=n_rows // copies), copies)
    folds = groups % 5
    tables = member_tables(labels, n_members=n_members, n_classes=n_classes, random=random)
    return Library(tuple(f"net{number}" for number in range(n_members)), tables, labels, groups, folds)


def write_competition(
    folder: Path,
    *,
    n_train: int = 90,
    n_test: int = 60,
    n_members: int = 3,
    n_classes: int = N_CLASSES,
    n_folds: int = N_FOLDS,
    style: dict[str, Any] | None = None,
) -> Array:
    """Write index, folds, predictions of every member and fold, and params.yaml; returns the test's true labels.

    Each held-out image has a clean row and two test-like ones.
    """
    random = np.random.default_rng(1)
    labels, answers = np.arange(n_train) % n_classes, np.arange(n_test) % n_classes
    ids, test_ids = (
        np.array([f"{part}{number:04}.png" for number in range(n)], dtype=object)
        for part, n in (("a", n_train), ("t", n_test))
    )
    names, values = [f"kind {number}" for number in range(n_classes)], [str(10 + number) for number in range(n_classes)]
    form: dict[str, Any] = {"columns": ["ID", "target"], "kind": "labels", "row_ids": test_ids[::-1].tolist()}
    write_index(
        folder / "data/index",
        images(ids.tolist(), labels),
        images(test_ids.tolist(), np.full(n_test, -1)),
        Classes(names, values, SubmissionFormat(**{**form, **(style or {})})),
    )
    index = read_index(folder / "data/index")
    fold = np.arange(n_train) // n_classes % n_folds
    table = pd.DataFrame({"image_id": ids, "fold": fold, "duplicate_group": np.arange(n_train)})
    write_folds(folder / "data/folds/folds.parquet", table, index)
    folds = read_folds(folder / "data/folds/folds.parquet", index)
    views = [member_tables(labels, n_members=n_members, n_classes=n_classes, random=random) for _ in range(3)]
    tests = member_tables(answers, n_members=n_members, n_classes=n_classes, random=random)
    for member in range(n_members):
        for number in range(n_folds):
            place = folder / f"data/predictions/net{member}/{number}"
            held = np.flatnonzero(fold == number)
            parts = [
                table_of(index, folds, ids[held], view=view, copy=copy, fold=number, logs=views[which][member, held])
                for which, (view, copy) in enumerate((("clean", 0), ("testlike", 0), ("testlike", 1)))
            ]
            write_probabilities(place / "valid.parquet", concatenate(parts))
            test = table_of(index, folds, test_ids, view="test", fold=number, logs=tests[member])
            write_probabilities(place / "test.parquet", test)
    members = [f"net{member}" for member in range(n_members)]
    models = "".join(f"  {name}: {{}}\n" for name in members)
    (folder / "params.yaml").write_text(
        f"models:\n{models}members: [{', '.join(members)}]\nfolds: {list(range(n_folds))}\nblend: {{draws: 200}}\n"
    )
    return answers


def table_of(
    index: Index, folds: Folds, ids: Any, *, view: str, fold: int, logs: Array, copy: int = 0
) -> Probabilities:
    """Log-probabilities (n_rows, n_classes) as the stages store them."""
    count = len(ids)
    return Probabilities(
        np.array(list(ids), dtype=object),
        np.array([view] * count, dtype=object),
        np.full(count, copy, dtype=np.int64),
        np.full(count, fold, dtype=np.int64),
        logs.astype(np.float32),
        index.classes.names,
        index.hash,
        folds.hash,
    )


def images(ids: list[str], labels: Array) -> pd.DataFrame:
    """A table of images that nobody opens."""
    table = pd.DataFrame({"image_id": ids, "label": labels})
    return table.assign(
        shard="s", offset=0, size=1, group="", width=8, height=8, sha256=table["image_id"], perceptual_hash="0"
    )
