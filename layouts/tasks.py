"""The shards of a listing as tasks: which consecutive rows make one, under which rules, and what became of it.

A task is one shard, so that its bytes do not depend on the number of workers. It goes to other processes as a whole;
rows are Arrow tables here, not pandas', which start slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from storage.intake import Encoding

if TYPE_CHECKING:
    from layouts.records import Listing, Load, Region

SHARDS = 48  # as many as that, of at least FEWEST images each
FEWEST, MOST = 256, 32_768
BLOCK = 4096  # rows that are Python objects at one time


@dataclass(frozen=True)
class Form:
    """The canonical form of an image and the rules of its intake."""

    encoding: Encoding = "png"
    jpeg_quality: int = 95
    max_side: int | None = None
    max_pixels: int = 50_000_000
    truncated: Literal["error", "drop"] = "error"


@dataclass(frozen=True)
class Task:
    """One shard to make: rows of the training or test table, the first of them at position `start`."""

    name: str
    start: int
    rows: pa.Table
    root: Path
    load: Load | None
    region: Callable[[dict[str, Any], int, int], tuple[Region | None, str]] | None
    form: Form
    folder: Path
    skip: frozenset[int] = frozenset()  # positions of images that took a process down

    def path(self, suffix: str) -> Path:
        """A file of this shard."""
        return self.folder / f"{self.name}{suffix}"

    def __getstate__(self) -> dict[str, Any]:
        """For another process: its own rows only; a part of an Arrow table would bring the whole along."""
        return self.__dict__ | {"rows": self.rows.take(pa.array(range(len(self.rows))))}


@dataclass(frozen=True)
class Outcome:
    """What became of a task: the problems that stop the run, and how many images each note concerns."""

    name: str
    images: int
    notes: dict[str, int]
    problems: tuple[str, ...] = ()


def tasks(listing: Listing, form: Form, folder: Path) -> Iterator[Task]:
    """The shards of training and test images, in order."""
    for kind, frame in (("train", listing.train), ("test", listing.test)):
        table = pa.table({name: pa.array(frame[name], from_pandas=False) for name in frame.columns})  # NaN stays NaN
        size = min(max(-(-len(table) // SHARDS), FEWEST), MOST)
        for start in range(0, len(table), size):
            name = f"images-{kind}-{start // size:05d}"
            rows = table.slice(start, size)
            yield Task(name, start, rows, listing.root, listing.load, listing.region, form, folder)


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table as dictionaries, a few thousand of them in memory at a time."""
    names = table.column_names
    for block in blocks_of(table):
        for values in zip(*block, strict=True):
            yield dict(zip(names, values, strict=True))


def blocks_of(table: pa.Table) -> Iterator[list[list[Any]]]:
    """The columns of a table as lists of plain values, a few thousand rows at a time."""
    for start in range(0, len(table), BLOCK):
        yield [column.to_pylist() for column in table.slice(start, BLOCK).columns]
