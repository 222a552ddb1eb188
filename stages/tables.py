"""The contracts between stages: the only reader and writer of index, folds and augmented copies.

Row order carries no meaning except where a function says so; every reader checks columns, ids, classes, sums and
hashes, and names the file and the first offenders. The hash of the index travels with the folds, and both travel with
every table of probabilities (stages/probabilities.py), so those made on other data or other folds are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages.parquet import checked, open_parquet, read_table, unreadable, write_table
from storage.atomic import write_json
from storage.csvfile import repeated
from storage.errors import DataError, IntegrityError, problems

INDEX = pa.schema(
    [
        ("image_id", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("label", pa.int64()),  # position in classes.names; -1 in the test table
        ("group", pa.string()),  # "" where there is none
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("sha256", pa.string()),  # of the pixels: equal for equal pictures, whatever file they came in
        ("perceptual_hash", pa.string()),
    ]
)
CHUNK = 100_000  # values that are Python objects at one time
FOLDS = pa.schema([("image_id", pa.string()), ("fold", pa.int64()), ("duplicate_group", pa.int64())])
AUGMENTED = pa.schema(
    [
        ("copy_id", pa.string()),
        ("source_id", pa.string()),
        ("partner_id", pa.string()),  # "" without a partner
        ("weight", pa.float32()),  # share of the source's label; 1 without a partner
        ("fold", pa.int64()),
        ("view", pa.string()),  # train or testlike
        ("copy", pa.int64()),
        ("label", pa.int64()),
        ("partner_label", pa.int64()),  # -1 without a partner
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("encoding", pa.string()),  # jpeg, png, or raw: uint8 RGB, height x width x 3
    ]
)


@dataclass(frozen=True)
class SubmissionFormat:
    """How the competition wants its CSV: content and byte style, read off its sample submission."""

    columns: list[str]  # the first holds the ids; then one column of labels, or one of probabilities per class
    kind: Literal["labels", "probabilities"]
    row_ids: list[str]  # as written in the sample, in its order
    delimiter: str = ","
    newline: str = "\n"
    bom: bool = False
    quote: Literal["minimal", "all"] = "minimal"
    final_newline: bool = True


@dataclass(frozen=True)
class Classes:
    """The classes in the order of every label and probability column."""

    names: list[str]
    values: list[str]  # what the submission writes for each class
    submission: SubmissionFormat


@dataclass(frozen=True)
class Index:
    """All images of a competition: `train` and `test` have the columns of INDEX; `folder` holds the shards."""

    train: pd.DataFrame
    test: pd.DataFrame
    classes: Classes
    folder: Path
    hash: str


@dataclass(frozen=True)
class Folds:
    """`table` has the columns of FOLDS in the order of the training index.

    Fold -1 is trained on, never scored; fold -2 is left out: neither trained on nor scored.
    """

    table: pd.DataFrame
    hash: str

    @property
    def numbers(self) -> list[int]:
        """The fold numbers that are scored."""
        return sorted(int(fold) for fold in set(self.table["fold"]) if fold >= 0)


def content_hash(*parts: Iterable[Any]) -> str:
    """A hash of tables' and lists' content, the same on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        values, between = iter(part), "["
        while some := list(islice(values, CHUNK)):
            digest.update(between.encode() + json.dumps(some, ensure_ascii=False, default=int)[1:-1].encode())
            between = ", "
        digest.update(b"[]" if between == "[" else b"]")
    return digest.hexdigest()[:16]


def write_index(folder: str | Path, train: pd.DataFrame, test: pd.DataFrame, classes: Classes) -> None:
    """Write both tables and the classes beside the image shards in `folder`."""
    folder = Path(folder)
    for name, table in (("train", train), ("test", test)):
        twice = table["image_id"][repeated(table["image_id"])]
        if len(twice):
            raise DataError(problems(f"{name}: ids appear twice", twice.unique().tolist()))
        write_table(folder / f"{name}.parquet", table, INDEX, {})
    write_json(folder / "classes.json", asdict(classes))


def read_index(folder: str | Path) -> Index:
    """The index of a competition, checked."""
    folder = Path(folder)
    if not (folder / "classes.json").is_file():
        raise DataError(f"{folder / 'classes.json'} not found. Run: dvc repro prepare")
    content = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    classes = Classes(content["names"], content["values"], SubmissionFormat(**content["submission"]))
    train, _ = read_table(folder / "train.parquet", INDEX)
    test, _ = read_table(folder / "test.parquet", INDEX)
    wrong = train["image_id"][(train["label"] < 0) | (train["label"] >= len(classes.names))].tolist()
    if wrong:
        raise IntegrityError(problems(f"{folder / 'train.parquet'}: labels outside classes.json", wrong))
    hashed = content_hash(
        classes.names,
        train["image_id"],
        train["label"],
        train["group"],
        train["sha256"],
        test["image_id"],
        test["sha256"],
    )
    return Index(train, test, classes, folder, hashed)


