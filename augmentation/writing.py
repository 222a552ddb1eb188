"""Copies to disk: one task = one shard = a range of sources, each decoded once for all its copies.

A shard's bytes depend on its range alone: not on workers, chunks or machines. It appears whole under its name or not
at all, so an interrupted run goes on at the next unfinished shard.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
import tarfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from augmentation.copies import Copier
from augmentation.drawing import Draws
from augmentation.encoding import decode
from augmentation.plan import Integers, Plan
from augmentation.prepared import Prepared
from augmentation.recipe import AugmentParams
from storage.errors import IntegrityError, ParamsError, ResourceError
from storage.shards import BLOCK, Shards, ShardWriter

SHARD_BYTES = 64 * 2**20
FEWEST_SHARDS = 32  # so that several workers have something to do, and end at about the same time
REMEMBERED = 2**28  # bytes of prepared sources and partners, about
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
SAMPLES = 48  # rendered copies behind the estimate of the disk; fewer where copies are huge
SAMPLED_BYTES = 2**28  # of their pixels
SUFFIXES = {"jpeg": "jpg", "png": "png", "raw": "rgb"}
Pixels = npt.NDArray[np.uint8]
Place = tuple[str, str, int, int]  # image_id, shard, offset, size
Places = list[tuple[int, int]]  # offset and size of each member of a shard


@dataclass(frozen=True)
class ShardTask:
    """All that one shard needs: rows `first` .. `last` of the plan, which belong to whole sources."""

    name: str
    first: int
    last: int
    members: list[str]  # names inside the shard, safe on every system, whatever the ids look like
    source: Integers
    partner: Integers  # -1 without
    draws: Draws
    places: dict[int, Place]  # of each source and partner


class Sources:
    """Decodes source images by their position in the index; remembers the last few, prepared."""

    def __init__(self, folder: Path, places: dict[int, Place], copier: Copier) -> None:
        self.shards, self.copier, self.places = Shards(folder), copier, places
        self.known: OrderedDict[int, Prepared] = OrderedDict()
        self.bytes = 0

    def prepared(self, position: int) -> Prepared:
        """One source at about the size of its copies."""
        if position not in self.known:
            new = self.copier.prepare(self.decoded(position))
            self.known[position] = new
            self.bytes += new.most_bytes
            while self.bytes > REMEMBERED and len(self.known) > 1:
                self.bytes -= self.known.popitem(last=False)[1].most_bytes
        return self.known[position]

    def decoded(self, position: int) -> Pixels:
        """One source's pixels; raises IntegrityError where they vanished or cannot be decoded."""
        image_id, shard, offset, size = self.places[position]
        try:
            data = self.shards.read(shard, offset, size)
        except IntegrityError as error:
            raise IntegrityError(f"source {image_id}: {error}") from None
        pixels = decode(np.frombuffer(data, dtype=np.uint8))
        if pixels is None:
            raise IntegrityError(f"source {image_id}: {shard} at {offset:,} holds no image. Run: dvc repro prepare")
        return pixels


def read_places(train: pd.DataFrame) -> list[Place]:
    """Where the index says each source lies."""
    return list(train[["image_id", "shard", "offset", "size"]].itertuples(index=False, name=None))


def cut_shards(plan: Plan, train: pd.DataFrame, *, encoding: str, bytes_per_copy: float) -> list[ShardTask]:
    """Whole sources per shard, about SHARD_BYTES each."""
    if not len(plan.source):
        return []
    starts = np.flatnonzero(np.diff(plan.source, prepend=-1))  # first row of each source
    count = min(len(starts), max(FEWEST_SHARDS, math.ceil(len(plan.source) * bytes_per_copy / SHARD_BYTES)))
    wanted = np.linspace(0, len(plan.source), count, endpoint=False)
    edges = np.unique(starts[np.clip(np.searchsorted(starts, wanted), 0, len(starts) - 1)])
    places = read_places(train)
    bounds = itertools.pairwise([*edges.tolist(), len(plan.source)])
    return [
        shard_task(f"shard-{i:05d}", slice(first, last), plan, places, encoding)
        for i, (first, last) in enumerate(bounds)
    ]


