"""Where each image of a training lies and what it is called, by number: in an unnamed file, none of it in memory.

A record of fixed size for each image, then the names one after another. The file vanishes with the object.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

COLUMNS = ["name", "store", "shard", "offset", "size", "width", "height", "encoding"]
TEXTS = ("store", "shard", "encoding")  # few different ones: kept as numbers
RECORD = np.dtype(
    [("offset", "<i8"), ("size", "<i8"), ("name_at", "<i8"), ("name_size", "<i4"), ("width", "<i4"), ("height", "<i4")]
    + [(text, "<i4") for text in TEXTS]
)
CHUNK = 65_536  # images written, or hashed, at a time


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
    """Images by number; `table` has COLUMNS. `folder`: where to keep the file; the system's place where it is None."""

    def __init__(self, table: pd.DataFrame, *, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.count, self.size = len(table), len(table) * RECORD.itemsize  # the names follow the records
        self.texts: dict[str, list[str]] = {}
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - stays open as long as the object
        codes: dict[str, npt.NDArray[np.int32]] = {}
        for text in TEXTS:
            found, values = pd.factorize(table[text])
            codes[text], self.texts[text] = found.astype(np.int32), [str(value) for value in values]
        for start in range(0, self.count, CHUNK):
            part = slice(start, min(start + CHUNK, self.count))
            self.write(start, table.iloc[part], {text: column[part] for text, column in codes.items()})

    def write(self, start: int, part: pd.DataFrame, codes: dict[str, npt.NDArray[np.int32]]) -> None:
        """Add the images from number `start` on."""
        records = np.zeros(len(part), RECORD)
        names = [str(name).encode() for name in part["name"]]
        records["name_size"] = [len(name) for name in names]
        records["name_at"] = self.size + np.cumsum(records["name_size"], dtype=np.int64) - records["name_size"]
        for column in ("offset", "size", "width", "height"):
            records[column] = part[column]
        for text in TEXTS:
            records[text] = codes[text]
        os.pwrite(self.file.fileno(), records.tobytes(), start * RECORD.itemsize)
        self.size += os.pwrite(self.file.fileno(), b"".join(names), self.size)

    def __len__(self) -> int:
        return self.count

    def record(self, number: int) -> np.void:
        """The record of an image."""
        found: np.void = np.frombuffer(self.read(number * RECORD.itemsize, RECORD.itemsize), RECORD)[0]
        return found

    def place(self, number: int) -> Place:
        """Where an image lies."""
        found = self.record(number)
        store, shard, encoding = (self.texts[text][found[text]] for text in TEXTS)
        offset, size, width, height = (int(found[name]) for name in ("offset", "size", "width", "height"))
        return Place(store, shard, offset, size, width, height, encoding)

    def name(self, number: int) -> str:
        """What messages call an image."""
        found = self.record(number)
        return self.read(int(found["name_at"]), int(found["name_size"])).decode()

    def shards(self) -> list[tuple[str, str]]:
        """Every store and shard that holds an image, in order."""
        found: set[tuple[int, int]] = set()
        for start in range(0, self.count, CHUNK):
            part = min(CHUNK, self.count - start)
            records = np.frombuffer(self.read(start * RECORD.itemsize, part * RECORD.itemsize), RECORD)
            found.update(np.unique(records[["store", "shard"]]).tolist())
        return sorted((self.texts["store"][store], self.texts["shard"][shard]) for store, shard in found)

    def content(self) -> Iterator[bytes]:
        """All that is known of all images, for a hash."""
        yield repr(self.texts).encode()
        for start in range(0, self.size, CHUNK * RECORD.itemsize):
            yield self.read(start, min(CHUNK * RECORD.itemsize, self.size - start))

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the file; several threads may ask at once."""
        return os.pread(self.file.fileno(), size, at)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()
