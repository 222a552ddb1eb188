"""The peers of benchmarks/fashion.py: one network on all training images, as people train it with fastai or with timm.

Both get the same CPU time, everything included: the cost of an epoch is measured on a few steps first, and the
schedule is laid over the epochs that are left. Their augmentation is drawn anew for every image: any rotation, flips,
light, blur (timm), random erasing. Grey images stay grey in both: neither library tints, and neither adds noise.
Run: python -m benchmarks.fashion_peers fastai RAW OUT --minutes 12 --backbone test_resnet --size 32
Writes OUT, a CSV of ID,target.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from torch import nn

from storage.atomic import write_text

BATCH, CLASSES, RATE, WARM, PROBE = 64, 10, 4e-3, 5, 20
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def network(backbone: str) -> nn.Module:
    """The same weights at the start for both."""
    torch.manual_seed(0)
    built: nn.Module = timm.create_model(backbone, num_classes=CLASSES)
    return built


def epochs_within(seconds: float, spent: float, each: float) -> int:
    """How many epochs fit into the CPU time that is left, with a twentieth kept for the prediction."""
    return max(1, int((0.95 * seconds - spent) / each))


def run_fastai(raw: Path, *, backbone: str, size: int, seconds: float, plain: bool) -> np.ndarray[Any, Any]:
    """fit_one_cycle with aug_transforms, then the mean of plain and augmented predictions (`tta`)."""
    vision = import_module("fastai.vision.all")
    train, test = pd.read_csv(raw / "train.csv"), pd.read_csv(raw / "sample_submission.csv")
    changes = vision.aug_transforms(
        do_flip=True, flip_vert=True, max_rotate=180.0, max_zoom=1.1, max_lighting=0.4, max_warp=0.0, p_affine=1.0,
        p_lighting=0.9, pad_mode="zeros",
    )  # fmt: skip
    changes = [vision.Flip()] if plain else [*changes, vision.RandomErasing(p=0.25, max_count=1)]
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock(vocab=list(range(CLASSES)))),
        get_x=lambda row: raw / "train" / row["ID"],
        get_y=lambda row: row["target"],
        splitter=vision.IndexSplitter(list(range(BATCH))),  # fastai wants some; they train as well
        item_tfms=vision.Resize(size),
        batch_tfms=[*changes, vision.Normalize.from_stats(MEAN, STD)],
    )
    frame = pd.concat([train.iloc[:BATCH], train])
    loaders = block.dataloaders(frame, bs=BATCH, num_workers=0, device=torch.device("cpu"))

    few = block.dataloaders(frame.iloc[: (PROBE + 1) * BATCH], bs=BATCH, num_workers=0, device=torch.device("cpu"))

    def learner(given: Any) -> Any:
        model = network(backbone).to(memory_format=torch.channels_last)
        return vision.Learner(given, model, loss_func=vision.LabelSmoothingCrossEntropyFlat(0.1))

    probe = learner(few)
    with probe.no_bar(), probe.no_logging():
        probe.fit_one_cycle(1, RATE)
        start = time.process_time()
        probe.fit_one_cycle(1, RATE)
    each = (time.process_time() - start) / PROBE * len(loaders.train)
    epochs = epochs_within(seconds, time.process_time(), each)
    final = learner(loaders)
    with final.no_bar(), final.no_logging():
        final.fit_one_cycle(epochs, RATE)
        files = [raw / "test" / name for name in test["ID"]]
        probabilities, _ = final.tta(dl=loaders.test_dl(files), n=4)
    say("fastai", backbone, epochs)
    return np.asarray(probabilities.argmax(dim=1))


def run_timm(raw: Path, *, backbone: str, size: int, seconds: float, plain: bool) -> np.ndarray[Any, Any]:
    """The loop of timm's training script: its loader, optimiser, schedule, averaged weights and label smoothing."""
    data, losses, utils = (import_module(f"timm.{name}") for name in ("data", "loss", "utils"))
    train, test = pd.read_csv(raw / "train.csv"), pd.read_csv(raw / "sample_submission.csv")
    common = {"input_size": (3, size, size), "batch_size": BATCH, "mean": MEAN, "std": STD, "use_prefetcher": False}
    common |= {"num_workers": 0, "persistent_workers": False}
    loader = data.create_loader(
        Files(raw / "train", train), is_training=True, scale=(0.7, 1.0), ratio=(0.9, 1.1), hflip=0.5, vflip=0.5,
        color_jitter=0.4, gaussian_blur_prob=0.3, re_prob=0.25, no_aug=plain, **common,
    )  # fmt: skip
    if not plain:
        loader.dataset.transform.transforms.insert(0, import_module("torchvision.transforms").RandomRotation(180))
    model = network(backbone).to(memory_format=torch.channels_last)
    parts = (loader, losses.LabelSmoothingCrossEntropy(0.1), utils)
    train_timm(model, *parts, epochs=1, steps=WARM)
    start = time.process_time()
    train_timm(model, *parts, epochs=1, steps=PROBE)
    each = (time.process_time() - start) / PROBE * len(loader)
    epochs = epochs_within(seconds, time.process_time(), each)
    average = train_timm(network(backbone).to(memory_format=torch.channels_last), *parts, epochs=epochs)
    say("timm", backbone, epochs)
    average.eval()
    shown = data.create_loader(Files(raw / "test", test), is_training=False, crop_pct=1.0, **common)
    with torch.inference_mode():
        return np.concatenate([average(images).argmax(dim=1).numpy() for images, _ in shown])


