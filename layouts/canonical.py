"""Images of a listing into canonical shards: in parallel, in bounded memory, and continued where a run was stopped.

Each image is decoded in full. A file that already is in canonical form is then kept as it is, without what no decoder
needs (storage/bare.py); all others are encoded anew. A task (layouts/tasks.py) writes `<name>.tar` and the facts about
its images (layouts/facts.py). `<name>.now` holds the number of the image at hand, so that a decoder that takes the
process down is traced to its file (layouts/making.py).

Workers import this module, and nothing that starts slowly.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2

from layouts.facts import Facts, fingerprint, finished, stamp_of, write_facts
from layouts.tasks import Form, Outcome, Task, rows_of
from storage.bare import bare
from storage.errors import PodiumError
from storage.hashes import digest_of, small_grey
from storage.intake import (
    BGR,
    TURNED,
    Intake,
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

EXAMPLES = 100  # problems that one shard tells in full
AT_ONCE = 2**18  # bytes of pixels and of files that are decoded before they are encoded or kept
POSITION = struct.Struct("<q")
KEPT = "kept as they were"
Taken = tuple[BGR, bytes]  # canonical pixels, and the file's own bytes of them or none


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
        images: list[tuple[int, str, Taken]] = []
        waiting = 0  # bytes
        for position, row in enumerate(rows_of(task.rows), start=task.start):
            if position in task.skip:
                continue
            at_hand(position)
            try:
                taken = take_in(row, task, load, notes)
            except PodiumError as error:
                found.append(str(error))
                continue
            if taken is None:
                continue
            images.append((position, row["image_id"], taken))
            waiting += taken[0].nbytes + len(taken[1])
            if waiting >= AT_ONCE:
                store(images, shard, task, facts)
                images, waiting = [], 0
        store(images, shard, task, facts)
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


def take_in(
    row: dict[str, Any], task: Task, load: Callable[[str, int], bytes | Pixels], notes: Counter[str]
) -> Taken | None:
    """The canonical pixels of one image and the bytes to keep; None where the rules leave it out."""
    source = load(row["path"], int(row.get("position", 0)))
    intake = decoded(source, row["path"], task.form, notes)
    if intake is None:
        return None
    pixels = intake.pixels
    height, width = shape = pixels.shape[:2]
    if task.region is not None:
        region, note = task.region(row, width, height)
        notes.update([note] if note else [])
        if region is None:
            return None
        left, top, right, bottom = region
        pixels = pixels[top:bottom, left:right]
    pixels = shrink(pixels, task.form.max_side)
    if not isinstance(source, bytes) or pixels.shape[:2] != shape or TURNED in intake.notes:
        return pixels, b""
    kept = bare(source, task.form.encoding, width=width, height=height)
    notes.update([KEPT] if kept else [])
    return pixels, kept or b""


def decoded(source: bytes | Pixels, name: str, form: Form, notes: Counter[str]) -> Intake | None:
    """An image as it came, with its notes counted; None where it is cut off and the rules leave such out."""
    if not isinstance(source, bytes):
        return Intake(turned_round(source), "pixels", ())
    try:
        intake = decode_bgr(source, name=name, max_pixels=form.max_pixels)
    except TruncatedImageError:
        if form.truncated == "error":
            raise
        notes["cut off, left out"] += 1
        return None
    for note in intake.notes:
        notes[note] += 1
    return intake


def read_one(task: Task) -> bytes:
    """The canonical bytes of the only image of a task, empty where the rules leave it out."""
    with ExitStack() as stack:
        load = loader(task, stack, [])
        stack.enter_context(without_remarks())
        taken = take_in(next(rows_of(task.rows)), task, load, Counter())
        return b"" if taken is None else encoded(taken, task.form)


def encoded(taken: Taken, form: Form) -> bytes:
    """What the shard holds of an image."""
    pixels, kept = taken
    return kept or encode_bgr(pixels, form.encoding, quality=form.jpeg_quality)


def store(images: list[tuple[int, str, Taken]], shard: ShardWriter, task: Task, facts: Facts) -> None:
    """Append images (position, image_id, what was taken in) to the shard, and what is known about them to the facts.

    Many small ones are encoded together: a processor that does one thing at a time does it faster.
    """
    suffix = "jpg" if task.form.encoding == "jpeg" else "png"
    for (position, image_id, (pixels, _)), data in zip(
        images, [encoded(taken, task.form) for _, _, taken in images], strict=True
    ):
        stem = os.path.splitext(image_id)[0]  # noqa: PTH122  a Path takes longer than a small image
        offset, size = shard.add(f"{stem}.{suffix}", data)
        facts.add(
            (position, offset, size, pixels.shape[1], pixels.shape[0], digest_of(pixels)),
            small_grey(pixels, code=cv2.COLOR_BGR2GRAY),
        )
