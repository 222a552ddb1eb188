"""A whole small contest, like the one of recipes/documents: the pipeline against a plain fastai and a plain timm run.

1,570 clean Fashion-MNIST images train, 3,140 others are the test: turned by any angle, mirrored, blurred, tinted,
noised and compressed, their answers hidden. Each contestant gets MINUTES of CPU time, everything included:

podium        five members on offline copies, one part of the images held out for all, test-time views, a blend
fastai        one network, `fit_one_cycle` on all training images, fastai's augmentation drawn anew for every image
timm          one network, timm's parts as its training script joins them, timm's augmentation drawn anew
..., copies   the same on podium's noisy copies of all training images: what is left is members, views and blend

The ranges of podium's augmentation are given, close to those of the test; its members and their settings were chosen
in contests of other seeds, whose answers were looked at. What is done is kept in
.podium/benchmarks/fashion/<seed>-<minutes>/: an interrupted run continues, and a finished contestant is not run again.
Writes benchmarks/results/fashion.json. Needs Debian's dataset-fashion-mnist; fastai is optional.
Run: make bench-fashion   (python -m benchmarks.fashion --seed 1 for another contest, which is not written;
--only timm for one contestant)
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks.fashion_contest import NAMES, lay_out
from layouts.embedded import write_png
from models.member import resolve_precision
from models.schema import ModelParams
from stages.tables import read_augmented, read_folds, read_index
from storage.atomic import building, write_json, write_text
from storage.shards import Shards

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks/results/fashion.json"
SEED, MINUTES, BATCH = 2031, 12.0, 64
START, FINISH = 25, 10  # CPU seconds: a training beside its steps, the blend
SILU = {"act_layer": "silu"}  # the member that had it was the best in the contests of two other seeds
BROAD = {"stem_width": 16, "channels": [32, 64, 96, 128], **SILU}
MEMBERS: dict[str, dict[str, Any]] = {  # about as strong each, or a blend would be no better than the best
    "resnet": {"backbone": "test_resnet", "backbone_options": SILU},
    "wide": {"backbone": "test_resnet", "backbone_options": {"channels": [32, 64, 96, 128], **SILU}},
    "tiered": {"backbone": "resnet10t", "backbone_options": {**BROAD, "channels": [32, 48, 64, 128]}},
    "broad": {"backbone": "resnet10t", "backbone_options": BROAD},
    "mixed": {"backbone": "resnet10t", "backbone_options": BROAD, "cutmix": 1.0, "mix_probability": 0.5},
}
PARAMS: dict[str, Any] = {
    "members": list(MEMBERS),
    "folds": [0],
    "fetch": [],
    "prepare": {"root": "raw", "layout": "csv_images", "encoding": "png"},
    "split": {"method": "hold_out", "folds": 1, "hold_out": 0.06, "seed": 0},
    "augment": {
        "seed": 0, "copies": 60, "validation_copies": 8, "size": 28, "encoding": "raw", "workers": 1,
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
        "size": 32, "epochs": 1, "batch": BATCH, "lr": 0.004, "label_smoothing": 0.1, "rows": "augmented", "threads": 1,
        "precision": "auto",
        "tta": ["hflip", "vflip", "rotate90", "rotate180", "rotate270"], "figures": False, "seed": 0,
    },
    "models": MEMBERS,
    "blend": {"method": "weighted"},
    "submit": {"name": "blend"},
}  # fmt: skip
PEERS = {  # backbone and size; resnet18 was tried with timm on another seed, and was worse
    "timm": ("test_resnet", 32),
    "timm, copies": ("test_resnet", 32),
    "fastai": ("test_resnet", 32),
    "fastai, copies": ("test_resnet", 32),
}
TABLES = ("--index", "data/index", "--folds", "data/folds/folds.parquet")


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
        self.note(name, usage.ru_utime + usage.ru_stime)

    def note(self, name: str, seconds: float) -> None:
        """Keep what a command took."""
        self.done[name] = seconds
        noted = json.loads(self.log.read_text()) if self.log.is_file() else {}  # --only, run twice at a time
        write_json(self.log, {**noted, **self.done})

    def minutes(self, names: Sequence[str]) -> float:
        """CPU minutes of these commands."""
        return sum(self.done[name] for name in names) / 60


def lay_copies(run: Run) -> None:
    """The stages before training: podium's share, and what the peers' copies are made of."""
    patch = str(ROOT / "data/labels.patch.csv")
    run.command("prepare", "stages.prepare", "--raw", "raw", "--patch", patch, "--out", "data/index")
    run.command("split", "stages.split", *TABLES[:2], "--out", TABLES[3])
    run.command("augment", "stages.augment", *TABLES, "--noise", "data/noise", "--out", "data/augmented")
    if not (run.folder / "copies").is_dir():
        copies_as_files(run.folder)


def podium(run: Run, minutes: float) -> None:
    """The stages of the pipeline from training on; each member gets its share of the time that is left."""
    for number, member in enumerate(MEMBERS):
        left = 60 * (minutes - run.minutes(ours(run))) - FINISH
        if member not in run.done:
            images = images_within(run, member, left / (len(MEMBERS) - number))
            params = {**PARAMS, "models": {**MEMBERS, member: {**MEMBERS[member], "epoch_images": images}}}
            write_text(run.folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
        train(run, member)
    predictions = ("--predictions", "data/predictions")
    outputs = ("--out", "data/blend", "--metrics", "data/blend/metrics.json")
    run.command("blend", "stages.blend", *TABLES, *predictions, *outputs)
    run.command("submit", "stages.submit", *TABLES[:2], "--blend", "data/blend", "--submissions", "submissions")


def images_within(run: Run, member: str, seconds: float) -> int:
    """How many images a training can show in so much CPU time; its speed is measured, as the peers measure theirs."""
    start = time.process_time()
    params = ModelParams(**{**PARAMS["train"], **MEMBERS[member]})
    precision, speeds = resolve_precision(params, run.folder / ".podium", len(NAMES))
    took = time.process_time() - start
    run.note(f"{member}, measured", took)
    return max(BATCH, int(0.9 * (seconds - took - START) / speeds[precision]))


def ours(run: Run) -> list[str]:
    """The names of podium's commands so far."""
    return [name for name in run.done if name not in PEERS]


