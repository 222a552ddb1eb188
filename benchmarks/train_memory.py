"""What the feed of a training keeps in memory, by the number of copies on disk. Part of benchmarks/train.py.

The index, the folds and the table of copies are written and read by the pipeline's own functions; the copies are 300
digits as raw pixels of one shard, each in the table many times. Then some steps are read. Printed as JSON: the
megabytes that the process accounts for (PSS) beyond what it had before, and the seconds of reading the tables.
Run: python -m benchmarks.train_memory 100000
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from models.feed import Feed
from models.pictures import Decoded
from models.preprocessing import Preprocessing
from models.schema import ModelParams
from stages.rows import build_material, give_back
from stages.tables import Index, read_folds, read_index, write_augmented, write_folds
from storage.shards import ShardWriter
from tests.small_index import digits, index_of

SOURCES = 300


def lay_out(folder: Path, count: int) -> None:
    """An index, three folds and so many copies."""
    images, labels = digits(SOURCES + 10)
    index = index_of(folder, images[:SOURCES], labels[:SOURCES], test=images[SOURCES:], names=list("0123456789"))
    ids = index.train["image_id"]
    fold = np.arange(SOURCES) % 3
    write_folds(
        folder / "folds.parquet",
        pd.DataFrame({"image_id": ids, "fold": fold, "duplicate_group": np.arange(SOURCES)}),
        index,
    )
    with ShardWriter(folder / "augmented", "shard-0") as shard:
        places = np.array([shard.add(f"{i}", images[i].tobytes()) for i in range(SOURCES)])
    source = np.arange(count) % SOURCES
    table = pd.DataFrame({"source_id": ids.to_numpy()[source], "partner_id": "", "weight": np.float32(1)})
    number = pd.Series(np.arange(count) // SOURCES).astype(str)
    table = table.assign(
        copy_id=table["source_id"] + "-" + number, fold=fold[source], view="train", copy=np.arange(count) // SOURCES,
        label=index.train["label"].to_numpy()[source], partner_label=-1, shard="shard-0.tar", offset=places[source, 0],
        size=places[source, 1], width=28, height=28, encoding="raw",
    )  # fmt: skip
    write_augmented(folder / "augmented/index.parquet", table, index, read_folds(folder / "folds.parquet", index))


def feed_of(folder: Path, index: Index) -> Feed:
    """What the stage builds before it trains."""
    params = ModelParams(backbone="simple_cnn", size=28)
    folds = read_folds(folder / "folds.parquet", index)
    material, _ = build_material(
        0, index=index, folds=folds, augmented=folder / "augmented", params=params, state_folder=folder
    )
    give_back()
    pictures = Decoded(material.pictures, material.stores, Preprocessing(28, (0.5,) * 3, (0.5,) * 3))
    return Feed(pictures, material.train, n_classes=10, batch=64, seed=0)


def megabytes() -> float:
    """PSS of this process."""
    return float(psutil.Process().memory_full_info().pss) / 1e6


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if sys.argv[2:]:  # a process of its own: what laying out takes must not count
            folder = Path(sys.argv[2])
            index = read_index(folder / "data/index")
            before, start = megabytes(), time.process_time()
            feed = feed_of(folder, index)
            seconds = time.process_time() - start
            for _ in feed.steps(0, 20):
                pass
            print(json.dumps({"copies": count, "megabytes": megabytes() - before, "seconds": seconds}))
            return
        import subprocess

        lay_out(folder, count)
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.train_memory", str(count), str(folder)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
