"""The memory of a training step: measured before, and, when a batch did not fit, the largest that does."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from models.average import Average
from models.network import build_network
from models.optimise import build_optimizer
from models.precision import apply_format, region
from models.schema import ModelParams
from storage.errors import ResourceError

GROWTH = 96 * 2**20  # bytes that a batch has to add before its memory can be told from what was there
RESERVE = 0.9  # of the free memory: the images that are read ahead want some too
MOST = 8192  # images


@dataclass(frozen=True)
class Need:
    """Bytes that training takes: the process with its network, and each image of a batch; and what there is."""

    fixed: int
    per_image: int
    room: int  # what the process may take in all

    @property
    def largest(self) -> int:
        """The largest batch that fits; 0 if none does."""
        return max(0, int((RESERVE * self.room - self.fixed) // max(1, self.per_image)))


def training_need(params: ModelParams, n_classes: int) -> Need:
    """The need of a member: forward, backward, optimiser and average; `precision: auto` counts as fp32."""
    device = "cuda" if params.accelerator in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
    name = "fp32_channels_last" if params.precision == "auto" else params.precision
    network, preprocessing = build_network(params, n_classes)
    network.to(device).train()
    layout = torch.channels_last if apply_format(network, name).channels_last else torch.contiguous_format
    optimizer = build_optimizer(network, params, layer_decay=params.layer_decay)
    average = Average(network, params.ema)

    def step(batch: int) -> None:
        shape = (batch, 3, preprocessing.size, preprocessing.size)
        with region(name, device):
            output = network(torch.zeros(shape, device=device).contiguous(memory_format=layout))
        output.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(0)

    return measure_need(step, device=device)


def measure_need(step: Callable[[int], None], *, device: str = "cpu") -> Need:
    """Run steps of 2, 4, 8, ... images until their memory shows, never beyond half of what is free.

    On the CPU by the peak of the process's resident memory, on CUDA by the allocator's.
    """
    batch, peaks = 2, {}
    step(batch)  # what a first step leaves behind for good: gradients, moments
    free, before = free_memory(device), used_memory(device)
    while True:
        reset_peak(device)
        step(batch)
        peaks[batch] = peak_memory(device)
        grown = peaks[batch] - before
        if (grown > GROWTH and len(peaks) > 1) or 2 * grown > free / 2 or batch >= MOST:
            break
        batch *= 2
    small, large = (sorted(peaks) * 2)[-2:] if len(peaks) > 1 else (0, batch)
    per_image = (peaks[large] - peaks.get(small, before)) / (large - small)
    return Need(int(peaks[large] - per_image * large), int(per_image), before + free)


def free_memory(device: str) -> int:
    """Bytes that can still be had: of the card, else of the machine or of the container's share of it."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    found = [sys.maxsize]
    with suppress(OSError, ValueError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # a container without a limit says max
        group = Path("/sys/fs/cgroup")
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        held = int((group / "memory.current").read_text()) - int(stat["inactive_file"])
        found.append(int((group / "memory.max").read_text()) - held)
    return min(found)


def used_memory(device: str) -> int:
    """Bytes that this process holds now."""
    return int(torch.cuda.memory_reserved()) if device == "cuda" else resident("VmRSS")


def peak_memory(device: str) -> int:
    """The most that it held since `reset_peak`."""
    return int(torch.cuda.max_memory_reserved()) if device == "cuda" else resident("VmHWM")


def reset_peak(device: str) -> None:
    """Start to look for the peak anew; where the system cannot, it is that since the start."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM


def resident(name: str) -> int:
    """VmRSS or VmHWM of this process in bytes; without /proc the peak since the start stands for both."""
    with suppress(OSError):
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines[name].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def batch_that_fits(network: nn.Module, batch: int, *, size: int) -> Iterator[None]:
    """Turn running out of memory into a ResourceError that names the largest batch that fits."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        fits = largest_batch(network, batch, size=size)
        advice = "not even one image does. Choose a smaller size or backbone"
        if fits:
            advice = f"the largest that fits is about {fits}. Set batch: {fits} and accumulate: {-(-batch // fits)}"
        raise ResourceError(f"batch {batch} at {size} px does not fit into memory; {advice}") from None


def out_of_memory(error: BaseException) -> bool:
    """Whether torch, on any device, ran out of memory."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error) or "out of memory" in str(error).lower()


def largest_batch(network: nn.Module, batch: int, *, size: int) -> int:
    """The first of batch / 2, batch / 4, ... that a forward and backward pass survives; 0 if none does."""
    device = next(network.parameters()).device
    while batch > 1:
        batch //= 2
        try:
            network(torch.zeros(batch, 3, size, size, device=device)).sum().backward()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        else:
            return batch
        finally:
            network.zero_grad(set_to_none=True)
    return 0
