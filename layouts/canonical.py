"""Images of a listing into canonical shards: in parallel, in bounded memory, and continued where a run was stopped.

One task is one shard of consecutive rows, so its bytes do not depend on the number of workers. A task writes
`<name>.tar`, then `<name>.facts` with one row per image; once both are safe on the disk, that is named
`<name>.parquet`, and a shard that has it, made from the same files and settings, is finished. `<name>.now` holds the
number of the image at hand, so that a decoder that takes the process down is traced to its file (layouts/making.py).

Workers import this module, and nothing that starts slowly: rows are Arrow tables here, not pandas'.
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
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from storage.atomic import replacing, sync
from storage.errors import PodiumError
from storage.hashes import Grey, hashes_of, small_grey
from storage.intake import (
    BGR,
    Encoding,
    Pixels,
    TruncatedImageError,
    decode_bgr,
    encode_bgr,
    shrink,
    turned_round,
    without_remarks,
)
from storage.paths import Below, Stamp
from storage.shards import ShardWriter

if TYPE_CHECKING:
    import pandas as pd

    from layouts.records import Listing, Load, Region

SHARDS = 48  # as many as that, of at least FEWEST images each
FEWEST, MOST = 256, 32_768
EXAMPLES = 100  # problems that one shard tells in full
BLOCK = 4096  # rows that are Python objects at one time
AT_ONCE = 2**18  # bytes of pixels that are decoded before they are encoded
HASHED = 1024  # images whose perceptual hashes are taken together
NOT_SEEN = ("label", "group")  # columns that change nothing of a shard
VERSION = 2  # of the canonical bytes and of the facts about them: shards of an earlier one are made again
POSITION = struct.Struct("<q")
Taken = tuple[int, str, BGR]  # position, image_id, canonical pixels
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


def run(task: Task) -> Outcome:
    """Make one shard, unless it is finished already."""
    cv2.setNumThreads(1)  # the processes are the parallelism
    if (done := finished(task)) is not None:
        return done
    notes: Counter[str] = Counter()
    facts, stamps = Facts(), list[Stamp]()
    found: list[str] = []
    with ExitStack() as stack:
        at_hand = stack.enter_context(marking(task.path(".now")))
        load = loader(task, stack, stamps)
        stack.enter_context(without_remarks())
        shard = stack.enter_context(ShardWriter(task.folder, task.name, durable=False))
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
                store(taken, shard, task, facts)
                taken, waiting = [], 0
        store(taken, shard, task, facts)
    task.path(".now").unlink()
    if not found and not task.skip:
        write_facts(task, facts, {"fingerprint": fingerprint(task, stamps), "notes": json.dumps(notes)})
    return Outcome(task.name, len(task.rows), dict(notes), tuple(found[:EXAMPLES]))


@contextmanager
def marking(path: Path) -> Iterator[Callable[[int], None]]:
    """A file that holds the last number given, whatever kills the process; as cheap as memory."""
    with open(path, "w+b") as file:
        file.write(POSITION.pack(-1))
        file.flush()
        with mmap.mmap(file.fileno(), POSITION.size) as memory:
            yield lambda position: POSITION.pack_into(memory, 0, position)


def loader(task: Task, stack: ExitStack, stamps: list[Stamp]) -> Callable[[str, int], bytes | Pixels]:
    """How the images of a task are read: single files with their folders held open, anything else as its layout does.

    The stamp of each image's file is put down, for the fingerprint.
    """
    root, own = task.root, task.load
    if own is not None:

        def load(path: str, position: int) -> bytes | Pixels:
            stamps.append(stamp_of(root, path))
            return own(root, path, position)

        return load

    files = stack.enter_context(Below(root))

    def read(path: str, _: int) -> bytes:
        data, stamp = files.read(path)
        stamps.append(stamp)
        return data

    return read


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


def take_in(
    row: dict[str, Any], task: Task, load: Callable[[str, int], bytes | Pixels], notes: Counter[str]
) -> BGR | None:
    """The canonical pixels of one image, blue first, or None where the rules leave it out."""
    form = task.form
    source = load(row["path"], int(row.get("position", 0)))
    if isinstance(source, bytes):
        try:
            intake = decode_bgr(source, name=row["path"], max_pixels=form.max_pixels)
        except TruncatedImageError:
            if form.truncated == "error":
                raise
            notes["cut off, left out"] += 1
            return None
        pixels = intake.pixels
        for note in intake.notes:
            notes[note] += 1
    else:
        pixels = turned_round(source)
    if task.region is not None:
        height, width = pixels.shape[:2]
        region, note = task.region(row, width, height)
        notes.update([note] if note else [])
        if region is None:
            return None
        left, top, right, bottom = region
        pixels = pixels[top:bottom, left:right]
    return shrink(pixels, form.max_side)


def read_one(task: Task) -> bytes:
    """The canonical bytes of the only image of a task, empty where the rules leave it out."""
    with ExitStack() as stack:
        load = loader(task, stack, [])
        stack.enter_context(without_remarks())
        pixels = take_in(next(rows_of(task.rows)), task, load, Counter())
        return b"" if pixels is None else encode_bgr(pixels, task.form.encoding, quality=task.form.jpeg_quality)


def store(taken: list[Taken], shard: ShardWriter, task: Task, facts: Facts) -> None:
    """Append images to the shard, and what is known about them to the facts.

    Many small ones are encoded together: a processor that does one thing at a time does it faster.
    """
    form, suffix = task.form, "jpg" if task.form.encoding == "jpeg" else "png"
    encoded = [encode_bgr(pixels, form.encoding, quality=form.jpeg_quality) for _, _, pixels in taken]
    for (position, image_id, pixels), data in zip(taken, encoded, strict=True):
        stem = os.path.splitext(image_id)[0]  # noqa: PTH122  a Path takes longer than a small image
        offset, size = shard.add(f"{stem}.{suffix}", data)
        digest = hashlib.sha256(data).hexdigest()  # equal for equal pixels, whatever file they came in
        facts.add(
            (position, offset, size, pixels.shape[1], pixels.shape[0], digest),
            small_grey(pixels, code=cv2.COLOR_BGR2GRAY),
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