def train(run: Run, member: str) -> None:
    """One member on the one fold."""
    outputs = ("--run", f"data/runs/{member}/0", "--predictions", f"data/predictions/{member}/0")
    if member not in run.done:  # it starts over, or the time of its interrupted part would not count
        for left in (run.folder / ".podium/checkpoints").glob(f"{member}-0-*"):
            shutil.rmtree(left)
    run.command(member, "stages.train", member, "0", *TABLES, "--augmented", "data/augmented", *outputs)


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
    """Each member alone."""
    from stages.probabilities import read_member

    index = read_index(folder / "data/index")
    folds = read_folds(folder / TABLES[3], index)
    found = {}
    for name in MEMBERS:
        test = read_member(folder / "data/predictions" / name, [0], index, folds).test
        found[name] = macro_f1(pd.Series(test.log_probabilities.argmax(axis=1), index=test.image_id), answers)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="CPU time of each contestant")
    parser.add_argument("--workers", type=int, default=2, help="contestants at a time")
    parser.add_argument("--only", nargs="+", choices=["podium", *PEERS], help="these contestants")
    given = parser.parse_args()
    torch.set_num_threads(1)  # as the trainings do
    folder = ROOT / ".podium/benchmarks/fashion" / f"{given.seed}-{given.minutes:g}"
    if not (folder / "answers.csv").is_file():
        lay_out(folder / "raw", folder / "answers.csv", seed=given.seed)
    write_text(folder / "params.yaml", yaml.safe_dump(PARAMS, sort_keys=False))
    run = Run(folder)
    lay_copies(run)
    names = [name for name in PEERS if not name.startswith("fastai") or importlib.util.find_spec("fastai")]
    chosen = given.only or ["podium", *names]
    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(lambda name: contest(run, name, given.minutes), chosen))
    if "submit" not in run.done:
        return
    result = outcome(run, labels_of(folder / "answers.csv"), [name for name in names if name in run.done])
    if given.seed == SEED:
        write_json(OUT, result)
    print(json.dumps(result, indent=2))


def contest(run: Run, name: str, minutes: float) -> None:
    """One contestant."""
    if name == "podium":
        podium(run, minutes)
    else:
        peer(run, name, minutes)


def outcome(run: Run, answers: pd.Series, peers: list[str]) -> dict[str, Any]:
    """What is reported: macro-F1 on the hidden answers, and the CPU minutes of each."""
    honest = json.loads((run.folder / "data/blend/metrics.json").read_text())["blend"]
    files = {"podium": "submissions/blend.csv", **{name: f"{name}.csv" for name in peers}}
    return {
        "cpu_minutes": {"podium": run.minutes(ours(run)), **{name: run.minutes([name]) for name in peers}},
        "honest": honest["score"],
        "honest_error": honest["error"],
        "macro_f1": {name: macro_f1(labels_of(run.folder / file), answers) for name, file in files.items()},
        "members": member_scores(run.folder, answers),
    }


if __name__ == "__main__":
    main()
