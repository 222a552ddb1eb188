"""A small competition ready to train on: real digits, folds, copies with mixup, and params.yaml, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from stages.tables import read_folds, write_augmented, write_folds
from storage.shards import ShardWriter
from tests.small_index import digits, index_of

N, TEST = 60, 12
PARAMS = """
members: [cnn]
folds: [0, 1]
train: {size: 28, epochs: 2, batch: 16, precision: fp32_channels_last, worst: 4, threads: 1}
models:
  cnn: {backbone: simple_cnn, backbone_options: {widths: [4, 8]}, tta: [hflip]}
  two: {backbone: simple_cnn, backbone_options: {widths: [4, 8]}, seeds: 2, figures: false}
  long: {backbone: simple_cnn, epochs: 2000, checkpoint_minutes: 0.001, figures: false}
"""


def lay_out(folder: Path) -> Path:
    """Index, three folds, two copies of each image (one in five mixed) and one test-like copy."""
    images, labels = digits(N + TEST)
    index = index_of(folder, images[:N], labels[:N], test=images[N:], names=[str(i) for i in range(10)])
    ids, fold = index.train["image_id"], np.arange(N) % 3
    table = pd.DataFrame({"image_id": ids, "fold": fold, "duplicate_group": np.arange(N)})
    write_folds(folder / "data/folds/folds.parquet", table, index)
    folds = read_folds(folder / "data/folds/folds.parquet", index)
    copies = []
    with ShardWriter(folder / "data/augmented", "shard-00000") as shard:
        for i in range(N):
            for view, copy in (("train", 0), ("train", 1), ("testlike", 0)):
                j = (i + 3) % N if view == "train" and i % 5 == 0 else -1
                share = 0.7 if j >= 0 else 1.0
                pixels = images[i] if j < 0 else (share * images[i] + (1 - share) * images[j]).astype(np.uint8)
                name = f"{ids[i]}.{view}.{copy}"
                offset, size = shard.add(name, pixels.tobytes())
                copies.append(
                    {
                        "copy_id": name, "source_id": ids[i], "partner_id": ids[j] if j >= 0 else "", "weight": share,
                        "fold": fold[i], "view": view, "copy": copy, "label": labels[i],
                        "partner_label": labels[j] if j >= 0 else -1, "shard": "shard-00000.tar", "offset": offset,
                        "size": size, "width": 28, "height": 28, "encoding": "raw",
                    }
                )  # fmt: skip
    write_augmented(folder / "data/augmented/index.parquet", pd.DataFrame(copies), index, folds)
    (folder / "params.yaml").write_text(PARAMS)
    return folder
