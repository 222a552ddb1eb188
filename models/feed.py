"""Batches for training: which rows, read ahead in threads, with soft labels. Step by step a function of the seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.pictures import Pictures, Pixels
from models.sampler import CHUNK, Order, Positions
from models.scratch import mapped, unnamed
from models.seeds import derive

Online = Callable[[Pixels, npt.NDArray[np.int64], list[int]], Pixels]  # (images, picture numbers, seeds) -> images


@dataclass(frozen=True)
class Rows:
    """Training or held-out rows as columns; `share` of the label, the rest of the partner's (-1: none)."""

    picture: Positions  # (n_rows,) number in Pictures
    label: Positions
    partner_label: Positions
    share: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.picture)

    def targets(self, rows: Positions, n_classes: int) -> npt.NDArray[np.float32]:
        """Soft labels.  # (len(rows), n_classes)"""
        targets = np.zeros((len(rows), n_classes), np.float32)
        at, partner = np.arange(len(rows)), self.partner_label[rows]
        targets[at, self.label[rows]] = 1.0
        if partner.max(initial=-1) >= 0:
            has = np.flatnonzero(partner >= 0)
            share = self.share[rows[has]]
            targets[has, self.label[rows[has]]] = share
            targets[has, partner[has]] += 1.0 - share
        return targets

    def counts(self, n_classes: int) -> npt.NDArray[np.float64]:
        """Rows per class, mixed ones shared out; in chunks, as the columns may lie in a file.  # (n_classes,)"""
        counts = np.zeros(n_classes)
        for start in range(0, len(self), CHUNK):
            part = slice(start, start + CHUNK)
            share = np.where(self.partner_label[part] >= 0, self.share[part], 1.0)
            counts += np.bincount(self.label[part], share, n_classes)
            counts += np.bincount(np.maximum(self.partner_label[part], 0), 1.0 - share, n_classes)
        return counts


class RowFile:
    """Rows of any number in an unnamed file, 16 bytes each: what a training keeps of them in memory is nothing."""

    RECORD = np.dtype([("picture", "<i4"), ("label", "<i4"), ("partner_label", "<i4"), ("share", "<f4")])

    def __init__(self, folder: Path | None = None) -> None:
        self.file = unnamed(folder)

    def add(self, picture: Any, label: Any, partner_label: Any, share: Any) -> None:
        """Append rows of any integers and numbers."""
        records = np.empty(len(picture), self.RECORD)
        for name, column in zip(self.RECORD.names or (), (picture, label, partner_label, share), strict=True):
            records[name] = column
        self.file.write(records.tobytes())

    def rows(self) -> Rows:
        """All of them, as columns of the mapped file."""
        self.file.flush()
        records = mapped(self.file, self.RECORD)
        return Rows(*(records[name] for name in self.RECORD.names or ()))

    def __del__(self) -> None:
        self.file.close()


@dataclass(frozen=True)
class Batch:
    """One device's share of one step."""

    images: torch.Tensor  # (n_images, size, size, 3) uint8
    targets: torch.Tensor  # (n_images, n_classes)
    rows: Positions


class Feed:
    """Endless batches; `batch` images per device, step and accumulated part; nothing random but the seed.

    `folder`: where the samplers keep what they need of each row, instead of the system's folder for such.
    """

    def __init__(
        self,
        pictures: Pictures,
        rows: Rows,
        *,
        n_classes: int,
        batch: int,
        seed: int,
        accumulate: int = 1,
        sampler: str = "plain",
        epoch_images: int | None = None,
        workers: int = 2,
        world: int = 1,
        rank: int = 0,
        online: Online | None = None,
        folder: Path | None = None,
    ) -> None:
        self.pictures, self.rows, self.n_classes = pictures, rows, n_classes
        self.seed, self.workers, self.online = seed, workers, online
        self.world, self.rank, self.accumulate = world, rank, accumulate
        length = epoch_images or len(rows)
        self.batch = max(1, min(batch, length // (world * accumulate)))
        self.together = self.batch * world * accumulate
        self.steps_per_epoch = max(1, length // self.together)
        self.order = Order(rows.label, sampler=sampler, seed=seed, folder=folder)

    def step_rows(self, step: int) -> Positions:
        """All rows of a step, over devices and accumulated parts, in order.  # (batch * world * accumulate,)"""
        return self.order.rows(step * self.together, (step + 1) * self.together)

    def load(self, step: int, part: int, rows: Positions) -> Batch:
        """Read and change the images of one batch."""
        numbers = self.rows.picture[rows]
        images = self.pictures.read(numbers)
        if self.online is not None:
            first = (step * self.accumulate + part) * self.batch * self.world + self.rank * self.batch
            seeds = [derive(self.seed, "online", first + i) for i in range(len(rows))]
            images = self.online(images, numbers, seeds)
        return Batch(torch.from_numpy(images), torch.from_numpy(self.rows.targets(rows, self.n_classes)), rows)

    def parts(self, step: int) -> list[Positions]:
        """This device's rows of a step, one array per accumulated part."""
        rows = self.step_rows(step).reshape(self.accumulate, self.world, self.batch)
        return list(rows[:, self.rank])

    def steps(self, start: int, stop: int) -> Iterator[list[Batch]]:
        """The batches of each step from `start` to `stop`, read ahead in threads, across the ends of epochs."""
        if self.pictures.quick and self.online is None:  # a hand-over to a thread would cost more than the reading
            for step in range(start, stop):
                yield [self.load(step, part, rows) for part, rows in enumerate(self.parts(step))]
            return
        ahead, depth = deque[list[Future[Batch]]](), 2 * self.workers
        pool = ThreadPoolExecutor(self.workers)
        try:
            for step in range(start, stop + depth):
                if step < stop:
                    parts = enumerate(self.parts(step))
                    ahead.append([pool.submit(self.load, step, part, rows) for part, rows in parts])
                if step >= start + depth:
                    yield [future.result() for future in ahead.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
