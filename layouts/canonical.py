"""Images of a listing into canonical shards: in parallel, in bounded memory, and continued where a run was stopped.

One task is one shard of consecutive rows, so its bytes do not depend on the number of workers. A task writes
`<name>.tar`, then `<name>.parquet` with one row of facts per image; a shard whose table is there, and was made from
the same files and settings, is finished. `<name>.now` holds the number of the image at hand, so that a decoder that
takes the process down is traced to its file (layouts/making.py).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from layouts.records import Listing, load_file
from storage.atomic import replacing
from storage.errors import PodiumError
from storage.hashes import perceptual_hashes
from storage.intake import Encoding, Pixels, TruncatedImageError, decoded, encode, shrink, without_remarks
from storage.paths import Below
from storage.shards import ShardWriter

SHARDS = 48  # as many as that, of at least FEWEST images each
FEWEST, MOST = 256, 32_768
EXAMPLES = 100  # problems that one shard tells in full
BLOCK = 4096  # rows that are Python objects at one time
AT_ONCE = 2**18  # bytes of pixels that are decoded before they are encoded
POSITION = struct.Struct("<q")
Fact = tuple[int, str, int, int, int, int, str, str]  # the columns of FACTS
Taken = tuple[int, str, Pixels]  # position, image_id, canonical pixels
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
    skip: frozenset[int] = frozenset()  # positions of images that took a process down

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
    facts: list[Fact] = []
    found: list[str] = []
    with ExitStack() as stack:
        at_hand = stack.enter_context(marking(task.path(".now")))
        load = loader(task.listing, stack)
        stack.enter_context(without_remarks())
        shard = stack.enter_context(ShardWriter(task.folder, task.name))
        taken: list[Taken] = []
        waiting = 0  # bytes
        for position, row in enumerate(rows_of(task.rows), start=task.start):
            if position in task.skip:
                continue
            at_hand(position)
            try:
                pixels = take_in(row, task, load, notes)
            except PodiumError as error:
                found.append(str(error))
                continue
            if pixels is None:
                continue
            taken.append((position, row["image_id"], pixels))
            waiting += pixels.nbytes
            if waiting >= AT_ONCE:
                facts += store(taken, shard, task)
                taken, waiting = [], 0
        facts += store(taken, shard, task)
    task.path(".now").unlink()
    if not found and not task.skip:
        write_facts(task, facts, {"fingerprint": mark, "notes": json.dumps(notes)})
    return Outcome(task.name, len(task.rows), dict(notes), tuple(found[:EXAMPLES]))


@contextmanager
def marking(path: Path) -> Iterator[Callable[[int], None]]:
    """A file that holds the last number given, whatever kills the process; as cheap as memory."""
    with open(path, "w+b") as file:
        file.write(POSITION.pack(-1))
        file.flush()
        with mmap.mmap(file.fileno(), POSITION.size) as memory:
            yield lambda position: POSITION.pack_into(memory, 0, position)


def loader(listing: Listing, stack: ExitStack) -> Callable[[str, int], bytes | Pixels]:
    """How the images of a listing are read: single files with their folders held open, anything else as it does."""
    if listing.load is not load_file:
        return partial(listing.load, listing.root)
    files = stack.enter_context(Below(listing.root))
    return lambda path, _: files.read(path)


def rows_of(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows of a table as dictionaries, a few thousand of them in memory at a time."""
    names = list(table.columns)
    for block in blocks_of(table):
        for values in zip(*block, strict=True):
            yield dict(zip(names, values, strict=True))


def blocks_of(table: pd.DataFrame) -> Iterator[list[list[Any]]]:
    """The columns of a table as lists of plain values, a few thousand rows at a time."""
    for start in range(0, len(table), BLOCK):
        yield [table[name].iloc[start : start + BLOCK].tolist() for name in table.columns]


def take_in(
    row: dict[str, Any], task: Task, load: Callable[[str, int], bytes | Pixels], notes: Counter[str]
) -> Pixels | None:
    """The canonical pixels of one image, or None where the rules leave it out."""
    form = task.form
    source = load(row["path"], int(row.get("position", 0)))
    if isinstance(source, bytes):
        try:
            intake = decoded(source, name=row["path"], max_pixels=form.max_pixels)
        except TruncatedImageError:
            if form.truncated == "error":
                raise
            notes["cut off, left out"] += 1
            return None
        pixels = intake.pixels
        for note in intake.notes:
            notes[note] += 1
    else:
        pixels = source
    if task.listing.region is not None:
        height, width = pixels.shape[:2]
        region, note = task.listing.region(row, width, height)
        notes.update([note] if note else [])
        if region is None:
            return None
        left, top, right, bottom = region
        pixels = pixels[top:bottom, left:right]
    return shrink(pixels, form.max_side)


def read_one(task: Task) -> bytes:
    """The canonical bytes of the only image of a task, empty where the rules leave it out."""
    with ExitStack() as stack:
        load = loader(task.listing, stack)
        stack.enter_context(without_remarks())
        pixels = take_in(next(rows_of(task.rows)), task, load, Counter())
        return b"" if pixels is None else encode(pixels, task.form.encoding, quality=task.form.jpeg_quality)


def store(taken: list[Taken], shard: ShardWriter, task: Task) -> list[Fact]:
    """Append images to the shard; the facts about each.

    Many small ones are encoded together and hashed together: a processor that does one thing at a time does it faster.
    """
    form, suffix = task.form, "jpg" if task.form.encoding == "jpeg" else "png"
    encoded = [encode(pixels, form.encoding, quality=form.jpeg_quality) for _, _, pixels in taken]
    hashes = perceptual_hashes([pixels for _, _, pixels in taken])
    facts = []
    for (position, image_id, pixels), data, alike in zip(taken, encoded, hashes, strict=True):
        stem = os.path.splitext(image_id)[0]  # noqa: PTH122  a Path takes longer than a small image
        offset, size = shard.add(f"{stem}.{suffix}", data)
        height, width = pixels.shape[:2]
        digest = hashlib.sha256(data).hexdigest()  # equal for equal pixels, whatever file they came in
        facts.append((position, f"{task.name}.tar", offset, size, width, height, digest, alike))
    return facts


def write_facts(task: Task, facts: list[Fact], metadata: dict[str, str]) -> None:
    """The table that marks a shard as finished."""
    columns = [list(values) for values in zip(*facts, strict=True)] or [[]] * len(FACTS)
    with replacing(task.path(".parquet")) as file:
        pq.write_table(pa.table(columns, schema=FACTS).replace_schema_metadata(metadata), file)


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
    table = task.rows.drop(columns=["label", "group"], errors="ignore")
    root, last, stamp = f"{task.listing.root}/", "", (-1, -1)
    paths = list(table.columns).index("path")
    for block in blocks_of(table):
        stamps = []
        for path in block[paths]:
            if path != last:  # else another image of the same file
                last, stamp = path, _stamp(root + path)
            stamps.append(stamp)
        digest.update(json.dumps([*block, stamps], default=str).encode())
    return digest.hexdigest()


def named(function: Any) -> str:
    """A function's name, with the arguments that `partial` gave it."""
    if isinstance(function, partial):
        return f"{named(function.func)} {function.keywords}"
    return function.__qualname__ if function else ""


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  a Path takes longer than the look
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
