"""One member on one fold, from rows to weights and predictions: the nouns of this package put together."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import shutil
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from models.change import Normalise
from models.checkpoint import Checkpoints
from models.feed import Feed, Online
from models.fit import fit
from models.loss import Loss
from models.material import Material, judged_view
from models.memory import batch_that_fits
from models.network import Network, build_network
from models.pictures import Decoded, Pictures, open_pictures
from models.precision import FORMATS, apply_format, choose
from models.predict import LogProbabilities, predict
from models.preprocessing import Preprocessing
from models.pretrained import load_pretrained
from models.schema import ModelParams
from models.seeds import derive
from models.stopping import Budget
from models.tta import choose_views, mean_of_views
from models.validation import flattered, validation, warn_of_chance
from storage.atomic import sha256

WITHOUT_EFFECT = {  # parameters that leave the trained weights alone
    "predict_batch", "tta", "tta_keep", "figures", "worst", "checkpoint_minutes", "cache_gb", "workers", "time_budget",
}  # fmt: skip
Views = dict[str, LogProbabilities]
AFTERWARDS = {
    "documents",
    "drawing",
    "files",
    "onnx_file",
    "optimism",
    "rate_finder",
    "report",
    "summary",
    "tta",
}  # of our code
PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Fitted:
    """One network of a fold."""

    network: Network
    history: list[dict[str, Any]]
    valid: Views
    test: Views
    stopped: str  # why before its last epoch; empty: it was not
    optimism: float


@dataclass(frozen=True)
class Trained:
    """What training leaves."""

    networks: list[Network]
    preprocessing: Preprocessing
    history: list[list[dict[str, Any]]]  # per seed
    valid: LogProbabilities  # rows as in Material.valid
    test: LogProbabilities
    views: list[str]
    plain: LogProbabilities | None  # `valid` of the plain view alone, where views are averaged
    precision: str
    speeds: dict[str, float]  # seconds an image of each precision that was measured
    stopped: str
    seconds: float
    optimism: float  # of keep: best, in macro-F1; 0 otherwise
    rank: int  # of the process; only 0 writes


def train_member(
    name: str,
    fold: int,
    *,
    params: ModelParams,
    material: Material,
    state_folder: Path,
    online: Online | None = None,
    started: float | None = None,
) -> Trained:
    """Train `params.seeds` networks on a fold and predict its held-out rows and the test set."""
    started = time.monotonic() if started is None else started
    begun = time.monotonic()
    if params.threads:
        torch.set_num_threads(params.threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    precision, speeds = resolve_precision(params, state_folder, len(material.class_names))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=params.accelerator,
        devices=params.devices,
        num_nodes=params.nodes,
        strategy="ddp" if params.devices * params.nodes > 1 else "auto",
        precision=cast(Any, FORMATS[precision].fabric),
    )
    fabric.launch()
    trained: list[Fitted] = []
    preprocessing = build_network(params, len(material.class_names))[1]
    decoded = Decoded(material.pictures, material.stores, preprocessing)
    pictures = open_pictures(decoded, folder=state_folder / "images", limit_gb=params.cache_gb, workers=params.workers)
    for number in range(params.seeds):
        seed = derive(params.seed, fold, number)
        torch.manual_seed(derive(seed, "weights"))
        network, _ = build_network(params, len(material.class_names))
        load_pretrained(network, params)
        key = run_key(params, fold=fold, number=number, identity=material.identity, precision=precision)
        checkpoints = Checkpoints(state_folder / "checkpoints" / f"{name}-{fold}-{number}" / key)
        guard = checkpoints.locked(f"{name} fold {fold}") if fabric.global_rank == 0 else nullcontext()
        with guard:
            trained.append(
                train_one(
                    fabric, network, params=params, material=material, pictures=pictures, precision=precision,
                    checkpoints=checkpoints, seed=seed, online=online, started=started, title=f"{name} fold {fold}",
                )
            )  # fmt: skip
        if fabric.global_rank == 0:
            forget_others(checkpoints)
    valid = mean_over_seeds([entry.valid for entry in trained])
    test = mean_over_seeds([entry.test for entry in trained])
    judged = material.valid_view == judged_view(material.valid_view)
    views = choose_views({v: x[judged] for v, x in valid.items()}, material.valid.label[judged], keep=params.tta_keep)
    if fabric.global_rank == 0:
        warn_of_chance(f"{name} fold {fold}", params, material, mean_of_views(valid, views))
    return Trained(
        networks=[entry.network for entry in trained],
        preprocessing=preprocessing,
        history=[entry.history for entry in trained],
        valid=mean_of_views(valid, views),
        test=mean_of_views(test, views),
        views=views,
        plain=valid["plain"] if len(views) > 1 else None,
        precision=precision,
        speeds=speeds,
        stopped="; ".join(entry.stopped for entry in trained if entry.stopped),
        seconds=time.monotonic() - begun,
        optimism=float(np.mean([entry.optimism for entry in trained])),
        rank=fabric.global_rank,
    )


def train_one(
    fabric: Fabric,
    network: Network,
    *,
    params: ModelParams,
    material: Material,
    pictures: Pictures,
    precision: str,
    checkpoints: Checkpoints,
    seed: int,
    online: Online | None,
    started: float,
    title: str,
) -> Fitted:
    """One network: fit, then predict; both predictions by view."""
    n_classes = len(material.class_names)
    chosen = apply_format(network, precision)
    normalise = Normalise(pictures.preprocessing, channels_last=chosen.channels_last, device=fabric.device)
    feed = Feed(
        pictures, material.train, n_classes=n_classes, batch=params.batch, seed=seed, accumulate=params.accumulate,
        sampler=params.sampler, epoch_images=params.epoch_images, workers=params.workers, online=online,
        world=fabric.world_size, rank=fabric.global_rank, folder=material.pictures.folder,
    )  # fmt: skip
    loss = Loss(params, material.train.counts(n_classes)).to(fabric.device)

    def run(model: Network, numbers: npt.NDArray[np.int64], views: tuple[str, ...]) -> dict[str, LogProbabilities]:
        return predict(
            model, pictures, numbers=numbers, normalise=normalise, autocast=fabric.autocast,
            batch=params.predict_batch, workers=params.workers, views=views,
        )  # fmt: skip

    if fabric.global_rank == 0:
        print(
            f"{title}: {params.backbone} at {pictures.preprocessing.size} px, {len(material.train):,} images, "
            f"{params.epochs} epochs of {feed.steps_per_epoch:,} steps, {precision}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    budget = Budget(params.time_budget, started=started, images_to_predict=len(material.valid) + len(material.test))
    looks: list[npt.NDArray[np.int64]] = []  # labels predicted at each validation
    with batch_that_fits(network, params.batch, size=pictures.preprocessing.size):
        progress = fit(
            fabric, network, params=params, feed=feed, loss=loss, normalise=normalise,
            validate=validation(fabric, run, material, looks), checkpoints=checkpoints, budget=budget, seed=seed,
            title=title,
        )  # fmt: skip
    views = ("plain", *params.tta)
    valid = run(network, material.valid.picture, views)
    gain = flattered(looks, material, seed=seed) if params.keep == "best" else 0.0
    if gain:
        print(f"{title}: choosing the epoch flatters the held-out macro F1 by about {gain:.4f}", file=sys.stderr)
    test = run(network, material.test, views)
    return Fitted(network, progress.history, valid, test, progress.stopped, gain)


def resolve_precision(params: ModelParams, state_folder: Path, n_classes: int) -> tuple[str, dict[str, float]]:
    """The precision's name; `auto` is measured once per network and machine, and shared by all folds."""
    if params.precision != "auto":
        return params.precision, {}
    device = "cuda" if params.accelerator in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
    preprocessing = build_network(params, n_classes)[1]
    identity = f"{params.backbone} {json.dumps(params.backbone_options, sort_keys=True)} {params.head}"
    return choose(
        lambda: build_network(params, n_classes)[0], identity=identity, size=preprocessing.size, batch=params.batch,
        device=device, cache=state_folder / "precision.json",
    )  # fmt: skip


