"""Running out of memory ends with the batch that fits."""

import pytest
import torch

from models.memory import batch_that_fits
from storage.errors import ResourceError


class Small(torch.nn.Module):
    """Room for so many images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.weight = room, torch.nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
        return images.mean(dim=(1, 2, 3)) * self.weight


@pytest.mark.parametrize(
    ("room", "message"), [(20, r"largest that fits is about 16\. Set batch: 16 and accumulate: 4"), (0, "not even one")]
)
def test_the_largest_batch_that_fits_is_named(room: int, message: str) -> None:
    network = Small(room)
    with pytest.raises(ResourceError, match=message), batch_that_fits(network, 64, size=8):
        network(torch.zeros(64, 3, 8, 8))


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), batch_that_fits(Small(1), 4, size=8):
        raise RuntimeError("shapes differ")
