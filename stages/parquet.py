"""Parquet files with a fixed set of columns and a few words of metadata; for stages/tables.py and probabilities.py."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from storage.atomic import replacing
from storage.errors import DataError, IntegrityError


def write_table(path: str | Path, table: pd.DataFrame, schema: pa.Schema, metadata: dict[str, str]) -> None:
    """Write `table` at once, with the columns of `schema` first and the caller's own after them."""
    missing = [name for name in schema.names if name not in table.columns]
    if missing:
        raise DataError(f"{path}: columns {missing} are missing from the table to be written")
    extra = [name for name in table.columns if name not in schema.names]
    arrow = pa.Table.from_pandas(table[schema.names + extra], preserve_index=False)
    for name in schema.names:
        position = arrow.schema.get_field_index(name)
        arrow = arrow.set_column(position, schema.field(name), arrow.column(name).cast(schema.field(name).type))
    with replacing(path) as file:
        pq.write_table(arrow.replace_schema_metadata(metadata), file, compression="zstd")


def read_table(path: str | Path, schema: pa.Schema) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table and its metadata; checks that the columns of `schema` are there and hold no nulls."""
    arrow, metadata = read_parquet(Path(path))
    found = checked(Path(path), arrow, schema)
    del arrow
    return found.to_pandas(split_blocks=True, self_destruct=True), metadata  # never two copies at one time


def checked(path: Path, arrow: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table itself; raises IntegrityError where columns of `schema` are missing or have empty values."""
    missing = [name for name in schema.names if name not in arrow.column_names]
    if missing:
        raise IntegrityError(f"{path}: columns {missing} are missing. Run the stage that makes it again")
    empty = [name for name in schema.names if arrow.column(name).null_count]
    if empty:
        raise IntegrityError(f"{path}: columns {empty} have empty values. Run the stage that makes it again")
    return arrow


def read_parquet(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """A Parquet file as it is, with its metadata as text."""
    file, metadata = open_parquet(path)
    try:
        return file.read(), metadata
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def open_parquet(path: Path) -> tuple[pq.ParquetFile, dict[str, str]]:
    """A Parquet file to read from, and its metadata as text."""
    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None
    found = file.schema_arrow.metadata or {}
    return file, {key.decode(): value.decode() for key, value in found.items() if key != b"pandas"}


def unreadable(path: Path, error: Exception) -> IntegrityError:
    """What to say of a file that is no Parquet, or is cut off."""
    return IntegrityError(f"{path} is not a readable Parquet file ({error}). Delete it and run: dvc repro")
