"""Images by number, at a model's size: decoded from their shards, or read from a file of pixels that all models share.

The file lies in `.podium/images/<key>`; it is a cache: safe to delete, rebuilt when the images or the size change.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from models.catalogue import Catalogue
from models.preprocessing import Preprocessing, decode, square
from storage.atomic import replacing
from storage.errors import IntegrityError, ResourceError
from storage.shards import Shards

Pixels = npt.NDArray[np.uint8]  # (n_images, size, size, 3)
CHUNK = 256
QUICK = 64  # pixels a side


class Pictures(Protocol):
    """A numbered set of images at one size."""

    preprocessing: Preprocessing
    quick: bool  # reading a batch takes well under a millisecond

    def read(self, numbers: npt.NDArray[np.int64]) -> Pixels:
        """The images of these numbers, RGB.  # (len(numbers), size, size, 3)"""

    def name(self, number: int) -> str:
        """What messages call an image."""

    def __len__(self) -> int: ...


class Decoded:
    """Images decoded from their shards at every read; `stores` opens each store that the catalogue names."""

    quick = False

    def __init__(self, catalogue: Catalogue, stores: Mapping[str, Shards], preprocessing: Preprocessing) -> None:
        self.catalogue = catalogue
        self.stores = stores
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.catalogue)

    def name(self, number: int) -> str:
        """What messages call an image."""
        return self.catalogue.name(number)

    def original(self, number: int) -> npt.NDArray[np.uint8]:
        """One image at its own size.  # (height, width, 3)"""
        at = self.catalogue.place(number)
        data = self.stores[at.store].read(at.shard, at.offset, at.size)
        try:
            return decode(data, at.encoding, width=at.width, height=at.height)
        except ValueError as error:
            raise IntegrityError(f"{self.name(number)}: {error}. Run: dvc repro") from None

    def read(self, numbers: npt.NDArray[np.int64]) -> Pixels:
        """The images of these numbers.  # (len(numbers), size, size, 3)"""
        size = self.preprocessing.size
        pixels = np.empty((len(numbers), size, size, 3), np.uint8)
        for row, number in enumerate(numbers):
            pixels[row] = square(self.original(int(number)), self.preprocessing)
        return pixels


class Cached:
    """The same images from a file of pixels, whole batches at a time, never mapped into memory."""

    def __init__(self, path: Path, decoded: Decoded) -> None:
        self.decoded = decoded
        self.preprocessing = decoded.preprocessing
        self.quick = decoded.preprocessing.size <= QUICK
        self.size = decoded.preprocessing.size
        self.file = open(path, "rb")  # noqa: SIM115 - stays open as long as the object

    def __len__(self) -> int:
        return len(self.decoded)

    def name(self, number: int) -> str:
        """What messages call an image."""
        return self.decoded.name(number)

    def read(self, numbers: npt.NDArray[np.int64]) -> Pixels:
        """The images of these numbers.  # (len(numbers), size, size, 3)"""
        pixels = np.empty((len(numbers), self.size, self.size, 3), np.uint8)
        descriptor, stride = self.file.fileno(), self.size * self.size * 3
        flat = pixels.data.cast("B")
        for row, number in enumerate(numbers.tolist()):
            os.preadv(descriptor, [flat[row * stride : (row + 1) * stride]], number * stride)
        return pixels

    def __del__(self) -> None:
        self.file.close()


def open_pictures(decoded: Decoded, *, folder: Path, limit_gb: float, workers: int) -> Pictures:
    """`decoded` itself, or its cached form where that takes at most `limit_gb` of disk."""
    cv2.setNumThreads(1)
    size = decoded.preprocessing.size
    needed = len(decoded) * size * size * 3
    if needed > limit_gb * 1e9:
        return decoded
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content_key(decoded)}.pixels"
    with exclusive(folder / "lock"):
        if not path.is_file() or path.stat().st_size != needed:
            make_room(folder, needed=needed, limit=int(limit_gb * 1e9))
            build(path, decoded, workers=workers)
        return Cached(path, decoded)


def content_key(decoded: Decoded) -> str:
    """A hash of what the pixels depend on: where each image lies, how big it is, and the preprocessing's geometry."""
    p = decoded.preprocessing
    digest = hashlib.sha256(repr((p.size, p.fit, p.interpolation)).encode())
    for part in decoded.catalogue.content():
        digest.update(part)
    for store, shard in sorted(decoded.catalogue.shards):
        status = (decoded.stores[store].folder / shard).stat()
        digest.update(f"{store}/{shard} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]


def build(path: Path, decoded: Decoded, *, workers: int) -> None:
    """Decode every image once, in order, into one file that appears when it is whole."""
    chunks = [np.arange(start, min(start + CHUNK, len(decoded))) for start in range(0, len(decoded), CHUNK)]
    try:
        with replacing(path) as file, ThreadPoolExecutor(workers) as pool:
            for first in range(0, len(chunks), 4 * workers):  # bounded: map() alone would hold all images
                for pixels in pool.map(decoded.read, chunks[first : first + 4 * workers]):
                    file.write(pixels.data)
    except OSError as error:
        size = len(decoded) * decoded.preprocessing.size**2 * 3
        raise ResourceError(
            f"{path}: {error.strerror}; {size:,} bytes are needed. Free them or set cache_gb: 0"
        ) from None


def make_room(folder: Path, *, needed: int, limit: int) -> None:
    """Delete the caches that were used longest ago until `needed` bytes fit under the limit."""
    files = sorted(folder.glob("*.pixels"), key=lambda file: file.stat().st_atime)
    used = sum(file.stat().st_size for file in files)
    for file in files:
        if used + needed > limit:
            used -= file.stat().st_size
            file.unlink()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock file."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
