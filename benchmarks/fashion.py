"""A whole small contest, like the one of recipes/documents: the pipeline against a plain fastai and a plain timm run.

1,570 clean Fashion-MNIST images train, 3,140 others are the test: turned by any angle, mirrored, blurred, tinted,
noised and compressed, their answers hidden. Each contestant gets as much CPU time as podium took, everything included:

podium        five members by cross-validation on offline copies, blended; two processes side by side
fastai        one network, `fit_one_cycle` on all training images, fastai's augmentation drawn anew for every image
timm          one network, timm's parts as its training script joins them, timm's augmentation drawn anew
..., copies   the same on podium's noisy copies of all training images: what is left is members, folds and blend

The ranges of podium's augmentation are given, close to those of the test. What is done is kept in
.podium/benchmarks/fashion/<seed>/, so an interrupted run continues and a finished contestant is not run again.
Writes benchmarks/results/fashion.json. Needs Debian's dataset-fashion-mnist; fastai is optional.
Run: make bench-fashion   (python -m benchmarks.fashion --seed 1 for another contest, which is not written)
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from layouts.embedded import write_png
from layouts.idx import read_idx
from stages.tables import read_augmented, read_folds, read_index
from storage.atomic import building, write_json, write_text
from storage.shards import Shards

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks/results/fashion.json"
SOURCE = Path("/usr/share/datasets/fashion-mnist")
NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]
EACH = {"train": 157, "t10k": 314}  # images of each class
SEED, FOLDS = 2026, 3
MEMBERS: dict[str, dict[str, Any]] = {  # a good one gets the time; the others are there to differ from it
    "resnet": {"backbone": "test_resnet", "epoch_images": 140_000},
    "efficientnet": {"backbone": "test_efficientnet", "epoch_images": 100_000},
    "byobnet": {"backbone": "test_byobnet", "epoch_images": 50_000},
    "nfnet": {"backbone": "test_nfnet", "epoch_images": 25_000},
    "convnext": {"backbone": "test_convnext", "epoch_images": 25_000},
}
PARAMS: dict[str, Any] = {
    "members": list(MEMBERS),
    "folds": list(range(FOLDS)),
    "fetch": [],
    "prepare": {"root": "raw", "layout": "csv_images", "encoding": "png"},
    "split": {"method": "stratified", "folds": FOLDS, "seed": 0},
    "augment": {
        "seed": 0, "copies": 30, "validation_copies": 2, "size": 28, "encoding": "raw", "workers": 1,
        "border": {"mode": "constant", "colour": [0, 0, 0]},
        "operations": {
            "flip": {"horizontal": 0.5, "vertical": 0.5},
            "rotate": {"degrees": [-180, 180]},
            "tint": {"gain": [0.5, 1.1], "offset": [0, 60]},
            "blur": {"sigma": [0.3, 1.2]},
            "noise": {"sigma": [5, 40]},
            "jpeg": {"quality": [50, 95]},
        },
        "mixup": {"probability": 0.0},
    },
    "train": {
        "size": 32, "epochs": 1, "batch": 64, "lr": 0.004, "rows": "augmented", "threads": 1, "precision": "auto",
        "tta": ["hflip", "vflip", "rotate90", "rotate180", "rotate270"], "figures": False, "seed": 0,
    },
    "models": MEMBERS,
    "blend": {"method": "auto"},
    "submit": {"name": "blend"},
}  # fmt: skip
PEERS = {  # backbone and size; resnet18 was tried with timm on another seed, and was worse
    "timm": ("test_resnet", 32),
    "timm, copies": ("test_resnet", 32),
    "fastai": ("test_resnet", 32),
}
TABLES = ("--index", "data/index", "--folds", "data/folds/folds.parquet")
Pixels = npt.NDArray[np.uint8]


def lay_out(folder: Path, answers: Path, *, seed: int) -> None:
    """Write the contest to `folder`, as `csv_images` reads it, and the hidden labels to `answers`."""
    random = np.random.default_rng(seed)
    tables: dict[str, list[str]] = {}
    with building(folder) as root:
        for part, count in EACH.items():
            images = read_idx(SOURCE / f"{part}-images-idx3-ubyte.gz")
            labels = read_idx(SOURCE / f"{part}-labels-idx1-ubyte.gz")
            rows = np.concatenate([random.permutation(np.flatnonzero(labels == c))[:count] for c in range(len(NAMES))])
            name = "train" if part == "train" else "test"
            (root / name).mkdir()
            tables[name] = []
            for number, row in enumerate(random.permutation(rows)):
                pixels = np.repeat(images[row][:, :, None], 3, axis=2)
                write_png(root / name / f"{name}{number:04}.png", pixels if name == "train" else noisy(pixels, random))
                tables[name].append(f"{name}{number:04}.png,{labels[row]}")
        write_text(root / "train.csv", "\n".join(["ID,target", *tables["train"], ""]))
        write_text(root / "meta.csv", "\n".join(["target,class_name", *(f"{i},{n}" for i, n in enumerate(NAMES)), ""]))
        blank = [f"{line.split(',')[0]},0" for line in tables["test"]]
        write_text(root / "sample_submission.csv", "\n".join(["ID,target", *blank, ""]))
    write_text(answers, "\n".join(["ID,target", *tables["test"], ""]))


def noisy(image: Pixels, random: np.random.Generator) -> Pixels:
    """Any rotation, flips, blur, jitter and tint, Gaussian noise, JPEG: one after another.  # (28, 28, 3)"""
    height, width = image.shape[:2]
    flipped = image[:: random.choice([1, -1]), :: random.choice([1, -1])]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), random.uniform(-180, 180), 1.0)
    turned = cv2.warpAffine(np.ascontiguousarray(flipped), turn, (width, height), flags=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(turned.astype(np.float32), (0, 0), random.uniform(0.3, 1.2))
    tinted = blurred * random.uniform(0.6, 1.1) * random.uniform(0.7, 1.0, 3) + random.uniform(0, 60, 3)
    final = np.clip(np.rint(tinted + random.normal(0, random.uniform(5, 40), tinted.shape)), 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", final, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 96))])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


class Run:
    """One contest in its folder, and what was done there: `done.json` holds the CPU seconds of each command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "done.json"
        self.done: dict[str, float] = json.loads(self.log.read_text()) if self.log.is_file() else {}

    def command(self, name: str, module: str, *arguments: str) -> None:
        """Run a module in the folder unless it was done before; counts its CPU time with that of its children."""
        if name in self.done:
            return
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *arguments], cwd=self.folder, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{name} ended with {os.waitstatus_to_exitcode(status)} in {self.folder}; the next run continues")
        self.done[name] = usage.ru_utime + usage.ru_stime
        write_json(self.log, dict(self.done))

    def minutes(self, names: Sequence[str]) -> float:
        """CPU minutes of these commands."""
        return sum(self.done[name] for name in names) / 60


def podium(run: Run, *, workers: int) -> list[str]:
    """The stages of the pipeline, two trainings at a time; the names of its commands."""
    index, folds = TABLES[:2], TABLES[2:]
    patch = str(ROOT / "data/labels.patch.csv")
    run.command("prepare", "stages.prepare", "--raw", "raw", "--patch", patch, "--out", "data/index")
    run.command("split", "stages.split", *index, "--out", folds[1])
    run.command("augment", "stages.augment", *TABLES, "--noise", "data/noise", "--out", "data/augmented")
    with ThreadPoolExecutor(workers) as pool:
        jobs = [(member, fold) for fold in range(FOLDS) for member in MEMBERS]
        list(pool.map(lambda job: train(run, *job), jobs))
    predictions = ("--predictions", "data/predictions")
    outputs = ("--out", "data/blend", "--metrics", "data/blend/metrics.json")
    run.command("blend", "stages.blend", *TABLES, *predictions, *outputs)
    run.command("submit", "stages.submit", *index, "--blend", "data/blend", "--submissions", "submissions")
    return ["prepare", "split", "augment", *(f"{member} {fold}" for member, fold in jobs), "blend", "submit"]


def train(run: Run, member: str, fold: int) -> None:
    """One member on one fold."""
    place = f"{member}/{fold}"
    outputs = ("--run", f"data/runs/{place}", "--predictions", f"data/predictions/{place}")
    augmented = ("--augmented", "data/augmented")
    if f"{member} {fold}" not in run.done:  # it starts over, or the time of its interrupted part would not count
        for left in (run.folder / ".podium/checkpoints").glob(f"{member}-{fold}-*"):
            shutil.rmtree(left)
    run.command(f"{member} {fold}", "stages.train", member, str(fold), *TABLES, *augmented, *outputs)


def peer(run: Run, name: str, minutes: float) -> None:
    """One of the others, for as long."""
    backbone, size = PEERS[name]
    raw, plain = ("copies", ["--plain"]) if name.endswith("copies") else ("raw", [])
    options = ["--minutes", f"{minutes:.2f}", "--backbone", backbone, "--size", str(size), *plain]
    run.command(name, "benchmarks.fashion_peers", name.split(",", maxsplit=1)[0], raw, f"{name}.csv", *options)


def copies_as_files(folder: Path) -> None:
    """Podium's noisy copies of the training images, laid out as a contest."""
    index = read_index(folder / "data/index")
    table = read_augmented(folder / "data/augmented", index, read_folds(folder / TABLES[3], index))
    table = table[table["view"] == "train"]
    shards = Shards(folder / "data/augmented")
    with building(folder / "copies") as root:
        (root / "train").mkdir()
        for row in table.to_dict("records"):
            pixels = np.frombuffer(shards.read(row["shard"], row["offset"], row["size"]), np.uint8)
            write_png(root / "train" / f"{row['copy_id']}.png", pixels.reshape(row["height"], row["width"], 3))
        lines = [f"{name}.png,{label}" for name, label in zip(table["copy_id"], table["label"], strict=True)]
        write_text(root / "train.csv", "\n".join(["ID,target", *lines, ""]))
        shutil.copy(folder / "raw/sample_submission.csv", root)
        (root / "test").symlink_to((folder / "raw/test").resolve())


def macro_f1(labels: pd.Series, answers: pd.Series) -> float:
    """Of the labels of all test images."""
    from sklearn.metrics import f1_score

    return float(f1_score(answers, labels.loc[answers.index], average="macro"))


def labels_of(path: Path) -> pd.Series:
    """A CSV of ID,target."""
    return pd.read_csv(path, index_col="ID")["target"]


def member_scores(folder: Path, answers: pd.Series) -> dict[str, float]:
    """Each member alone, the mean of its folds."""
    from stages.probabilities import read_member

    index = read_index(folder / "data/index")
    folds = read_folds(folder / TABLES[3], index)
    found = {}
    for name in MEMBERS:
        test = read_member(folder / "data/predictions" / name, list(range(FOLDS)), index, folds).test
        found[name] = macro_f1(pd.Series(test.log_probabilities.argmax(axis=1), index=test.image_id), answers)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    given = parser.parse_args()
    folder = ROOT / ".podium/benchmarks/fashion" / str(given.seed)
    if not (folder / "answers.csv").is_file():
        lay_out(folder / "raw", folder / "answers.csv", seed=given.seed)
    write_text(folder / "params.yaml", yaml.safe_dump(PARAMS, sort_keys=False))
    run, answers = Run(folder), labels_of(folder / "answers.csv")
    minutes = run.minutes(podium(run, workers=given.workers))
    honest = json.loads((folder / "data/blend/metrics.json").read_text())["blend"]
    result: dict[str, Any] = {"cpu_minutes": minutes, "honest": honest["score"], "honest_error": honest["error"]}
    result["macro_f1"] = {"podium": macro_f1(labels_of(folder / "submissions/blend.csv"), answers)}
    result["members"] = member_scores(folder, answers)
    print(json.dumps(result, indent=2), flush=True)
    if not (folder / "copies").is_dir():
        copies_as_files(folder)
    names = [name for name in PEERS if not name.startswith("fastai") or importlib.util.find_spec("fastai")]
    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(lambda name: peer(run, name, minutes), names))
    for name in names:
        result["macro_f1"][name] = macro_f1(labels_of(folder / f"{name}.csv"), answers)
    result["peer_minutes"] = {name: run.minutes([name]) for name in names}
    if given.seed == SEED:
        write_json(OUT, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