def train_timm(
    model: nn.Module, loader: Any, loss: nn.Module, utils: Any, *, epochs: int, steps: int | None = None
) -> nn.Module:
    """Train and return the averaged network; `steps`: no more than so many."""
    optimizer = import_module("timm.optim").create_optimizer_v2(model, opt="adamw", lr=RATE, weight_decay=0.05)
    schedule = import_module("timm.scheduler").CosineLRScheduler(
        optimizer, t_initial=epochs * len(loader), t_in_epochs=False, warmup_t=len(loader), warmup_lr_init=1e-5
    )
    average = utils.ModelEmaV3(model, decay=0.99, use_warmup=True)
    updates = 0
    model.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16):  # --amp --amp-dtype bfloat16: the fastest here
                output = model(images.to(memory_format=torch.channels_last))
            loss(output.float(), labels).backward()
            utils.dispatch_clip_grad(model.parameters(), value=1.0)
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
            average.update(model, step=updates)
            schedule.step_update(updates)
            if updates == steps:
                return average.module  # type: ignore[no-any-return]
    return average.module  # type: ignore[no-any-return]


class Files(torch.utils.data.Dataset[Any]):
    """The images of a table as timm's loader wants them."""

    transform: Callable[[Any], Any] | None = None

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        self.paths = [folder / name for name in table["ID"]]
        self.labels = table["target"].tolist()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        image = Image.open(self.paths[index]).convert("RGB")
        return self.transform(image) if self.transform else image, self.labels[index]


def say(peer: str, backbone: str, epochs: int) -> None:
    """What it did, on stderr."""
    print(f"{peer} {backbone}: {epochs} epochs, {time.process_time() / 60:.1f} CPU minutes so far", file=sys.stderr)


RUNS: dict[str, Callable[..., np.ndarray[Any, Any]]] = {"fastai": run_fastai, "timm": run_timm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=RUNS)
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--plain", action="store_true", help="RAW is augmented already")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    labels = RUNS[given.peer](
        given.raw, backbone=given.backbone, size=given.size, seconds=60 * given.minutes, plain=given.plain
    )
    ids = pd.read_csv(given.raw / "sample_submission.csv")["ID"]
    write_text(given.out, "\n".join(["ID,target", *(f"{i},{label}" for i, label in zip(ids, labels, strict=True)), ""]))


if __name__ == "__main__":
    main()
