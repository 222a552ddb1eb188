"""The formats of team-mates' files: content as texts or numbers, before it is matched with ours.

Nothing that could run code is opened as anything but bytes: no pickle, no .npy of objects, nothing with a format of its
own. A file that still changes is read again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from analysis.team_sizes import refuse_many_lines, refuse_many_rows
from analysis.team_values import Kind, numbers
from storage.csvfile import read_csv
from storage.errors import DataError
from storage.section import Section

Array = np.ndarray[Any, np.dtype[Any]]
TABLES = (".csv", ".tsv", ".txt")
READABLE = (*TABLES, ".parquet", ".npy", ".safetensors")
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin", ".h5", ".npz", ".dill", ".feather")
EXTRA_COLUMNS = ("fold", "target", "label", "pred", "prediction", "class", "view", "copy")


class TeamOptions(Section):
    """What a file does not say of itself."""

    kind: Kind = Field("auto", description="what its numbers are")
    class_order: list[str] | Literal["text"] | None = Field(
        None, description="values of its classes in its order, or text: as programs sort numbers as text"
    )


class TeamSettings(Section):
    """What the section `compare` says of the team; the other keys are about the report."""

    board: dict[str, float] = Field({}, description="scores on the public board: {member, blend or team file: score}")
    team: dict[str, TeamOptions] = Field({}, description="what a team-mate's file holds: {name: {kind, class_order}}")


@dataclass(frozen=True)
class Competition:
    """What a file has to fit."""

    test_ids: Sequence[str]  # as in the sample, in its order
    train_ids: Sequence[str]
    class_names: Sequence[str]
    class_values: Sequence[str]
    index_hash: str = ""  # of our data and folds, if known: tables of ours say theirs
    folds_hash: str = ""


@dataclass(frozen=True)
class Raw:
    """What a file holds before it is matched; `ids` and `columns` are none where the format has no room for them."""

    ids: list[str] | None
    columns: list[str] | None
    values: Array | None  # (n_rows, n_columns) numbers
    labels: list[str] | None  # (n_rows,) as written
    notes: tuple[str, ...] = ()
    folds_hash: str = ""  # of the folds that a table of ours was made with


def refuse_pickle(path: Path) -> None:
    """Refuse by name and by content whatever could run code or needs a foreign reader."""
    if not path.is_file():
        raise DataError(f"{path} not found, or not a regular file")
    with path.open("rb") as file:
        head = file.read(8)
    pickled = head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"
    if path.suffix.lower() in PICKLES or pickled:
        raise DataError(f"{path}: refusing a pickle or a container of one; ask for CSV, .npy (float) or .safetensors")
    if path.suffix.lower() not in READABLE:
        raise DataError(f"{path}: not a table that is known here; ask for CSV, Parquet, .npy (float) or .safetensors")


def steadily(path: Path, read: Callable[[], Raw], *, attempts: int = 3, pause: float = 0.2) -> Raw:
    """Read again while the file still changes (someone is copying it); raises DataError when it does not settle."""
    for _ in range(attempts):
        before = path.stat()
        try:
            result: Raw | DataError = read()
        except DataError as error:
            result = error
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            if isinstance(result, DataError):
                raise result
            return result
        time.sleep(pause)
    raise DataError(f"{path} still changes while it is read (being copied?). Try again when it is complete")


def read_raw(path: Path, competition: Competition, options: TeamOptions) -> Raw:
    """The file's content by its ending."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        refuse_many_lines(path, len(competition.test_ids), len(competition.train_ids))
        return read_text(path, competition, options)
    if suffix == ".parquet":
        return read_parquet(path, competition)
    return read_array(path, competition) if suffix == ".npy" else read_tensors(path, competition)


def read_text(path: Path, competition: Competition, options: TeamOptions) -> Raw:
    """A CSV: ids in the first column, then one column of labels or one per class."""
    refuse_headless(path, competition)
    table = read_csv(path)
    notes = [str(note).removeprefix(f"{path}: ") for note in table.attrs.get("notes", [])]
    return split_columns(path, table, competition, options, notes)


