"""Where each image of a training lies and what it is called, by number: in unnamed files, none of it in memory.

A record of fixed size for each image, and the names one after another. The files vanish with the object.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from models.scratch import unnamed

COLUMNS = ["name", "store", "shard", "offset", "size", "width", "height", "encoding"]
TEXTS = ("store", "shard", "encoding")  # few different ones: kept as numbers
RECORD = np.dtype(
    [("offset", "<i8"), ("size", "<i8"), ("name_at", "<i8"), ("name_size", "<i4"), ("width", "<i4"), ("height", "<i4")]
    + [(text, "<i4") for text in TEXTS]
)
CHUNK = 65_536  # images written, or bytes hashed, at a time


class Place(NamedTuple):
    """Where one image lies."""

    store: str
    shard: str
    offset: int
    size: int  # bytes
    width: int
    height: int
    encoding: str


class Catalogue:
    """Images by number; tables of them have COLUMNS. `folder`: where to keep the files, instead of the system's."""

    def __init__(self, table: pd.DataFrame | None = None, *, folder: Path | None = None) -> None:
        self.folder = folder
        self.count, self.name_bytes = 0, 0
        self.codes: dict[str, dict[str, int]] = {text: {} for text in TEXTS}
        self.texts: dict[str, list[str]] = {text: [] for text in TEXTS}  # the same, by number
        self.shards: set[tuple[str, str]] = set()  # every store and shard that holds an image
        self.records, self.names = (unnamed(folder) for _ in range(2))
        if table is not None:
            self.add(table)

    def add(self, table: pd.DataFrame) -> None:
        """Give these images the next numbers."""
        for start in range(0, len(table), CHUNK):
            self.write(table.iloc[start : start + CHUNK])

    def write(self, part: pd.DataFrame) -> None:
        """Append to both files."""
        records = np.zeros(len(part), RECORD)
        names = [str(name).encode() for name in part["name"]]
        records["name_size"] = [len(name) for name in names]
        records["name_at"] = self.name_bytes + np.cumsum(records["name_size"], dtype=np.int64) - records["name_size"]
        for column in ("offset", "size", "width", "height"):
            records[column] = part[column]
        for text, codes in self.codes.items():
            for value in part[text].unique():
                codes.setdefault(str(value), len(codes))
            self.texts[text] = list(codes)
            records[text] = part[text].map(codes)
        pairs = part[["store", "shard"]].drop_duplicates()
        self.shards.update(zip(pairs["store"].astype(str), pairs["shard"].astype(str), strict=True))
        os.pwrite(self.records.fileno(), records.tobytes(), self.count * RECORD.itemsize)
        self.count += len(part)
        self.name_bytes += os.pwrite(self.names.fileno(), b"".join(names), self.name_bytes)

    def __len__(self) -> int:
        return self.count

    def record(self, number: int) -> np.void:
        """The record of an image; several threads may ask at once."""
        data = os.pread(self.records.fileno(), RECORD.itemsize, number * RECORD.itemsize)
        found: np.void = np.frombuffer(data, RECORD)[0]
        return found

    def place(self, number: int) -> Place:
        """Where an image lies."""
        found = self.record(number)
        store, shard, encoding = (self.texts[text][found[text]] for text in TEXTS)
        offset, size, width, height = (int(found[name]) for name in ("offset", "size", "width", "height"))
        return Place(store, shard, offset, size, width, height, encoding)

    def name(self, number: int) -> str:
        """What messages call an image."""
        return self.name_in(self.record(number))

    def store_and_name(self, number: int) -> tuple[str, str]:
        """Both by one look."""
        found = self.record(number)
        return self.texts["store"][found["store"]], self.name_in(found)

    def name_in(self, record: np.void) -> str:
        """The name of a record's image."""
        return os.pread(self.names.fileno(), int(record["name_size"]), int(record["name_at"])).decode()

    def content(self) -> Iterator[bytes]:
        """All that is known of all images, for a hash."""
        yield repr(self.codes).encode()
        for file, size in ((self.records, self.count * RECORD.itemsize), (self.names, self.name_bytes)):
            for start in range(0, size, CHUNK):
                yield os.pread(file.fileno(), min(CHUNK, size - start), start)

    def __del__(self) -> None:
        for name in ("records", "names"):
            if name in vars(self):
                getattr(self, name).close()
