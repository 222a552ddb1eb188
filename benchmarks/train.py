"""Training: the loop and feed against the pure step, `precision: auto` against the best format, ours against peers.

Per model: `of_pure_step` (speed of the loop with its feed over the pure step on tensors in memory: forward, backward,
clipping, AdamW, averaged weights), `loop_ms` (what the loop adds to a step), `vs_timm` and `vs_fastai` (our images a
second over those of timm's training recipe and of fastai, with their settings, from the same PNG files, one thread),
`vs_timm_auto`, `vs_fastai_auto` (the same with `precision: auto`), `auto_choice`, `auto_of_best` (speed of the choice
over the fastest format, measured again at length), `auto_seconds` (what the measuring cost).
All in CPU seconds of one thread, the contenders in turn, the best of the turns. fastai is optional.
Writes benchmarks/results/train.json. Run: python -m benchmarks.train   (--only loop|auto|peers|memory)
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import logging
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn

from benchmarks.train_peers import BATCH, CLASSES, EPOCHS, fastai_learner, png_shard, timm_recipe
from models.catalogue import Catalogue
from models.change import Normalise
from models.checkpoint import Checkpoints
from models.feed import Feed, Rows
from models.fit import fit
from models.loss import Loss
from models.network import build_network
from models.pictures import Decoded, open_pictures
from models.precision import CANDIDATES, FORMATS, apply_format, candidates, measure, region, timed
from models.schema import ModelParams
from models.stopping import Budget
from storage.atomic import write_json
from storage.shards import Shards

RESULTS = Path("benchmarks/results/train.json")
LOOP = {
    "simple_cnn": (16, 16, 300),
    "test_resnet": (32, 64, 40),
    "shufflenet_v2_x0_5": (32, 64, 40),
    "resnet18": (64, 32, 6),
}
AUTO = {
    "mobilenetv3_small_100": 32, "tf_efficientnet_lite0": 32, "convnext_atto": 32, "squeezenet1_1": 32,
    "densenet121": 32, "resnet18": 224,
}  # fmt: skip
PEERS = {"test_resnet": 32, "mobilenetv3_small_100": 32}
TURNS, AT_LENGTH = 3, 12
COPIES = (10_000, 100_000, 1_000_000)
OPTIONS: dict[str, dict[str, Any]] = {"simple_cnn": {"widths": [4, 8]}}


class NoCheckpoints(Checkpoints):
    """Writes nothing: a checkpoint an epoch costs by the epoch, not by the step."""

    def save(self, step: int, state: Any) -> Path:
        return self.folder


def member(name: str, size: int, batch: int, precision: str = "fp32_channels_last") -> ModelParams:
    return ModelParams(
        backbone=name, backbone_options=OPTIONS.get(name, {}), size=size, batch=batch, epochs=1, precision=precision
    )


def ours(params: ModelParams, folder: Path, table: pd.DataFrame, *, steps: int, cache: Path | None = None) -> float:
    """CPU seconds a step of the loop with its feed; the pixels are cached before, or, with `cache`, as part of it."""
    start = time.process_time()
    network, preprocessing = build_network(params, CLASSES)
    apply_format(network, params.precision)
    decoded = Decoded(Catalogue(table), {"s": Shards(folder)}, preprocessing)
    pictures = open_pictures(decoded, folder=cache or folder / "cache", limit_gb=2.0, workers=1)
    n = steps * params.batch
    picture, label = np.arange(n) % len(table), table["label"].to_numpy(np.int64)
    rows = Rows(picture, label[picture], np.full(n, -1), np.ones(n, np.float32))
    chosen = FORMATS[params.precision]
    fabric = Fabric(accelerator="cpu", devices=1, precision=chosen.fabric)  # type: ignore[arg-type]
    feed = Feed(pictures, rows, n_classes=CLASSES, batch=params.batch, seed=0, workers=1)
    normalise = Normalise(preprocessing, channels_last=chosen.channels_last, device="cpu")
    loss = Loss(params, rows.counts(CLASSES))
    start = start if cache else time.process_time()
    with redirect_stderr(io.StringIO()):  # the progress of every run would bury the table
        fit(
            fabric, network, params=params, feed=feed, loss=loss, normalise=normalise, validate=lambda _: {}, seed=0,
            checkpoints=NoCheckpoints(folder / "none"), budget=Budget(None, started=0.0, images_to_predict=0),
        )  # fmt: skip
    return (time.process_time() - start) / steps


def pure(params: ModelParams, *, steps: int) -> float:
    """CPU seconds of the same step, written out, on tensors in memory."""
    network, preprocessing = build_network(params, CLASSES)
    apply_format(network, params.precision)
    images = torch.randn(params.batch, 3, preprocessing.size, preprocessing.size).to(memory_format=torch.channels_last)
    targets = torch.softmax(torch.randn(params.batch, CLASSES), dim=1)
    weights: list[torch.Tensor] = list(network.parameters())
    average: list[torch.Tensor] = list(copy.deepcopy(network).parameters())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    start = 0.0
    for step in range(steps + 2):
        if step == 2:
            start = time.process_time()
        with region(params.precision, "cpu"):
            output = network(images)
        torch.autograd.backward(nn.functional.cross_entropy(output.float(), targets))
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(average, [weight.detach() for weight in weights], 0.01)
    return (time.process_time() - start) / steps


def each_step(params: ModelParams, folder: Path, table: pd.DataFrame, steps: int) -> float:
    """CPU seconds of a step alone: a long run less a short one, so that starting is left out."""
    short, long = (ours(params, folder, table, steps=count) * count for count in (steps, 3 * steps))
    return (long - short) / (2 * steps)


def bench_loop(results: dict[str, Any]) -> None:
    """of_pure_step and loop_ms."""
    for name, (size, batch, steps) in LOOP.items():
        params = member(name, size, batch)
        turns = TURNS if steps < 100 else 3 * TURNS  # a tiny step drowns in what else the machine does
        with tempfile.TemporaryDirectory() as place:
            table = png_shard(Path(place), 512, size)
            found = [
                (pure(params, steps=2 * steps), each_step(params, Path(place), table, steps)) for _ in range(turns)
            ]
        base, loop = (min(column) for column in zip(*found, strict=True))
        entry = {"step_ms": base * 1e3, "of_pure_step": base / loop, "loop_ms": (loop - base) * 1e3}
        say(results, f"{name}@{size}", entry)


def bench_auto(results: dict[str, Any]) -> None:
    """auto_choice, auto_of_best, auto_seconds."""
    for name, size in AUTO.items():
        params = member(name, size, BATCH if size < 100 else 8)

        def build(params: ModelParams = params) -> nn.Module:
            return build_network(params, CLASSES)[0]

        start = time.process_time()
        seconds = measure(build, size=size, batch=params.batch, device="cpu")
        took = time.process_time() - start
        choice = min(seconds, key=lambda key: seconds[key])
        again = at_length(build(), size=size, batch=params.batch)
        entry = {"auto_choice": choice, "auto_of_best": min(again.values()) / again[choice], "auto_seconds": took}
        entry["images_per_second"] = {key: params.batch / value for key, value in again.items()}
        say(results, f"{name}@{size}", entry)


def at_length(network: nn.Module, *, size: int, batch: int) -> dict[str, float]:
    """Seconds a step of every format: as many turns for each, full batch."""
    images = torch.randn(batch, 3, size, size)
    best: dict[str, float] = {}
    for turn in range(AT_LENGTH):
        for name in candidates(network.train()) if turn else CANDIDATES[: len(candidates(network))]:
            chosen = apply_format(network, name)
            layout = torch.channels_last if chosen.channels_last else torch.contiguous_format
            given = images.contiguous(memory_format=layout)
            steps = max(1, int(0.15 / best[name])) if name in best else 1
            seconds = timed(network, given, name, device="cpu", steps=steps)
            best[name] = min(seconds, best.get(name, seconds)) if turn else seconds
    return best


def bench_peers(results: dict[str, Any]) -> None:
    """vs_timm and vs_fastai, first epoch included: ours decodes the files into its cache once."""
    for name, size in PEERS.items():
        choice = str(results.get(f"{name}@{size}", {}).get("auto_choice") or auto_choice(name, size))
        with tempfile.TemporaryDirectory() as place:
            runs = contenders(name, size, Path(place), choice)
            found: dict[str, list[float]] = {key: [] for key in runs}
            for _ in range(TURNS):
                for key, run in runs.items():
                    found[key].append(run())
        best = {key: min(values) for key, values in found.items() if values[0] > 0}
        entry: dict[str, Any] = {"images_per_second": {key: BATCH / value for key, value in best.items()}}
        best["timm"] = min(best["timm"], best.pop("timm_workers"))  # the faster of both
        entry["timm_loads_in"] = "this process" if best["timm"] == min(found["timm"]) else "workers"
        for peer in ("timm", "fastai"):
            if peer in best:
                entry[f"vs_{peer}"], entry[f"vs_{peer}_auto"] = best[peer] / best["ours"], best[peer] / best["auto"]
        say(results, f"{name}@{size}", {**entry, "auto_choice": choice})


def contenders(name: str, size: int, folder: Path, choice: str) -> dict[str, Callable[[], Any]]:
    """The runs on the same files: so many epochs, AdamW, no clipping, no averaged weights, one thread."""
    table = png_shard(folder, 1024, size)
    alike = {"clip": 0.0, "ema": 0.0}

    def run(precision: str) -> float:
        with tempfile.TemporaryDirectory() as cache:  # a cache of its own: decoding the files counts
            params = member(name, size, BATCH, precision).model_copy(update=alike)
            return ours(params, folder, table, steps=EPOCHS * 1024 // BATCH, cache=Path(cache))

    return {
        "ours": lambda: run("fp32_channels_last"),
        "auto": lambda: run(choice),
        "timm": lambda: timm_recipe(name, folder, table, workers=0),
        "timm_workers": lambda: timm_recipe(name, folder, table, workers=1),
        "fastai": lambda: fastai_learner(name, folder, table),
    }


def bench_memory(results: dict[str, Any]) -> None:
    """megabytes of the feed by the number of copies, mapped pages of a file apart, and the bytes of a further copy."""
    plain = [memory_of(count, "plain") for count in COPIES]
    balanced = memory_of(COPIES[-1], "balanced")
    before, last = plain[-2:]  # both have more copies than are read at a time
    each = (last["megabytes"] - before["megabytes"]) * 1e6 / (last["copies"] - before["copies"])
    shown = {f"{entry['copies']:,} copies": round(entry["megabytes"], 1) for entry in plain}
    shown |= {f"{COPIES[-1]:,} copies, balanced": round(balanced["megabytes"], 1)}
    mapped = {"mapped": round(last["mapped"], 1), "mapped, balanced": round(balanced["mapped"], 1)}
    say(results, "memory of the feed", {**shown, **mapped, "bytes_per_further_copy": each, "seconds": last["seconds"]})


def memory_of(count: int, sampler: str) -> dict[str, float]:
    """What benchmarks.train_memory finds in a process of its own, least of three: leftovers of reading vary by 8 MB."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.train_memory", str(count), "--sampler", sampler]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(TURNS)]
    return min((dict(json.loads(done.stdout)) for done in runs), key=lambda found: found["megabytes"])