def refuse_headless(path: Path, competition: Competition) -> None:
    """Refuse a table whose first line is data: an id of ours, or numbers with decimals."""
    with path.open("rb") as file:
        line = file.readline(1_000_000).decode("utf-8-sig", errors="replace").strip()
    cells = [cell.strip(" \"'") for cell in re.split(r"[,;\t|]", line)]
    decimals = sum(bool(re.fullmatch(r"-?\d*\.\d+([eE][-+]?\d+)?|-?\d+[eE]-\d+", cell)) for cell in cells[1:])
    if (
        cells[0] in set(competition.test_ids)
        or cells[0] in set(competition.train_ids)
        or decimals >= max(1, len(cells) // 2)
    ):
        raise DataError(
            f"{path} has no header: its first line looks like data ({line[:80]}). Add a line with column names"
        )


def split_columns(
    path: Path, table: pd.DataFrame, competition: Competition, options: TeamOptions, notes: Sequence[str]
) -> Raw:
    """Ids, then labels or probabilities, told by the number and the names of the columns."""
    ids, columns = table.iloc[:, 0].astype(str).tolist(), [str(column) for column in table.columns[1:]]
    n_classes = len(competition.class_names)
    if len(columns) == 1 and options.kind in ("auto", "labels"):
        return Raw(ids, None, None, table.iloc[:, 1].astype(str).tolist(), tuple(notes))
    extra = [column for column in columns if column.strip().casefold() in EXTRA_COLUMNS]
    kept = [column for column in columns if column not in extra] if len(columns) > n_classes else columns
    if len(kept) != n_classes:
        raise DataError(
            f"{path} has the columns {shortened(list(map(str, table.columns)))}; "
            f"expected an id and a label, or an id and {n_classes} probabilities"
        )
    values, said = numbers(str(path), table[kept])
    ignored = [f"ignored the columns {', '.join(extra)}"] if len(kept) < len(columns) else []
    return Raw(ids, kept, values, None, (*notes, *said, *ignored))


def shortened(names: Sequence[str], limit: int = 8) -> str:
    """The first names of a list."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def read_parquet(path: Path, competition: Competition) -> Raw:
    """A table of ours (log-probabilities in one column), or theirs (one column per class)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        head = pq.ParquetFile(path)
        if "view" not in head.schema_arrow.names:  # a table of ours has rows of copies, too
            refuse_many_rows(path, head.metadata.num_rows, len(competition.test_ids), len(competition.train_ids))
        table = pq.read_table(path)
        table.validate(full=True)  # texts that are no UTF-8, offsets that lie
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        ours = {"log_probabilities", "image_id"} <= set(table.column_names) and "class_names" in metadata
        return our_table(table, metadata, competition) if ours else their_table(table)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not a readable Parquet table of labels or probabilities: {error}") from None


def their_table(table: Any) -> Raw:
    """Ids in the first column, then one column of labels, or one of numbers per class."""
    import pyarrow as pa

    if table.num_columns < 2:
        raise ValueError(f"it has {table.num_columns} column; expected ids and a label, or ids and probabilities")
    ids = [str(value) for value in table.column(0).to_pylist()]
    columns = table.column_names[1:]
    if len(columns) == 1:
        return Raw(ids, None, None, [str(value) for value in table.column(1).to_pylist()])
    numeric = [table.column(place).cast(pa.float64()).to_numpy() for place in range(1, table.num_columns)]
    return Raw(ids, columns, np.stack(numeric, axis=1), None)


def our_table(table: Any, metadata: dict[str, str], competition: Competition) -> Raw:
    """A table that Podium wrote, here or at a team-mate's: test rows, or the clean ones of an out-of-fold table."""
    if "view" in table.column_names:
        views = np.array(table.column("view").to_pylist(), dtype=object)
        table = table.filter((views == "test") | (views == "clean"))
    values = np.array(table.column("log_probabilities").to_pylist(), dtype=np.float64)
    ids = [str(image_id) for image_id in table.column("image_id").to_pylist()]
    theirs, ours = metadata.get("index_hash", ""), competition.index_hash
    notes = (f"made with other data: {theirs}, ours is {ours}",) if ours and theirs != ours else ()
    columns = list(json.loads(metadata["class_names"]))
    return Raw(ids, columns, np.exp(values), None, notes, metadata.get("folds_hash", ""))


def read_array(path: Path, competition: Competition) -> Raw:
    """A .npy of floats or whole numbers, never of objects; its header may not claim more than the file holds."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        refuse_many_rows(path, len(mapped) if mapped.ndim else 1, len(competition.test_ids), len(competition.train_ids))
        values = np.array(mapped)
    except (ValueError, OSError, EOFError, OverflowError, SyntaxError, TypeError, MemoryError, TokenError) as error:
        reason = "it holds Python objects (a pickle)" if "bject" in str(error) else f"not a readable .npy ({error})"
        raise DataError(f"{path}: refused, {reason}; ask for a float array, CSV or .safetensors") from None
    return from_array(path, values, None)


def read_tensors(path: Path, competition: Competition) -> Raw:
    """A safetensors file with one matrix; class names from its metadata, if it has `class_names` as JSON."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            chosen = [name for name in names if "prob" in name.lower()] or names
            if len(chosen) != 1:
                raise DataError(f"{path} holds {len(names)} tensors ({shortened(names)}); name one 'probabilities'")
            n_rows = (file.get_slice(chosen[0]).get_shape() or [1])[0]
            refuse_many_rows(path, n_rows, len(competition.test_ids), len(competition.train_ids))
            values, metadata = file.get_tensor(chosen[0]), file.metadata() or {}
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a readable safetensors file: {error}") from None
    try:
        columns = json.loads(metadata["class_names"]) if "class_names" in metadata else None
    except ValueError:
        columns = None
    named = isinstance(columns, list) and all(isinstance(column, str) for column in columns)
    return from_array(path, values, columns if named else None)


def from_array(path: Path, values: Array, columns: list[str] | None) -> Raw:
    """An array without ids: a matrix of numbers, or a column of whole numbers as labels."""
    note = "no ids in this format: rows taken in the sample's order"
    if values.dtype.kind not in "fiu":
        raise DataError(f"{path}: an array of {values.dtype}; ask for floats")
    if values.ndim == 2 and values.shape[1] > 1:
        with np.errstate(all="ignore"):  # what is no number is told later, with its row
            return Raw(None, columns, values.astype(np.float64), None, (note,))
    if values.ndim in (1, 2) and values.dtype.kind in "iu":
        return Raw(None, None, None, [str(value) for value in values.ravel()], (note,))
    raise DataError(f"{path}: an array of shape {values.shape}; expected (rows, classes), or whole numbers as labels")
