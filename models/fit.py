"""The training loop. Everything random is derived from (seed, step), so a resumed training is the uninterrupted one.

State: weights, their average, the optimiser, the step, the history. It goes to a checkpoint at the end of each epoch,
every few minutes, and when a signal asks for the end; nothing else has to survive.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn

from models.average import Average, State, running_mean
from models.change import Normalise, image_augmentation, mix
from models.checkpoint import Checkpoints
from models.feed import Batch, Feed
from models.material import Scores
from models.network import Network, freeze, frozen_blocks
from models.optimise import Rate, build_optimizer, set_rate
from models.progress import Report
from models.schema import ModelParams
from models.seeds import derive
from models.stopping import Budget, Signals
from storage.errors import DataError

Validate = Callable[[Network], Scores]


@dataclass
class Progress:
    """Where a training stands: what a checkpoint holds beside the weights."""

    step: int = 0
    loss_sum: float = 0.0  # of the running epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per epoch
    kept: State | None = None  # the best weights, or the mean of the last epochs
    stopped: str = ""  # why training ended before its last epoch


def fit(
    fabric: Fabric,
    network: Network,
    *,
    params: ModelParams,
    feed: Feed,
    loss: nn.Module,
    normalise: Normalise,
    validate: Validate,
    checkpoints: Checkpoints,
    budget: Budget,
    seed: int,
    title: str = "",
) -> Progress:
    """Train `network` in place, or go on from its checkpoint; leaves in it the weights that predict.

    Raises DataError where the loss is not a number, SystemExit(128 + signal) after a signal (checkpoint written).
    """
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # Fabric sets it; each optimiser step then opens a library
    total = params.epochs * feed.steps_per_epoch
    warmup = round(params.warmup_epochs * feed.steps_per_epoch)
    rate = Rate(params.schedule, total, warmup, params.final_lr, params.plateau_patience)
    optimizer = build_optimizer(network, params, layer_decay=params.layer_decay)
    module, optimizer = fabric.setup(network, optimizer)
    average = Average(network, params.ema) if params.ema else None
    progress = restore(checkpoints, network, average, optimizer)
    augment = image_augmentation(params)
    saved = time.monotonic()
    network.train()
    with Signals() as signals, Report(title, total=total, start=progress.step, silent=fabric.global_rank > 0) as report:
        for step, parts in enumerate(feed.steps(progress.step, total), progress.step):
            if progress.stopped:
                break
            freeze_until(network, params, step / feed.steps_per_epoch)
            set_rate(optimizer, params.lr * rate.factor(step, scores_of(progress.history, params)))
            value = 0.0
            for part, batch in enumerate(parts):
                changed = derive(seed, "change", step, part, fabric.global_rank)
                pixels = augment(batch.images, changed) if augment else batch.images
                images, targets = mix(normalise(pixels), batch.targets.to(fabric.device), params, seed=changed)
                reseed(derive(seed, "step", step, part, fabric.global_rank), fabric.device)
                with fabric.no_backward_sync(module) if part < len(parts) - 1 else nullcontext():
                    error = loss(module(images), targets) / len(parts)
                    fabric.backward(error)
                value += float(error.detach())
            refuse_nan(value, step, parts, feed)
            if params.clip:
                fabric.clip_gradients(module, optimizer, max_norm=params.clip, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if average:
                average.update(step)
            progress.step, progress.loss_sum = step + 1, progress.loss_sum + value
            report.step(images=feed.together, loss=value)
            if progress.step % feed.steps_per_epoch == 0:
                end_of_epoch(
                    progress, network, average=average, params=params, feed=feed, validate=validate,
                    optimizer=optimizer, report=report,
                )  # fmt: skip
            caught, spent = agreed(fabric, signals.caught, budget.spent(feed.together))
            if spent:
                progress.stopped = progress.stopped or f"time budget, after step {progress.step:,} of {total:,}"
            due = time.monotonic() - saved > 60 * params.checkpoint_minutes
            if due or caught or progress.stopped or progress.step % feed.steps_per_epoch == 0:
                save(fabric, checkpoints, progress, network=network, average=average, optimizer=optimizer)
                saved = time.monotonic()
            if caught and progress.step < total:
                report.say(f"stopped by signal {caught} at step {progress.step:,}; the next run continues there")
                raise SystemExit(128 + caught)
    network.load_state_dict(progress.kept or (average.network if average else network).state_dict())
    return progress


def agreed(fabric: Fabric, caught: int, spent: bool) -> tuple[int, bool]:
    """The signal and the end of the budget of any process, the same for all, or they would wait for each other."""
    if fabric.world_size == 1:
        return caught, spent
    given = torch.tensor([float(caught), float(spent)], device=fabric.device)
    values = cast(torch.Tensor, fabric.all_reduce(given, reduce_op="max")).tolist()
    return int(values[0]), bool(values[1])


def reseed(seed: int, device: torch.device) -> None:
    """Seed torch's generators; torch.manual_seed also asks every other backend, which costs half a millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def freeze_until(network: Network, params: ModelParams, epoch: float) -> None:
    """Gradual unfreezing: let one more block train when its time has come."""
    if params.unfreeze_every:
        freeze(network, frozen_blocks(params, len(network.blocks), epoch=epoch))