def shard_task(name: str, rows: slice, plan: Plan, places: list[Place], encoding: str) -> ShardTask:
    """The part of the plan that one worker gets."""
    source, partner, table = plan.source[rows], plan.partner[rows], plan.table.iloc[rows]
    named = zip(source, table["view"], table["copy"], strict=True)
    members = [f"{position:07d}-{view}-{copy}.{SUFFIXES[encoding]}" for position, view, copy in named]
    needed = {int(position): places[position] for position in np.union1d(source, partner[partner >= 0])}
    draws = Draws(plan.draws.keys[rows], {name: values[rows] for name, values in plan.draws.columns.items()})
    return ShardTask(name, rows.start, rows.stop, members, source, partner, draws, needed)


def write_shard(task: ShardTask, *, params: AugmentParams, source_folder: Path, folder: Path) -> tuple[str, Places]:
    """Render and store the copies of one task; returns its name and the offset and size of each member.

    Raises ResourceError on a full disk.
    """
    cv2.setNumThreads(1)
    keep_memory()
    sources = Sources(source_folder, task.places, Copier(params))
    try:
        with ShardWriter(folder, task.name) as shard:
            places = [shard.add(name, copy_bytes(task, row, sources).data) for row, name in enumerate(task.members)]
    except OSError as error:
        raise ResourceError(f"{folder / task.name}.tar cannot be written: {error.strerror or error}") from None
    return task.name, places


def keep_memory() -> None:
    """Have glibc keep what is freed: the arrays of large copies would come from the kernel each time, page by page."""
    if change := getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None:
        change(M_MMAP_THRESHOLD, 2**25)
        change(M_TRIM_THRESHOLD, 2**29)


def copy_bytes(task: ShardTask, row: int, sources: Sources) -> Pixels:
    """The stored form of one copy, as a flat array; raises ParamsError where a foreign transform fails on it."""
    source, partner = int(task.source[row]), int(task.partner[row])
    try:
        return sources.copier.encode_drawn(
            sources.prepared(source), task.draws, row, partner=sources.prepared(partner) if partner >= 0 else None
        )
    except ParamsError as error:
        raise ParamsError(f"source {task.places[source][0]}: {error}") from None


def places_in_shard(folder: Path, task: ShardTask) -> Places | None:
    """The members of a shard that an earlier run finished; None where it is absent, or not to the byte as long."""
    path = folder / f"{task.name}.tar"
    try:
        with tarfile.open(path, "r:") as shard:
            members = [(member.name, member.offset_data, member.size) for member in shard]
        length = path.stat().st_size
    except FileNotFoundError:
        return None
    except (tarfile.TarError, OSError):
        members, length = [], 0
    _, offset, size = members[-1] if members else ("", 0, 0)
    if [name for name, _, _ in members] != task.members or length != offset + blocks(size) + 2 * BLOCK:
        print(f"augment: {path} is damaged; it is made again", flush=True)
        return None
    return [(offset, size) for _, offset, size in members]


def blocks(size: Any) -> Any:
    """What so many bytes take in a tar file."""
    return -(-size // BLOCK) * BLOCK


def mean_bytes(plan: Plan, train: pd.DataFrame, *, params: AugmentParams, source_folder: Path) -> float:
    """Mean bytes of a copy in a shard, from a few that are rendered; of raw ones it is known."""
    if not len(plan.source):
        return 0.0
    width, height = copy_sizes(params, plan, train)
    sizes: Integers = 3 * width * height
    if params.encoding != "raw":
        count = int(np.clip(SAMPLED_BYTES // sizes.mean(), 2, SAMPLES))
        places = read_places(train)
        sources = Sources(source_folder, dict(enumerate(places)), Copier(params))
        rows = np.unique(np.linspace(0, len(sizes) - 1, count).astype(int))
        tasks = [shard_task("", slice(row, row + 1), plan, places, params.encoding) for row in rows.tolist()]
        sizes = np.array([copy_bytes(task, 0, sources).size for task in tasks])
    return float(np.mean(BLOCK + blocks(sizes)))


def copy_sizes(params: AugmentParams, plan: Plan, train: pd.DataFrame) -> tuple[Integers, Integers]:
    """Width and height of each copy.  # (n_copies,), (n_copies,)"""
    if params.height_width is not None:
        height, width = params.height_width
        return np.full(len(plan.source), width), np.full(len(plan.source), height)
    return train["width"].to_numpy()[plan.source], train["height"].to_numpy()[plan.source]
