"""idx files, plain or gzipped, as MNIST and Fashion-MNIST have them.

    train-images-idx3-ubyte(.gz)  train-labels-idx1-ubyte(.gz)  t10k-images-idx3-ubyte(.gz)  t10k-labels-idx1-ubyte(.gz)

Format (LeCun): two zero bytes, 8 for unsigned bytes, the number of dimensions, each dimension as a big-endian 32-bit
integer, then the bytes. Ids are train/00000 and so on; the labels of the test images, if there, are kept apart.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from layouts.records import Listing, check_classes, check_folder
from storage.atomic import sha256
from storage.errors import DataError, IntegrityError
from storage.intake import Pixels
from storage.section import Section

LARGEST = 4 * 2**30  # bytes of one file's content


class Options(Section):
    """`prepare.options` of this layout; file names are below `prepare.root`, with or without .gz."""

    train: str = Field("train", description="prefix of the training files")
    test: str = Field("t10k", description="prefix of the test files")
    names: list[str] = Field([], description="names of the classes 0, 1, ...; the numbers themselves if empty")
    sha256: dict[str, str] = Field({}, description="file name: its SHA-256, checked before the file is read")


def listing(root: Path, options: Options) -> Listing:
    """All images of the two pairs of files."""
    check_folder(root)
    for name, wanted in options.sha256.items():
        if (root / name).is_file() and (found := sha256(root / name)) != wanted:
            raise IntegrityError(f"{root / name} has SHA-256 {found}, expected {wanted}. Fetch it again")
    train = table(root, options.train, "train")
    test = table(root, options.test, "test")
    values = sorted(set(train["label"].astype(int)))
    names = options.names or [str(value) for value in range(max(values) + 1)]
    if max(values) >= len(names):
        raise DataError(f"{root}: label {max(values)} has no name; prepare.options.names has {len(names)}")
    classes = {str(value): name for value, name in enumerate(names)}
    return Listing(root, train, test, classes, notes=check_classes(train, classes, table=root), load=image)


def table(root: Path, prefix: str, part: str) -> pd.DataFrame:
    """One row per image of a pair of files; without a label file, without labels (test only)."""
    images = find(root, f"{prefix}-images-idx3-ubyte")
    count = dimensions(root / images)[0]
    ids = [f"{part}/{i:05d}" for i in range(count)]
    rows = pd.DataFrame({"image_id": ids, "path": images, "position": range(count), "group": ""})
    if part == "test" and not any((root / f"{prefix}-labels-idx1-ubyte{end}").is_file() for end in ("", ".gz")):
        return rows
    labels = find(root, f"{prefix}-labels-idx1-ubyte")
    values = read_idx(root / labels)
    if len(values) != count:
        raise DataError(f"{root / labels} has {len(values):,} labels, {images} has {count:,} images")
    return rows.assign(label=values.astype(str))


def find(root: Path, name: str) -> str:
    """The file `name` or `name.gz`; also with a dot before idx, as some unpackers leave it."""
    candidates = [variant + end for variant in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for candidate in candidates:
        if (root / candidate).is_file():
            return candidate
    raise DataError(f"{root / name} not found, nor {name}.gz. See the head of recipes/fashion-mnist/params.yaml")


def dimensions(path: Path) -> tuple[int, ...]:
    """The shape that an idx file's header claims."""
    with opened(path) as file:
        return header(file, path)


def read_idx(path: Path) -> Any:
    """All bytes of an idx file in their shape; raises DataError where header and content disagree."""
    try:
        with opened(path) as file:
            shape = header(file, path)
            data = file.read(math.prod(shape) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off ({error}). Fetch it again") from None
    if len(data) != math.prod(shape):
        raise DataError(f"{path} claims {math.prod(shape):,} bytes and holds {'more' if data[shape[0] :] else 'fewer'}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def opened(path: Path) -> Any:
    """The file, unpacked on the way if it is gzipped."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def header(file: Any, path: Path) -> tuple[int, ...]:
    """Read the head of an open idx file."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08" or start[3] not in (1, 3):
        raise DataError(f"{path} is not an idx file of unsigned bytes (it starts with {start!r})")
    shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(start[3]))
    if not 0 < math.prod(shape) <= LARGEST:
        raise DataError(f"{path} claims the shape {shape}")
    return shape


@lru_cache(maxsize=2)
def images_of(path: Path) -> Any:
    """All images of a file, kept for the next one asked for.  # (n_images, height, width)"""
    return read_idx(path)


def image(root: Path, path: str, position: int) -> bytes | Pixels:
    """One grey image as RGB."""
    grey = images_of(root / path)[position]
    return np.repeat(grey[:, :, None], 3, axis=2)