def auto_choice(name: str, size: int) -> str:
    """What `precision: auto` takes for a model."""
    params = member(name, size, BATCH)
    seconds = measure(lambda: build_network(params, CLASSES)[0], size=size, batch=BATCH, device="cpu")
    return min(seconds, key=lambda key: seconds[key])


def read_results() -> dict[str, Any]:
    """What was measured before, by model."""
    return dict(json.loads(RESULTS.read_text())["models"]) if RESULTS.is_file() else {}


def say(results: dict[str, Any], key: str, entry: dict[str, Any]) -> None:
    """Join an entry into the results, write and print it."""
    results.update(read_results())
    speeds = {**results.get(key, {}).get("images_per_second", {}), **entry.get("images_per_second", {})}
    results[key] = {**results.get(key, {}), **entry, **({"images_per_second": speeds} if speeds else {})}
    machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
    write_json(RESULTS, {**machine, "models": dict(sorted(results.items()))})
    shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in entry.items() if k != "images_per_second"}
    print(f"{key:<28}", "  ".join(f"{k} {v}" for k, v in shown.items()), flush=True)
    if "images_per_second" in entry:
        print(" " * 29 + "images/s: " + ", ".join(f"{k} {v:,.0f}" for k, v in entry["images_per_second"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["loop", "auto", "peers", "memory"])
    only = parser.parse_args().only
    torch.set_num_threads(1)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    results = read_results()
    for name, bench in (("loop", bench_loop), ("auto", bench_auto), ("peers", bench_peers), ("memory", bench_memory)):
        if only in (None, name):
            bench(results)


if __name__ == "__main__":
    main()
