"""Which rows a step shows: every row equally often, the same for any number of workers and processes."""

import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.feed import Feed, RowFile, Rows
from models.preprocessing import Preprocessing
from models.sampler import CHUNK


class Numbered:
    """Pictures whose pixels are their number."""

    preprocessing = Preprocessing(2, (0.0,) * 3, (1.0,) * 3)
    quick = False

    def __len__(self) -> int:
        return 250

    def name(self, number: int) -> str:
        return f"{number}.png"

    def read(self, numbers: np.ndarray) -> np.ndarray:
        return np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (len(numbers), 2, 2, 3)).copy()


def rows(n: int, *, partner: int = -1, share: float = 1.0) -> Rows:
    label = np.arange(n) % 3
    return Rows(np.arange(n), label, np.full(n, partner), np.full(n, share, np.float32))


def feed(n: int = 25, **options: object) -> Feed:
    return Feed(Numbered(), rows(n), n_classes=3, **{"batch": 4, "seed": 1, **options})


@pytest.mark.parametrize("sampler", ["plain", "balanced", "square_root"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_start_in_the_middle_gives_the_rest(workers: int, sampler: str) -> None:
    whole = [step[0] for step in feed(workers=2, sampler=sampler).steps(0, 14)]
    rest = [step[0] for step in feed(workers=workers, sampler=sampler).steps(9, 14)]
    assert [b.rows.tolist() for b in whole[9:]] == [b.rows.tolist() for b in rest]
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[9:], rest, strict=True))
    assert all((b.images[:, 0, 0, 0].numpy() == b.rows).all() for b in whole)


@pytest.mark.parametrize("sampler", ["plain", "balanced", "square_root"])
def test_two_processes_and_accumulation_see_the_same_rows_in_the_same_order(sampler: str) -> None:
    one = feed(batch=8, sampler=sampler)
    two = [feed(batch=4, world=2, rank=rank, sampler=sampler) for rank in (0, 1)]
    parts = feed(batch=2, accumulate=4, sampler=sampler)
    for step in range(6):
        expected = one.step_rows(step).tolist()
        assert np.concatenate([f.parts(step)[0] for f in two]).tolist() == expected
        assert np.concatenate(parts.parts(step)).tolist() == expected


def test_soft_labels_share_a_row_between_both_parents() -> None:
    mixed = rows(3, partner=2, share=0.75)
    assert mixed.targets(np.arange(3), 3).tolist() == [[0.75, 0, 0.25], [0, 0.75, 0.25], [0, 0, 1.0]]
    assert mixed.counts(3).tolist() == [0.75, 0.75, 1.5]
    assert rows(3).targets(np.arange(3), 3).tolist() == np.eye(3).tolist()


def test_rows_in_a_file_are_the_rows_in_memory(tmp_path: Path) -> None:
    count = 2 * CHUNK + 7
    label, partner = np.arange(count) % 3, np.arange(count) % 4 - 1
    whole = Rows(np.arange(count), label, partner, np.linspace(0.5, 1, count, dtype=np.float32))
    file = RowFile(tmp_path / "state")
    for part in (slice(0, 5), slice(5, count)):
        file.add(whole.picture[part], pd.Series(label[part]), partner[part], whole.share[part])
    stored = file.rows()
    some = np.array([3, count - 1, 5, 5])
    assert len(stored) == count and stored.picture[some].tolist() == some.tolist()
    assert (stored.targets(some, 3) == whole.targets(some, 3)).all()
    assert stored.counts(3) == pytest.approx(whole.targets(np.arange(count), 3).sum(axis=0, dtype=np.float64))
    assert not list((tmp_path / "state").iterdir())  # without a name: it goes with its last user
    assert len(RowFile().rows()) == 0


def test_a_further_row_takes_no_memory(tmp_path: Path) -> None:
    def held(count: int, sampler: str) -> int:
        tracemalloc.start()
        file = RowFile(tmp_path)
        for _ in range(count // 1000):
            file.add(np.arange(1000), np.arange(1000) % 3, -1, 1.0)
        fed = Feed(Numbered(), file.rows(), n_classes=3, batch=4, seed=1, sampler=sampler, folder=tmp_path)
        fed.rows.counts(3)
        fed.step_rows(5)
        size = tracemalloc.get_traced_memory()[1]  # the most at any time
        tracemalloc.stop()
        return size

    for sampler in ("plain", "balanced"):
        assert held(800_000, sampler) - held(400_000, sampler) < 100_000


def test_at_the_end_of_an_epoch_the_next_one_is_being_read_by_the_same_threads() -> None:
    readers: list[int] = []

    class Noted(Numbered):
        def read(self, numbers: np.ndarray) -> np.ndarray:
            readers.append(threading.get_ident())
            return super().read(numbers)

    fed = Feed(Noted(), rows(25), n_classes=3, batch=4, seed=1, workers=2)
    steps = fed.steps(0, 3 * fed.steps_per_epoch)
    for _ in range(fed.steps_per_epoch):
        next(steps)
    ahead = fed.steps_per_epoch + 2 * 2  # two batches ahead for each thread
    deadline = time.monotonic() + 20
    while len(readers) < ahead and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(readers) == ahead
    assert len(list(steps)) == 2 * fed.steps_per_epoch
    assert len(set(readers)) <= 2


def test_a_batch_larger_than_the_data_is_the_data() -> None:
    small = feed(n=3, batch=64)
    assert small.steps_per_epoch == 1
    assert sorted(small.step_rows(0).tolist()) == [0, 1, 2]


def test_online_changes_depend_on_the_place_in_the_order_alone() -> None:
    def note(images: np.ndarray, numbers: np.ndarray, seeds: list[int]) -> np.ndarray:
        return np.stack([np.full((2, 2, 3), seed % 251, np.uint8) for seed in seeds])

    one = [s[0].images for s in feed(batch=8, online=note).steps(0, 3)]
    two = [[s[0].images for s in feed(batch=4, world=2, rank=r, online=note).steps(0, 3)] for r in (0, 1)]
    for whole, left, right in zip(one, *two, strict=True):
        assert torch.equal(whole, torch.cat([left, right]))
    assert len({int(v) for images in one for v in images[:, 0, 0, 0]}) > 15
