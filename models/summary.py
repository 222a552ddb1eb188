"""What a network is made of: parameters, multiply-adds and memory, layer by layer, from one traced forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.network import Network

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Line:
    """One block: its outputs' shape, parameters (those that train), multiply-adds of one image, output bytes."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    activations: int  # bytes of all outputs inside it, one image


@dataclass(frozen=True)
class Summary:
    """A network's lines and sums."""

    lines: list[Line]
    parameters: int
    trainable: int
    multiply_adds: int
    activations: int  # bytes for one image

    def training_bytes(self, batch: int) -> int:
        """Weights, gradients, two moments of Adam and the average, and the outputs that the backward pass needs."""
        return BYTES * (2 * self.parameters + 3 * self.trainable) + batch * self.activations


def multiply_adds(module: nn.Module, output: torch.Tensor) -> int:
    """Multiply-adds of a convolution or linear layer for one image; other layers count as free."""
    if isinstance(module, nn.Conv2d):
        each = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
        return int(output[0].numel() * each)
    if isinstance(module, nn.Linear):
        return int(output[0].numel() * module.in_features)
    return 0


@torch.no_grad()
def summarise(network: Network, size: int) -> Summary:
    """Trace one image of `size` px through the network."""
    owner: dict[nn.Module, str] = {}
    for name, module in network.named_modules():
        parts = name.split(".")
        depth = 1 if parts[0] == "head" else 2
        owner[module] = ".".join(parts[:depth]) or "network"
    work: dict[str, list[Any]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            entry = work.setdefault(owner[module], [(), 0, 0])
            entry[0] = tuple(output.shape[1:])
            entry[1] += multiply_adds(module, output)
            entry[2] += output[0].numel() * BYTES if not list(module.children()) else 0

    handles = [module.register_forward_hook(note) for module in network.modules()]
    training = network.training
    network.eval()(torch.zeros(1, 3, size, size))
    network.train(training)
    for handle in handles:
        handle.remove()
    lines = []
    for name, (shape, adds, kept) in work.items():
        if name in ("network", "backbone"):
            continue
        own = [p for full, p in network.named_parameters() if full == name or full.startswith(f"{name}.")]
        trains = sum(p.numel() for p in own if p.requires_grad)
        lines.append(Line(name, shape, sum(p.numel() for p in own), trains, adds, kept))
    everything = list(network.parameters())
    return Summary(
        lines=lines,
        parameters=sum(p.numel() for p in everything),
        trainable=sum(p.numel() for p in everything if p.requires_grad),
        multiply_adds=sum(entry[1] for entry in work.values()),
        activations=sum(entry[2] for entry in work.values()),
    )
