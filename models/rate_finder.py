"""A learning rate for a model: a short training with a rate that grows step by step (Smith, arXiv:1506.01186)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from models.change import Normalise
from models.feed import Feed
from models.loss import Loss
from models.material import Material
from models.network import Network, build_network
from models.optimise import build_optimizer, set_rate
from models.pictures import Decoded
from models.precision import apply_format
from models.pretrained import load_pretrained
from models.schema import ModelParams
from models.seeds import derive

LOWEST, HIGHEST, SMOOTHING, BLOWN = 1e-6, 1.0, 0.9, 4.0


@dataclass(frozen=True)
class Curve:
    """Rates tried, the smoothed loss at each, and the rate that is proposed."""

    rates: list[float]
    losses: list[float]
    proposal: float


def rate_curve(params: ModelParams, material: Material, *, steps: int) -> Curve:
    """The learning-rate finder on a fold's training rows, in fp32 on the CPU."""
    n_classes, seed = len(material.class_names), derive(params.seed, "finder")
    torch.manual_seed(seed)
    network, preprocessing = build_network(params, n_classes)
    load_pretrained(network, params)
    apply_format(network, "fp32_channels_last")
    pictures = Decoded(material.pictures, material.stores, preprocessing)
    feed = Feed(pictures, material.train, n_classes=n_classes, batch=params.batch, seed=seed, workers=params.workers)
    loss = Loss(params, material.train.counts(n_classes))
    normalise = Normalise(preprocessing, channels_last=True, device="cpu")
    return find_rate(network, feed, params=params, loss=loss, normalise=normalise, steps=steps, seed=seed)


def find_rate(
    network: Network, feed: Feed, *, params: ModelParams, loss: nn.Module, normalise: Normalise, steps: int, seed: int
) -> Curve:
    """Train for `steps` steps from 1e-6 to 1 or until the loss is four times its best; the network is used up."""
    optimizer = build_optimizer(network, params, layer_decay=params.layer_decay)
    network.train()
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for step, parts in enumerate(feed.steps(0, steps)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / max(1, steps - 1))
        set_rate(optimizer, rate)
        torch.manual_seed(derive(seed, "finder", step))
        error = loss(network(normalise(parts[0].images)), parts[0].targets)
        error.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(error.detach())
        smooth = mean / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or (losses and smooth > BLOWN * min(losses)):
            break
        rates.append(rate)
        losses.append(smooth)
    return Curve(rates, losses, propose(rates, losses))


def propose(rates: list[float], losses: list[float]) -> float:
    """A third of the rate at which the smoothed loss is lowest: before the floor, where it still falls fast."""
    return rates[int(np.argmin(losses))] / 3
