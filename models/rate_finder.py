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
from models.progress import Report
from models.schema import ModelParams
from models.seeds import derive

LOWEST, HIGHEST, SMOOTHING, BLOWN = 1e-5, 1.0, 0.9, 4.0
FEWEST = 40  # steps; each is then less than an eighth of a decade
FLOOR = 0.1  # share of the whole fall that may still lie above the lowest loss


@dataclass(frozen=True)
class Curve:
    """Rates tried, the smoothed loss at each, and the rate that is proposed: none where the curve tells nothing."""

    rates: list[float]
    losses: list[float]
    proposal: float | None


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
    """Train for `steps` steps from 1e-5 to 1 or until the loss is four times its best; the network is used up."""
    optimizer = build_optimizer(network, params, layer_decay=params.layer_decay)
    network.train()
    rates: list[float] = []
    losses: list[float] = []
    mean, best = 0.0, math.inf
    with Report("learning rate", total=steps) as report:
        for step, parts in enumerate(feed.steps(0, steps)):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / max(1, steps - 1))
            set_rate(optimizer, rate)
            torch.manual_seed(derive(seed, "finder", step))
            error = loss(network(normalise(parts[0].images)), parts[0].targets)
            error.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            value = float(error.detach())
            mean = SMOOTHING * mean + (1 - SMOOTHING) * value
            lagging = mean / (1 - SMOOTHING ** (step + 1))
            best = min(best, lagging)
            if not math.isfinite(lagging) or lagging > BLOWN * best:
                break
            report.step(images=feed.together, loss=value)
            rates.append(rate)
            losses.append(value)
    smooth = smoothed(losses)
    return Curve(rates, smooth, propose(rates, losses, smooth))


def smoothed(losses: list[float]) -> list[float]:
    """Means over a tenth of the steps, centred: a mean of what came before would call the floor too late."""
    half = max(1, len(losses) // 20)
    return [float(np.mean(losses[max(0, i - half) : i + half + 1])) for i in range(len(losses))]


def propose(rates: list[float], losses: list[float], smooth: list[float]) -> float | None:
    """A third of the rate at which the smoothed loss reaches its floor, or none where no floor stands out.

    The floor, and not the lowest point: a curve is often flat from there to where it explodes, and every rate on it
    but the first is needlessly high. None where the fall is less than twice what single steps scatter.
    """
    if len(smooth) < FEWEST // 2:
        return None
    start, low = float(np.mean(losses[: max(3, len(losses) // 10)])), min(smooth)
    scatter = float(np.std(np.subtract(losses, smooth)[: int(np.argmin(smooth)) + 1]))
    if not start - low > max(2 * scatter, 0.02 * abs(start)):
        return None
    return rates[next(i for i, value in enumerate(smooth) if value <= low + FLOOR * (start - low))] / 3
