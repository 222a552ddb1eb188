"""Averages of weights over time: the exponential one that predicts, and the plain one over the last epochs."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
State = dict[str, torch.Tensor]


class Average(Generic[AnyNetwork]):
    """An exponential moving average of a network; early on it forgets faster: decay = min(d, (1 + n) / (10 + n))."""

    def __init__(self, network: AnyNetwork, decay: float) -> None:
        self.network: AnyNetwork = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.decay = decay
        ours, theirs = self.network.state_dict().values(), network.state_dict(keep_vars=True).values()
        pairs = list(zip(ours, theirs, strict=True))
        self.moving = [(a, b) for a, b in pairs if a.is_floating_point()]
        self.counters = [(a, b) for a, b in pairs if not a.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network after its step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([a for a, _ in self.moving], [b.detach() for _, b in self.moving], 1 - decay)
        for a, b in self.counters:
            a.copy_(b)


def running_mean(mean: State | None, new: State, count: int) -> State:
    """The mean of `count` + 1 states from that of `count` states and one more; integers are the new ones."""
    if mean is None:
        return {name: value.detach().clone() for name, value in new.items()}
    return {
        name: mean[name].lerp(value, 1 / (count + 1)) if value.is_floating_point() else value.clone()
        for name, value in new.items()
    }
