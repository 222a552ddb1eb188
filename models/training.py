"""One training: a network with all that moves it, step by step and epoch by epoch. The loop is in fit.py.

Everything random is derived from (seed, step, part, process), so nothing but what `save` writes has to survive.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from models.average import Average, State, running_mean
from models.change import Normalise, image_augmentation, mix
from models.checkpoint import Checkpoints
from models.feed import Batch, Feed
from models.material import Scores
from models.network import Network, freeze, frozen_blocks
from models.optimise import Rate, build_optimizer, fuse, set_rate
from models.progress import Report
from models.schema import ModelParams
from models.seeds import derive
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


class Training:
    """A network, its optimiser, rate and average, and where it stands."""

    def __init__(
        self,
        fabric: Fabric,
        network: Network,
        *,
        params: ModelParams,
        feed: Feed,
        loss: nn.Module,
        normalise: Normalise,
        seed: int,
    ) -> None:
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # Fabric sets it; each step would then open a library
        self.fabric, self.network, self.params, self.feed = fabric, network, params, feed
        self.loss, self.normalise, self.seed = loss, normalise, seed
        total, warmup = (round(epochs * feed.steps_per_epoch) for epochs in (params.epochs, params.warmup_epochs))
        self.rate = Rate(params.schedule, total, warmup, params.final_lr, params.plateau_patience)
        optimizer = build_optimizer(network, params, layer_decay=params.layer_decay)
        if fabric.device.type == "cpu":
            fuse(optimizer)
        self.module, self.optimizer = fabric.setup(network, optimizer)
        self.plain = fabric.world_size == 1 and params.precision != "fp16"  # Fabric's wrappers cost 0.2 ms a step
        self.weights = list(network.parameters())
        self.average = Average(network, params.ema) if params.ema else None
        self.augment = image_augmentation(params)
        self.progress = Progress()
        network.train()

    @property
    def predictor(self) -> Network:
        """The network that predicts: the averaged one, where there is one."""
        return self.average.network if self.average else self.network

    def step(self, step: int, batches: list[Batch]) -> float:
        """Move the weights once; returns the step's loss."""
        freeze_until(self.network, self.params, step / self.feed.steps_per_epoch)
        set_rate(self.optimizer, self.params.lr * self.rate.factor(step, scores_of(self.progress.history, self.params)))
        value = sum(self.backward(step, part, batch, parts=len(batches)) for part, batch in enumerate(batches))
        self.refuse_nan("loss", value, step, batches)
        if self.params.clip:
            self.clip(step, batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(step)
        self.progress.step, self.progress.loss_sum = step + 1, self.progress.loss_sum + value
        return value

    def backward(self, step: int, part: int, batch: Batch, *, parts: int) -> float:
        """Add a batch's share to the gradient; returns its share of the loss."""
        place = (step, part, self.fabric.global_rank)
        changed = derive(self.seed, "change", *place)
        pixels = self.augment(batch.images, changed) if self.augment else batch.images
        images, targets = mix(self.normalise(pixels), batch.targets.to(self.fabric.device), self.params, seed=changed)
        reseed(derive(self.seed, "step", *place), self.fabric.device)
        if self.plain:
            with self.fabric.autocast():
                output = self.network(images)
            error = self.loss(output.float(), targets) / parts
            error.backward()
            return float(error.detach())
        with self.fabric.no_backward_sync(self.module, enabled=part < parts - 1):
            error = self.loss(self.module(images), targets) / parts
            self.fabric.backward(error)
        return float(error.detach())

    def clip(self, step: int, batches: list[Batch]) -> None:
        """Shorten the gradient; fp16, which Fabric scales, overflows now and then, and skips the step."""
        if self.params.precision == "fp16":
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.params.clip, error_if_nonfinite=False)
            return
        norm = nn.utils.clip_grad_norm_(self.weights, self.params.clip)
        self.refuse_nan("the gradient's norm", float(norm), step, batches)

    def refuse_nan(self, what: str, value: float, step: int, batches: list[Batch]) -> None:
        """Stop at the step whose loss or gradient is not a number, before it moves a weight, naming its images."""
        if math.isfinite(value):
            return
        numbers = [int(number) for batch in batches for number in self.feed.rows.picture[batch.rows]]
        names = ", ".join(self.feed.pictures.name(number) for number in numbers[:10])
        epoch, index = divmod(step, self.feed.steps_per_epoch)
        raise DataError(
            f"{what} is {value} at step {step:,} (epoch {epoch + 1}, batch {index + 1}); images: {names}"
            f"{' ...' if len(numbers) > 10 else ''}. Lower lr, set clip: 1, or precision: fp32; the last checkpoint is "
            "intact"
        )

    def end_epoch(self, validate: Validate, report: Report) -> None:
        """Validate, note the curves, keep weights, decide whether to go on."""
        params, progress, predictor = self.params, self.progress, self.predictor
        epoch = progress.step // self.feed.steps_per_epoch
        looks = epoch % params.validate_every == 0 or epoch == params.epochs
        scores = validate(predictor) if looks else {}
        self.network.train()
        train_loss = progress.loss_sum / self.feed.steps_per_epoch
        lr = max(group["lr"] for group in self.optimizer.param_groups)
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

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint, once for all processes."""
        self.refuse_broken_weights()
        if self.fabric.global_rank == 0:
            state = {
                "progress": {name: value for name, value in vars(self.progress).items() if name != "kept"},
                "kept": self.progress.kept,
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict() if self.average else None,
                "optimizer": self.optimizer.state_dict(),
            }
            checkpoints.save(self.progress.step, state)
        self.fabric.barrier()

    def refuse_broken_weights(self) -> None:
        """Keep weights that are not numbers out of the checkpoints: the one before stays the last."""
        broken = [name for name, value in self.network.state_dict().items() if not bool(value.isfinite().all())]
        if broken:
            raise DataError(
                f"weights are not numbers after step {self.progress.step:,}: {', '.join(broken[:5])}. Lower lr, set "
                "clip: 1, or precision: fp32; the last checkpoint is intact"
            )

    def restore(self, checkpoints: Checkpoints) -> Progress:
        """Load the newest good checkpoint into all parts; returns where that stands, the start where there is none."""
        state = checkpoints.load()
        if state is None:
            return self.progress
        self.network.load_state_dict(state["network"])
        if self.average:
            self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)  # the weight's layout
        self.progress = Progress(**state["progress"], kept=state["kept"])
        if self.progress.stopped.startswith("time budget"):
            self.progress.stopped = ""  # there is time again
        return self.progress


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
