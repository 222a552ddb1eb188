"""Images of a listing into canonical shards: in parallel, in bounded memory, and continued where a run was stopped.

One task is one shard of consecutive rows, so its bytes do not depend on the number of workers. A task writes
`<name>.tar`, then `<name>.parquet` with one row of facts per image; a shard whose table is there, and was made from
the same files and settings, is finished. `<name>.now` names the image at hand, so that a decoder that takes the
process down is traced to its file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from layouts.records import Listing
from storage.atomic import replacing
from storage.errors import PodiumError
from storage.hashes import perceptual_hash
from storage.intake import Encoding, Intake, TruncatedImageError, encode, read_image, shrink
from storage.shards import ShardWriter

SHARDS = 48  # as many as that, of at least FEWEST images each
FEWEST, MOST = 256, 32_768
EXAMPLES = 100  # problems that one shard tells in full
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
    rows: pd.DataFrame
    listing: Listing  # without its tables
    form: Form
    folder: Path

    def path(self, suffix: str) -> Path:
        """A file of this shard."""
        return self.folder / f"{self.name}{suffix}"


@dataclass(frozen=True)
class Outcome:
    """What became of a task: the problems that stop the run, and how many images each note concerns."""

    name: str
    images: int
    notes: dict[str, int]
    problems: tuple[str, ...] = ()


def tasks(listing: Listing, form: Form, folder: Path) -> Iterator[Task]:
    """The shards of training and test images, in order."""
    bare = replace(listing, train=pd.DataFrame(), test=pd.DataFrame(), classes={}, sample=None)
    for kind, table in (("train", listing.train), ("test", listing.test)):
        size = min(max(-(-len(table) // SHARDS), FEWEST), MOST)
        for start in range(0, len(table), size):
            name = f"images-{kind}-{start // size:05d}"
            yield Task(name, start, table.iloc[start : start + size], bare, form, folder)


def run(task: Task) -> Outcome:
    """Make one shard, unless it is finished already."""
    cv2.setNumThreads(1)  # the processes are the parallelism
    mark = fingerprint(task)
    if (done := finished(task, mark)) is not None:
        return done
    notes: Counter[str] = Counter()
    facts: list[dict[str, Any]] = []
    found: list[str] = []
    with open(task.path(".now"), "wb", buffering=0) as now, ShardWriter(task.folder, task.name) as shard:
        for position, row in enumerate(rows_of(task.rows), start=task.start):
            os.pwrite(now.fileno(), f"{row['image_id'][-400:]:<400}".encode(), 0)
            try:
                pixels = take_in(row, task, notes)
                if pixels is not None:
                    facts.append({"row": position, **store(shard, pixels, row["image_id"], task)})
            except PodiumError as error:
                found.append(str(error))
    task.path(".now").unlink()
    if not found:
        write_facts(task, facts, {"fingerprint": mark, "notes": json.dumps(notes)})
    return Outcome(task.name, len(task.rows), dict(notes), tuple(found[:EXAMPLES]))


def rows_of(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows of a table as dictionaries, a few thousand of them in memory at a time."""
    for start in range(0, len(table), 4096):
        yield from pa.Table.from_pandas(table.iloc[start : start + 4096], preserve_index=False).to_pylist()


def take_in(row: dict[str, Any], task: Task, notes: Counter[str]) -> Any:
    """The canonical pixels of one image, or None where the rules leave it out."""
    listing, form = task.listing, task.form
    source = listing.load(listing.root, row["path"], int(row.get("position", 0)))
    try:
        if isinstance(source, bytes):
            intake = read_image(source, name=row["path"], max_pixels=form.max_pixels)
        else:
            intake = Intake(source, "raw", ())
    except TruncatedImageError:
        if form.truncated == "error":
            raise
        notes["cut off, left out"] += 1
        return None
    notes.update(intake.notes)
    pixels = intake.pixels
    if listing.region is not None:
        height, width = pixels.shape[:2]
        region, note = listing.region(row, width, height)
        notes.update([note] if note else [])
        if region is None:
            return None
        left, top, right, bottom = region
        pixels = pixels[top:bottom, left:right]
    return shrink(pixels, form.max_side)


def store(shard: ShardWriter, pixels: Any, image_id: str, task: Task) -> dict[str, Any]:
    """Append one image to the shard; the facts about it."""
    member = f"{Path(image_id).with_suffix('')}.{'jpg' if task.form.encoding == 'jpeg' else 'png'}"
    data = encode(pixels, task.form.encoding, quality=task.form.jpeg_quality)
    offset, size = shard.add(member, data)
    return {
        "shard": f"{task.name}.tar",
        "offset": offset,
        "size": size,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "sha256": hashlib.sha256(data).hexdigest(),  # equal for equal pixels, whatever file they came in
        "perceptual_hash": perceptual_hash(pixels),
    }


def write_facts(task: Task, facts: list[dict[str, Any]], metadata: dict[str, str]) -> None:
    """The table that marks a shard as finished."""
    with replacing(task.path(".parquet")) as file:
        pq.write_table(pa.Table.from_pylist(facts, FACTS).replace_schema_metadata(metadata), file)


def read_facts(paths: list[Path]) -> pd.DataFrame:
    """The tables of finished shards, one after another."""
    tables = [pq.read_table(path).replace_schema_metadata(None) for path in paths]
    facts: pd.DataFrame = (pa.concat_tables(tables) if tables else FACTS.empty_table()).to_pandas()
    return facts


def finished(task: Task, mark: str) -> Outcome | None:
    """The outcome of a shard that an earlier run finished from the same files and settings."""
    if not task.path(".parquet").is_file() or not task.path(".tar").is_file():
        return None
    try:
        metadata = pq.read_schema(task.path(".parquet")).metadata or {}
    except (pa.ArrowException, OSError):
        return None
    if metadata.get(b"fingerprint") != mark.encode():
        return None
    return Outcome(task.name, len(task.rows), json.loads(metadata[b"notes"]))


def fingerprint(task: Task) -> str:
    """A hash of all that determines a shard: settings, rows, and the files' sizes and times (labels do not)."""
    digest = hashlib.sha256(json.dumps([asdict(task.form), task.start]).encode())
    digest.update(f"{named(task.listing.load)} {named(task.listing.region)}".encode())
    stamps: dict[str, tuple[int, int]] = {}
    for row in rows_of(task.rows.drop(columns=["label", "group"], errors="ignore")):
        path = row["path"]
        if path not in stamps:
            stamps = {path: _stamp(task.listing.root / path)}
        digest.update(json.dumps([row, stamps[path]], default=str).encode())
    return digest.hexdigest()


def named(function: Any) -> str:
    """A function's name, with the arguments that `partial` gave it."""
    if isinstance(function, partial):
        return f"{named(function.func)} {function.keywords}"
    return function.__qualname__ if function else ""


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
