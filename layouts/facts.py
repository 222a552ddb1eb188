"""What is known about the images of one shard: a table beside it, which also marks the shard as finished.

A task writes `<name>.tar`, then `<name>.facts` with one row per image; once both are safe on the disk, that is named
`<name>.parquet`, and a shard that has it, made from the same files and settings, is finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from layouts.tasks import Outcome, Task, blocks_of
from storage.atomic import replacing, sync
from storage.hashes import Grey, hashes_of
from storage.paths import Stamp

if TYPE_CHECKING:
    import pandas as pd

HASHED = 1024  # images whose perceptual hashes are taken together
NOT_SEEN = ("label", "group")  # columns that change nothing of a shard
VERSION = 3  # of the canonical bytes and of the facts about them: shards of an earlier one are made again
FACTS = pa.schema(
    [
        ("row", pa.int64()),  # position in the listing's table
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("sha256", pa.string()),
        ("perceptual_hash", pa.string()),
    ]
)


@dataclass
class Facts:
    """What is known about the images of one shard; a thousand perceptual hashes together cost a tenth."""

    rows: list[tuple[int, int, int, int, int, str]] = field(default_factory=list)  # columns of FACTS without texts
    hashes: list[str] = field(default_factory=list)
    pictures: list[Grey] = field(default_factory=list)  # still to be hashed

    def add(self, row: tuple[int, int, int, int, int, str], picture: Grey) -> None:
        """The facts of one more image."""
        self.rows.append(row)
        self.pictures.append(picture)
        if len(self.pictures) == HASHED:
            self.hash()

    def hash(self) -> None:
        """Take the hashes of the pictures that wait."""
        self.hashes += hashes_of(self.pictures)
        self.pictures = []

    def table(self, shard: str) -> pa.Table:
        """The facts with the columns of FACTS."""
        self.hash()
        positions, offsets, sizes, widths, heights, digests = zip(*self.rows, strict=True) if self.rows else [()] * 6
        shards = [shard] * len(positions)
        columns = [positions, shards, offsets, sizes, widths, heights, digests, self.hashes]
        return pa.table(columns, schema=FACTS)


def write_facts(task: Task, facts: Facts, metadata: dict[str, str]) -> None:
    """The table that marks a shard as finished, once `settle` has named it."""
    table = facts.table(f"{task.name}.tar").replace_schema_metadata(metadata)
    with replacing(task.path(".facts"), durable=False) as file:
        pq.write_table(table, file)


def settle(task: Task) -> None:
    """Mark a shard as finished when it is safe on the disk; for the process that no image waits for."""
    facts = task.path(".facts")
    if facts.is_file():
        sync(task.path(".tar"))
        sync(facts)
        facts.replace(task.path(".parquet"))


def read_facts(paths: list[Path]) -> pd.DataFrame:
    """The tables of finished shards, one after another."""
    tables = [pq.read_table(path).replace_schema_metadata(None) for path in paths]
    facts: pd.DataFrame = (pa.concat_tables(tables) if tables else FACTS.empty_table()).to_pandas()
    return facts


def finished(task: Task) -> Outcome | None:
    """The outcome of a shard that an earlier run finished from the same files and settings."""
    if not task.path(".parquet").is_file() or not task.path(".tar").is_file():
        return None
    try:
        metadata = pq.read_schema(task.path(".parquet")).metadata or {}
    except (pa.ArrowException, OSError):
        return None
    stamps = [stamp_of(task.root, path) for path in task.rows["path"].to_pylist()]
    if metadata.get(b"fingerprint") != fingerprint(task, stamps).encode():
        return None
    return Outcome(task.name, len(task.rows), json.loads(metadata[b"notes"]))


def fingerprint(task: Task, stamps: list[Stamp]) -> str:
    """A hash of all that determines a shard: settings, rows, and the files' sizes and times (labels do not)."""
    digest = hashlib.sha256(json.dumps([VERSION, asdict(task.form), task.start]).encode())
    digest.update(f"{named(task.load)} {named(task.region)}".encode())
    digest.update(json.dumps(stamps).encode())
    for block in blocks_of(task.rows.select([name for name in task.rows.column_names if name not in NOT_SEEN])):
        digest.update(json.dumps(block, default=str).encode())
    return digest.hexdigest()


def named(function: Any) -> str:
    """A function's name, with the arguments that `partial` gave it."""
    if isinstance(function, partial):
        return f"{named(function.func)} {function.keywords}"
    return function.__qualname__ if function else ""


def stamp_of(root: Path, path: str) -> Stamp:
    """What `Below.read` would tell of a file that is not read now; (-1, -1) where there is none."""
    try:
        status = os.stat(f"{root}/{path}")  # noqa: PTH116  a Path takes longer than the look
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