def run_key(params: ModelParams, *, fold: int, number: int, identity: str, precision: str) -> str:
    """A hash of all that determines the weights: parameters, data, code, versions, threads."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in AFTERWARDS)
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    weights = sha256(params.pretrained) if Path(params.pretrained).is_file() else ""
    parts = [
        params.model_dump(mode="json", exclude=WITHOUT_EFFECT), weights, fold, number, identity, precision,
        torch.get_num_threads(), versions(), hashlib.sha256(code.encode()).hexdigest(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def versions() -> dict[str, str]:
    """Versions of the packages that decide about numbers."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def forget_others(checkpoints: Checkpoints) -> None:
    """A finished training needs its last checkpoint alone; those of other parameters or data go."""
    for old in checkpoints.files()[1:]:
        old.unlink()
    for folder in checkpoints.folder.parent.iterdir():
        if folder != checkpoints.folder:
            shutil.rmtree(folder, ignore_errors=True)


def mean_over_seeds(parts: list[dict[str, LogProbabilities]]) -> dict[str, LogProbabilities]:
    """The mean probability over a fold's networks, view by view."""
    return {
        view: mean_of_views({str(i): part[view] for i, part in enumerate(parts)}, [str(i) for i in range(len(parts))])
        for view in parts[0]
    }