def scores_of(history: list[dict[str, Any]], params: ModelParams) -> list[float]:
    """The chosen metric on the chosen view, validation by validation, as higher is better."""
    sign = -1.0 if params.metric == "log_loss" else 1.0
    found = [entry["scores"].get(params.view) or entry["scores"].get("clean") for entry in history if entry["scores"]]
    return [sign * scores[params.metric] for scores in found if scores]


def end_of_epoch(
    progress: Progress,
    network: Network,
    *,
    average: Average[Network] | None,
    params: ModelParams,
    feed: Feed,
    validate: Validate,
    optimizer: torch.optim.Optimizer,
    report: Report,
) -> None:
    """Validate, note the curves, keep weights, decide whether to go on."""
    epoch = progress.step // feed.steps_per_epoch
    predictor = average.network if average else network
    looks = epoch % params.validate_every == 0 or epoch == params.epochs
    scores = validate(predictor) if looks else {}
    network.train()
    train_loss = progress.loss_sum / feed.steps_per_epoch
    lr = max(group["lr"] for group in optimizer.param_groups)
    progress.history.append({"epoch": epoch, "lr": lr, "train_loss": train_loss, "scores": scores})
    progress.loss_sum = 0.0
    ranked = scores_of(progress.history, params)
    if params.keep == "best" and looks and ranked[-1] == max(ranked) and ranked.count(ranked[-1]) == 1:
        progress.kept = {name: value.detach().clone() for name, value in predictor.state_dict().items()}
    first = params.epochs - params.average_last
    if params.average_last and epoch > first:
        progress.kept = running_mean(progress.kept, predictor.state_dict(), epoch - first - 1)
    if params.patience and looks and len(ranked) - 1 - ranked.index(max(ranked)) >= params.patience:
        progress.stopped = f"early, after epoch {epoch}: no better score in {params.patience} validations"
    values = ", ".join(f"{view} {params.metric} {scores[view][params.metric]:.4f}" for view in scores)
    report.say(
        f"epoch {epoch} of {params.epochs}: train loss {train_loss:.4f}, {values} ({report.speed:,.0f} images/s)"
    )


def refuse_nan(value: float, step: int, parts: list[Batch], feed: Feed) -> None:
    """Stop at the step whose loss is not a number, naming its images."""
    if math.isfinite(value):
        return
    names = [str(name) for batch in parts for name in feed.rows.name[batch.rows]]
    epoch, index = divmod(step, feed.steps_per_epoch)
    raise DataError(
        f"loss is {value} at step {step:,} (epoch {epoch + 1}, batch {index + 1}); images: {', '.join(names[:10])}"
        f"{' ...' if len(names) > 10 else ''}. Lower lr, set clip: 1, or precision: fp32; the last checkpoint is intact"
    )


def save(
    fabric: Fabric,
    checkpoints: Checkpoints,
    progress: Progress,
    *,
    network: Network,
    average: Average[Network] | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint, once for all processes."""
    if fabric.global_rank == 0:
        state = {
            "progress": {name: value for name, value in vars(progress).items() if name != "kept"},
            "kept": progress.kept,
            "network": network.state_dict(),
            "average": average.network.state_dict() if average else None,
            "optimizer": optimizer.state_dict(),
        }
        checkpoints.save(progress.step, state)
    fabric.barrier()


def restore(
    checkpoints: Checkpoints, network: Network, average: Average[Network] | None, optimizer: torch.optim.Optimizer
) -> Progress:
    """Load the newest good checkpoint into all parts; a fresh Progress where there is none."""
    state = checkpoints.load()
    if state is None:
        return Progress()
    network.load_state_dict(state["network"])
    if average:
        average.network.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)  # the weight's own layout
    progress = Progress(**state["progress"], kept=state["kept"])
    if progress.stopped.startswith("time budget"):
        progress.stopped = ""  # there is time again
    return progress
