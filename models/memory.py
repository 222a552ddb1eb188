"""When a batch does not fit into memory: the largest that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from storage.errors import ResourceError


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