def write_folds(path: str | Path, table: pd.DataFrame, index: Index) -> None:
    """Write the folds of `index`'s training images."""
    check_ids(path, table["image_id"], index.train["image_id"], complete=True)
    write_table(path, table, FOLDS, {"index_hash": index.hash})


def read_folds(path: str | Path, index: Index) -> Folds:
    """The folds in the order of `index.train`; refused where they were cut on other data."""
    table, metadata = read_table(path, FOLDS)
    if metadata.get("index_hash") != index.hash:
        raise IntegrityError(
            f"{path} was cut on data {metadata.get('index_hash')}, now it is {index.hash}. Run: dvc repro split"
        )
    check_ids(path, table["image_id"], index.train["image_id"], complete=True)
    if not table["image_id"].equals(index.train["image_id"]):
        table = table.set_index("image_id").loc[index.train["image_id"]].reset_index()
    hashed = content_hash([index.hash], table["image_id"], table["fold"])
    return Folds(table, hashed)


def write_augmented(path: str | Path, table: pd.DataFrame, index: Index, folds: Folds) -> None:
    """Write the table of copies; columns after those of AUGMENTED are the drawn parameters."""
    write_table(path, table, AUGMENTED, {"index_hash": index.hash, "folds_hash": folds.hash})


def read_augmented(folder: str | Path, index: Index, folds: Folds) -> pd.DataFrame:
    """The table of copies, with the values drawn for each.

    Proves again that each copy has its source's fold and that partners share it.
    """
    path = Path(folder) / "index.parquet"
    table, metadata = read_table(path, AUGMENTED)
    check_hashes(path, metadata, index, folds)
    refuse_leaks(path, table, fold_of(folds))
    return table


def augmented_parts(folder: str | Path, index: Index, folds: Folds) -> Iterator[pd.DataFrame]:
    """The same table, without what was drawn, some thousands of copies at a time: a million at once take a gigabyte."""
    path = Path(folder) / "index.parquet"
    file, metadata = open_parquet(path)
    check_hashes(path, metadata, index, folds)
    where = fold_of(folds)
    known = [name for name in AUGMENTED.names if name in file.schema_arrow.names]
    try:
        for batch in file.iter_batches(CHUNK, columns=known):
            table = checked(path, pa.Table.from_batches([batch]), AUGMENTED).to_pandas()
            refuse_leaks(path, table, where)
            yield table
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def fold_of(folds: Folds) -> dict[str, int]:
    """The fold of each training image."""
    return dict(zip(folds.table["image_id"], folds.table["fold"], strict=True))


def refuse_leaks(path: Path, table: pd.DataFrame, fold: dict[str, int]) -> None:
    """Raise IntegrityError where a copy has not its source's fold, or its partner another one."""
    source = table["source_id"].map(fold)
    partner = table["partner_id"].map(fold).where(table["partner_id"] != "", source)
    leaked = table["copy_id"][(source != table["fold"]) | (partner != table["fold"])].tolist()
    if leaked:
        raise IntegrityError(problems(f"{path}: copies whose source or partner lies in another fold", leaked))


def check_ids(path: str | Path, ids: Iterable[str], expected: Iterable[str], *, complete: bool) -> None:
    """Refuse ids that are unknown, repeated (if `complete`) or missing (if `complete`), naming the first."""
    given, known = as_strings(ids), as_strings(expected)
    unknown = given.filter(pc.invert(pc.is_in(given, value_set=known)))
    if len(unknown):
        raise IntegrityError(problems(f"{path}: unknown ids", sorted(set(unknown.to_pylist()))))
    if not complete:
        return
    missing = known.filter(pc.invert(pc.is_in(known, value_set=given)))
    if len(missing):
        raise IntegrityError(problems(f"{path}: ids without a row", missing.to_pylist()))
    if twice := len(given) - pc.count_distinct(given).as_py():
        raise IntegrityError(f"{path}: {twice:,} ids appear twice")


def as_strings(values: Iterable[str]) -> pa.Array:
    """A column's text without an object for each."""
    column = pa.array(values if isinstance(values, pd.Series) else list(values))
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.cast(pa.large_string())


def check_hashes(path: str | Path, metadata: dict[str, str], index: Index, folds: Folds | None) -> None:
    """Refuse a table that was made from another index or other folds."""
    if metadata.get("index_hash") != index.hash:
        raise IntegrityError(
            f"{path} was made from data {metadata.get('index_hash')}, ours is {index.hash}. Run: dvc repro"
        )
    if folds is not None and metadata.get("folds_hash") != folds.hash:
        raise IntegrityError(
            f"{path} was made with folds {metadata.get('folds_hash')}, ours are {folds.hash}. Run: dvc repro"
        )
