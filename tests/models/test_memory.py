"""What a batch takes; running out of memory ends with the batch that fits."""

import pytest
import torch

from models import memory
from models.memory import Need, batch_that_fits, measure_need
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


def test_the_bytes_of_an_image_are_measured() -> None:
    each = 3 * 2**20
    need = measure_need(lambda batch: torch.ones(batch * each, dtype=torch.uint8).max())
    assert need.per_image == pytest.approx(each, rel=0.1)
    assert need.largest * each == pytest.approx(0.9 * need.room - need.fixed, rel=0.1)


def test_measuring_stops_before_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 200 * 2**20)
    tried: list[int] = []

    def step(batch: int) -> None:
        tried.append(batch)
        torch.ones(batch * 20 * 2**20, dtype=torch.uint8).max()

    assert 1 <= measure_need(step).largest <= 60
    assert max(tried) <= 4


def test_nothing_fits_where_the_network_alone_is_too_large() -> None:
    assert Need(fixed=10**9, per_image=10**6, room=10**9).largest == 0
