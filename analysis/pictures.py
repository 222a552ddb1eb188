"""Pictures of an index: decoded from the shards, made small, or laid out side by side.

Reads the canonical images of `data/index/`; every function takes rows of an index table with `shard, offset, size`.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storage.errors import IntegrityError
from storage.shards import Shards

Pixels = NDArray[np.uint8]
IN_MEMORY = 256 * 2**20  # bytes
REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}


def decode(data: bytes, *, name: str = "image", flag: int = cv2.IMREAD_COLOR_RGB) -> Pixels:
    """The RGB pixels (height, width, 3) of one of our own canonical encodings. Raises IntegrityError."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise IntegrityError(f"{name}: the stored image cannot be decoded. Delete data/index and run dvc repro prepare")
    return cast(Pixels, pixels)


class Pictures:
    """The images of one index table by row number; read when asked for, never kept."""

    def __init__(self, table: pd.DataFrame, shards: Shards) -> None:
        self._ids = table["image_id"]
        self._shard, self._names = pd.factorize(table["shard"])
        self._offset, self._size = table["offset"].to_numpy(np.int64), table["size"].to_numpy(np.int64)
        self._shape = table[["height", "width"]].to_numpy(np.int64)
        self._shards = shards

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, row: int) -> Pixels:
        return decode(self.encoded(row), name=self.image_id(row))

    def image_id(self, row: int) -> str:
        """The id of one image."""
        return str(self._ids.iloc[row])

    def encoded(self, row: int) -> bytes:
        """The stored bytes of one image."""
        name = str(self._names[self._shard[row]])
        return self._shards.read(name, int(self._offset[row]), int(self._size[row]))

    def shape(self, row: int) -> tuple[int, int]:
        """(height, width) of one image, from the index."""
        height, width = self._shape[row]
        return int(height), int(width)

    def reduced(self, row: int, side: int) -> Pixels:
        """One image, decoded in grey at 1/2, 1/4 or 1/8 where it then still has twice `side` pixels each way."""
        smaller = min(self._shape[row]) / (2 * side)
        flag = next((flag for factor, flag in REDUCED.items() if smaller >= factor), cv2.IMREAD_COLOR_RGB)
        return decode(self.encoded(row), name=self.image_id(row), flag=flag)

    def stream(self, rows: Iterable[int]) -> Iterator[Pixels]:
        """The pictures of `rows`, one after another."""
        return (self[int(row)] for row in rows)


class Thumbnails:
    """Small grey squares of the images of several tables in a row; each is decoded at most once.

    Those of millions of images are kept in a nameless temporary file, size x size bytes each, not in memory.
    """

    def __init__(self, pictures: Sequence[Pictures], *, size: int = 32) -> None:
        self._pictures = pictures
        self._starts = np.cumsum([0, *(len(part) for part in pictures)])
        self._size = size
        n_rows = int(self._starts[-1])
        self._kept = _Kept(n_rows, size)
        self._done = np.zeros(n_rows, bool)

    def __call__(self, rows: NDArray[np.int64]) -> Pixels:
        """Thumbnails of `rows`, counted through all tables: uint8 (n_rows, size, size)."""
        for row in rows[~self._done[rows]]:
            part = int(np.searchsorted(self._starts, row, side="right")) - 1
            self._kept.put(
                int(row), grey_square(self._pictures[part].reduced(row - self._starts[part], self._size), self._size)
            )
            self._done[row] = True
        return self._kept.get(rows)


class _Kept:
    """Room for squares by row: in memory if they are few, else in a nameless file, which no process counts as its own.

    Raises OSError where the disk has no room for them.
    """

    def __init__(self, n_rows: int, size: int) -> None:
        self._size, self._bytes = size, size * size
        self._file: BinaryIO | None = None
        if n_rows * self._bytes < IN_MEMORY:
            self._memory = np.zeros((n_rows, size, size), np.uint8)
        else:
            file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as this object
            self._file = cast(BinaryIO, file)
            os.posix_fallocate(file.fileno(), 0, n_rows * self._bytes)  # a full disk is an error now

    def put(self, row: int, square: Pixels) -> None:
        """Keep one square."""
        if self._file is None:
            self._memory[row] = square
        else:
            os.pwrite(self._file.fileno(), square.tobytes(), row * self._bytes)

    def get(self, rows: NDArray[np.int64]) -> Pixels:
        """The squares of `rows`.  # (n_rows, size, size)"""
        if self._file is None:
            return np.asarray(self._memory[rows])
        parts = [os.pread(self._file.fileno(), self._bytes, int(row) * self._bytes) for row in rows]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, self._size, self._size)

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


def grey_square(pixels: Pixels, size: int) -> Pixels:
    """Grey pixels squeezed to a square, so that flips and quarter turns of the picture are those of the square."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    shrinks = min(grey.shape) >= size
    return cast(Pixels, cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def fit(pixels: Pixels, side: int) -> Pixels:
    """Shrink so that the longer side is at most `side` pixels; never enlarge."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cast(Pixels, cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA))


def data_uri(pixels: Pixels, *, side: int = 96) -> str:
    """A picture as text for a page that loads nothing: PNG when it is small, else JPEG."""
    small = fit(pixels, side)
    suffix, options = (".png", []) if small.size <= 3 * 48 * 48 else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 82])
    done, encoded = cv2.imencode(suffix, cv2.cvtColor(small, cv2.COLOR_RGB2BGR), cast(Any, options))
    if not done:
        raise ValueError(f"a picture of shape {pixels.shape} cannot be encoded")
    kind = "png" if suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
