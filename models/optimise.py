"""Optimisers of timm, and learning rates as a function of the step: nothing to store, nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.network import Network
from models.schema import OptimiserParams
from storage.errors import ParamsError

ONE_CYCLE_START, ONE_CYCLE_RISE = 1 / 25, 0.3  # as torch.optim.lr_scheduler.OneCycleLR


@dataclass(frozen=True)
class Rate:
    """The learning rate's factor at a step of the training."""

    schedule: str
    total: int
    warmup: int
    final: float
    patience: int

    def factor(self, step: int, scores: Sequence[float] = ()) -> float:
        """Between 0 and 1; `scores` (higher is better) of the validations so far matter for plateau only."""
        if self.schedule == "one_cycle":
            return self.one_cycle(step)
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if self.schedule == "cosine":
            progress = (step - self.warmup) / max(1, self.total - self.warmup)
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return 0.1 ** reductions(scores, self.patience) if self.schedule == "plateau" else 1.0

    def one_cycle(self, step: int) -> float:
        """Cosine from 1/25 up to 1 over 30% of the steps, then down to `final`."""
        rise = max(1.0, ONE_CYCLE_RISE * self.total - 1)
        if step <= rise:
            start, end, progress = ONE_CYCLE_START, 1.0, step / rise
        else:
            start, end, progress = 1.0, self.final, (step - rise) / max(1.0, self.total - 1 - rise)
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def reductions(scores: Sequence[float], patience: int) -> int:
    """How often a plateau schedule has cut the rate after these scores."""
    best, waited, count = -math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited > patience:
            count, waited = count + 1, 0
    return count


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of weights its rate: `rate` times the group's own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def weight_groups(network: Network, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Weights with their decay (none for biases, norms and other vectors) and the scale of their rate.

    The head has scale 1, the last block of the backbone layer_decay, the one before it layer_decay^2, and so on.
    """
    depth = len(network.blocks)
    scales = {name: layer_decay ** (depth - i) for i, block in enumerate(network.blocks) for name in block}
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decay = 0.0 if parameter.ndim <= 1 else weight_decay
        groups.setdefault((scales.get(name, 1.0), decay), []).append(parameter)
    return [{"params": p, "weight_decay": decay, "lr_scale": scale} for (scale, decay), p in groups.items()]


def build_optimizer(network: Network, params: OptimiserParams, *, layer_decay: float) -> torch.optim.Optimizer:
    """The optimiser that the parameters name; raises ParamsError for a name that timm does not know."""
    from timm.optim._optim_factory import create_optimizer_v2, list_optimizers

    groups = weight_groups(network, weight_decay=params.weight_decay, layer_decay=layer_decay)
    known = [str(name) for name in list_optimizers()]
    if params.optimizer not in known:
        raise ParamsError(f"optimizer {params.optimizer!r} is not known; known: {', '.join(known)}")
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        groups, opt=params.optimizer, lr=params.lr, weight_decay=params.weight_decay, filter_bias_and_bn=False
    )
    for group in optimizer.param_groups:
        if "foreach" in group:
            group["foreach"] = True  # torch's default on CPU is weight by weight
    return optimizer


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """One kernel for a whole group of weights where the optimiser has one: half the time of a step on the CPU."""
    for group in optimizer.param_groups:
        if "fused" in group:
            group["fused"], group["foreach"] = True, False
