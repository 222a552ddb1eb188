"""Number formats: what each name means, and which is fastest for a network on this machine."""

from __future__ import annotations

import fcntl
import functools
import json
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from storage.atomic import write_json

ROUNDS, SECONDS = 5, 8.0  # turns in which each format is timed, after a first short one, and time for further ones
TURN, STEP = 0.15, 0.8  # seconds: of a turn, about; of a step, at most
HOPELESS, BEATEN = 1.3, 1.1  # so many times slower than the best: no more turns; no further ones


@dataclass(frozen=True)
class Format:
    """Fabric's precision, the memory layout, and whether depthwise convolutions stay in fp32."""

    fabric: str
    channels_last: bool = True
    depthwise_fp32: bool = False


FORMATS = {
    "fp32": Format("32-true", channels_last=False),
    "fp32_channels_last": Format("32-true"),
    "bf16_channels_last": Format("bf16-mixed"),
    "bf16_depthwise_fp32": Format("bf16-mixed", depthwise_fp32=True),
    "fp16": Format("16-mixed"),
}
CANDIDATES = ("fp32", "fp32_channels_last", "bf16_channels_last", "bf16_depthwise_fp32")


def apply_format(network: nn.Module, name: str) -> Format:
    """Lay the network's weights out for a format, in place; returns the format."""
    chosen = FORMATS[name]
    layout = torch.channels_last if chosen.channels_last else torch.contiguous_format
    network.to(memory_format=layout)
    for module in network.modules():
        if is_depthwise(module):
            module.__dict__.pop("forward", None)
            if chosen.depthwise_fp32:
                module.__dict__["forward"] = functools.partial(full_precision, module.forward)
    return chosen


def is_depthwise(module: nn.Module) -> bool:
    """Whether a module is a convolution with one filter per channel."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def full_precision(forward: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Call a layer's forward in fp32 inside an autocast region."""
    with torch.autocast(images.device.type, enabled=False):
        return forward(images.float())


def region(name: str, device: str) -> AbstractContextManager[Any]:
    """The autocast region of a format."""
    dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = dtypes.get(FORMATS[name].fabric)
    return torch.autocast(device, dtype=dtype) if dtype else nullcontext()


def candidates(network: nn.Module) -> tuple[str, ...]:
    """The formats worth measuring: depthwise ones only where there are depthwise convolutions."""
    depthwise = any(is_depthwise(module) for module in network.modules())
    return CANDIDATES if depthwise else CANDIDATES[:-1]


def measure(
    build: Callable[[], nn.Module], *, size: int, batch: int, device: str, names: tuple[str, ...] | None = None
) -> dict[str, float]:
    """Seconds an image, forward and backward, in each format: the best of many short turns, the formats taking turns.

    Short, because a machine that others use is fast for moments only; formats that are close get more of them.
    The batch is cut so that a step lasts at most STEP seconds, or a large network would take minutes.
    """
    network = build().to(device).train()
    names = names or candidates(network)
    batch = affordable(network, batch, size=size, device=device)
    images = torch.randn(batch, 3, size, size, device=device)
    best = dict.fromkeys(names, float("inf"))
    spent, turn = 0.0, 0
    while turn <= ROUNDS or (spent < SECONDS and len(names) > 1):
        for name in names:
            chosen = apply_format(network, name)
            layout = torch.channels_last if chosen.channels_last else torch.contiguous_format
            given = images.contiguous(memory_format=layout)
            if not turn:
                timed(network, given, name, device=device, steps=1)  # compiles kernels, fills caches
            steps = max(1, int(TURN / max(best[name] * batch, 1e-4))) if turn else 1
            seconds = timed(network, given, name, device=device, steps=steps)
            best[name], spent = min(best[name], seconds / batch), spent + seconds * steps
        turn += 1
        limit = (HOPELESS if turn <= ROUNDS else BEATEN) * min(best.values())
        names = tuple(name for name in names if turn < 2 or best[name] <= limit)
    return best


def affordable(network: nn.Module, batch: int, *, size: int, device: str) -> int:
    """The batch, or the largest of 2, 4, 8, ... whose step lasts at most STEP seconds: small ones mislead."""
    count = min(2, batch)
    timed(network, torch.randn(count, 3, size, size, device=device), "fp32", device=device, steps=1)
    while count < batch:
        images = torch.randn(count, 3, size, size, device=device)
        if 2 * timed(network, images, "fp32", device=device, steps=1) > STEP:
            break
        count = min(2 * count, batch)
    return count


def timed(network: nn.Module, images: torch.Tensor, name: str, *, device: str, steps: int) -> float:
    """Seconds per step."""
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter  # the first does not see what else the machine does
    start = clock()
    for _ in range(steps):
        with region(name, device):
            output = network(images)
        output.float().square().mean().backward()
        network.zero_grad(set_to_none=True)
    if device == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / steps


def choose(
    build: Callable[[], nn.Module], *, identity: str, size: int, batch: int, device: str, cache: Path
) -> tuple[str, dict[str, float]]:
    """The fastest format, and the seconds an image of each: measured once per `identity` and machine, then read."""
    key = f"{identity} {size}px batch {batch} {device} {torch.get_num_threads()} threads torch {torch.__version__}"
    key += f" {platform.machine()} {platform.node()}"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with open(cache.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two folds at once: the second waits and reads
        known: dict[str, dict[str, float]] = json.loads(cache.read_text()) if cache.is_file() else {}
        if key not in known:
            known[key] = measure(build, size=size, batch=batch, device=device)
            write_json(cache, known)
    seconds = known[key]
    return min(seconds, key=lambda name: seconds[name]), seconds
