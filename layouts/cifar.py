"""CIFAR-100 and CIFAR-10 as their official archives unpack, binary or Python version (reference system C).

    cifar-100-binary/{train,test}.bin, fine_label_names.txt   cifar-10-batches-bin/data_batch_{1..5}.bin, test_batch.bin
    cifar-100-python/{train,test,meta}                        cifar-10-batches-py/data_batch_{1..5}, test_batch

A record of the binary version is its labels (coarse and fine, or one), then 1024 bytes each of red, green and blue.
The Python version consists of pickles, which could run code: a file is opened only if its MD5 is the official one,
and then by a reader that knows no other class than NumPy's arrays.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from layouts.pickled import read_official
from layouts.records import Listing, check_classes, check_folder
from storage.errors import DataError, problems
from storage.intake import Pixels
from storage.section import Section

SIDE = 32
PIXELS = 3 * SIDE * SIDE  # bytes of one image: a plane each of red, green and blue
HUNDRED, TEN = "cifar-100", "cifar-10"
TRAIN = {HUNDRED: ["train"], TEN: [f"data_batch_{i}" for i in range(1, 6)]}
TEST = {HUNDRED: ["test"], TEN: ["test_batch"]}
FOLDERS = {  # (data set, version): the archive's folder
    (HUNDRED, "binary"): "cifar-100-binary",
    (HUNDRED, "python"): "cifar-100-python",
    (TEN, "binary"): "cifar-10-batches-bin",
    (TEN, "python"): "cifar-10-batches-py",
}


class Options(Section):
    """`prepare.options` of this layout; the archives' folders lie in `prepare.root`."""

    version: Literal["auto", "binary", "python"] = Field(
        "auto", description="auto takes the binary one if both lie there"
    )
    data: Literal["auto", "cifar-100", "cifar-10"] = Field("auto", description="auto takes CIFAR-100 if both lie there")
    labels: Literal["fine", "coarse"] = Field("fine", description="of CIFAR-100: 100 fine or 20 coarse classes")


def listing(root: Path, options: Options) -> Listing:
    """The official training and test images; the test labels are kept apart."""
    check_folder(root)
    data, version = choose(root, options)
    folder = FOLDERS[data, version]
    read_labels = binary_labels if version == "binary" else python_labels
    tables = []
    for part, names in (("train", TRAIN[data]), ("test", TEST[data])):
        paths = [f"{folder}/{name}" + (".bin" if version == "binary" else "") for name in names]
        labels = [read_labels(root, path, data, options.labels) for path in paths]
        rows = [
            pd.DataFrame({"path": p, "position": range(len(v)), "label": v}) for p, v in zip(paths, labels, strict=True)
        ]
        table = pd.concat(rows, ignore_index=True).assign(group="")
        tables.append(
            table.assign(image_id=[f"{part}/{i:05d}" for i in range(len(table))], label=table["label"].astype(str))
        )
    names = class_names(root, folder, data, options.labels)
    classes = {str(value): name for value, name in enumerate(names)}
    strange = sorted(set(tables[0]["label"]) - set(classes))
    if strange:
        raise DataError(problems(f"{root / folder}: labels without a name", strange))
    notes = check_classes(tables[0], classes, table=root / folder)
    load = binary_image if version == "binary" else python_image
    return Listing(root, tables[0], tables[1], classes, notes=notes, load=load)


def choose(root: Path, options: Options) -> tuple[str, str]:
    """The data set and version to read: the first that lies there and that the options allow."""
    for (data, version), folder in FOLDERS.items():
        if options.data in ("auto", data) and options.version in ("auto", version) and (root / folder).is_dir():
            return data, version
    raise DataError(f"{root} holds none of {', '.join(FOLDERS.values())}. Unpack the official archive there")


def label_bytes(data: str) -> int:
    """Bytes before the pixels of a binary record."""
    return 2 if data == HUNDRED else 1


def binary_labels(root: Path, path: str, data: str, kind: str) -> Any:
    """The labels of one binary file.  # (n_images,)"""
    if not (root / path).is_file():
        raise DataError(f"{root / path} not found")
    width = label_bytes(data) + PIXELS
    size = (root / path).stat().st_size
    if size == 0 or size % width:
        raise DataError(f"{root / path} has {size:,} bytes, no multiple of {width:,}: cut off? Unpack it again")
    records = np.memmap(root / path, dtype=np.uint8, mode="r").reshape(-1, width)
    return np.array(records[:, label_bytes(data) - 1 if kind == "fine" else 0])


def binary_image(root: Path, path: str, position: int) -> bytes | Pixels:
    """One image of a binary file."""
    labels = 2 if HUNDRED in path else 1
    file = os.open(root / path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(file, PIXELS, position * (labels + PIXELS) + labels)
    finally:
        os.close(file)
    return as_pixels(np.frombuffer(data, dtype=np.uint8))


def python_labels(root: Path, path: str, data: str, kind: str) -> Any:
    """The labels of one pickled file.  # (n_images,)"""
    content = read_official(root, path)
    return np.array(content["labels" if data == TEN else f"{kind}_labels"], dtype=np.int64)


def python_image(root: Path, path: str, position: int) -> bytes | Pixels:
    """One image of a pickled file."""
    return as_pixels(read_official(root, path)["data"][position])


def as_pixels(planes: Any) -> Pixels:
    """3072 bytes as an RGB image.  # (32, 32, 3)"""
    return np.ascontiguousarray(planes.reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def class_names(root: Path, folder: str, data: str, kind: str) -> list[str]:
    """The official class names in the order of the labels."""
    if folder.endswith(("binary", "bin")):
        name = f"{kind}_label_names.txt" if data == HUNDRED else "batches.meta.txt"
        if not (root / folder / name).is_file():
            raise DataError(f"{root / folder / name} not found")
        return (root / folder / name).read_text(encoding="utf-8").split()
    content = read_official(root, f"{folder}/{'meta' if data == HUNDRED else 'batches.meta'}")
    return list(content[f"{kind}_label_names" if data == HUNDRED else "label_names"])
