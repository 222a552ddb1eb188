"""What the feed of a training keeps in memory, by the number of copies on disk. Part of benchmarks/train.py.

The index, the folds and the table of copies are written and read by the pipeline's own functions; the copies are 300
digits as raw pixels of one shard, each in the table many times. Then a thousand steps are read. Printed as JSON, beyond
what the process had before:

megabytes   its own memory (`Anonymous` of /proc/self/smaps_rollup): what nobody but its end gives back
mapped      pages of the rows' file that are mapped (`Pss_File`): the system's page cache, dropped where room is needed

and the seconds of reading the tables.
Run: python -m benchmarks.train_memory 100000 [--sampler balanced]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from models.feed import Feed
from models.pictures import Decoded
from models.preprocessing import Preprocessing
from models.schema import ModelParams
from stages.rows import build_material, give_back
from stages.tables import Index, read_folds, read_index, write_augmented, write_folds
from storage.shards import ShardWriter
from tests.small_index import digits, index_of

SOURCES, STEPS = 300, 1000


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


def feed_of(folder: Path, index: Index, sampler: str) -> Feed:
    """What the stage builds before it trains."""
    params = ModelParams(backbone="simple_cnn", size=28)
    folds = read_folds(folder / "folds.parquet", index)
    material, _ = build_material(
        0, index=index, folds=folds, augmented=folder / "augmented", params=params, state_folder=folder
    )
    give_back()
    pictures = Decoded(material.pictures, material.stores, Preprocessing(28, (0.5,) * 3, (0.5,) * 3))
    return Feed(pictures, material.train, n_classes=10, batch=64, seed=0, sampler=sampler, folder=folder)


def megabytes() -> dict[str, float]:
    """This process's own memory, and what it maps of files."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    found = {line[0].rstrip(":"): int(line[1]) * 1024 / 1e6 for line in lines}
    return {"megabytes": found["Anonymous"], "mapped": found["Pss_File"]}


def measure(folder: Path, sampler: str) -> dict[str, float]:
    """What building the feed and reading from it takes."""
    index = read_index(folder / "data/index")
    before, start = megabytes(), time.process_time()
    feed = feed_of(folder, index, sampler)
    seconds = time.process_time() - start
    for _ in feed.steps(0, STEPS):
        pass
    after = megabytes()
    return {**{name: after[name] - before[name] for name in after}, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("copies", type=int)
    parser.add_argument("--sampler", default="plain")
    parser.add_argument("--laid-out", type=Path, help="measure this one")
    given = parser.parse_args()
    if given.laid_out:
        print(json.dumps({"copies": given.copies, **measure(given.laid_out, given.sampler)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), given.copies)
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.train_memory", *sys.argv[1:], "--laid-out", folder]
        subprocess.run(command, check=True)  # a process of its own: what laying out takes must not count


if __name__ == "__main__":
    main()
