"""The loop: learns, repeats, resumes to the bit, stops when told, refuses nonsense."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from models.change import Normalise
from models.checkpoint import Checkpoints
from models.feed import Feed, Rows
from models.fit import Progress, fit
from models.loss import Loss
from models.network import Network, build_network
from models.preprocessing import Preprocessing
from models.schema import ModelParams
from models.stopping import Budget
from storage.errors import DataError
from tests.small_index import digits

N, VALID = 120, 40
FABRIC = Fabric(accelerator="cpu", devices=1)


class Pictures:
    """Digits in memory; `hook` is called with every read."""

    preprocessing = Preprocessing(28, (0.5,) * 3, (0.5,) * 3)
    quick = False

    def __init__(self, hook: Callable[[], None] = lambda: None) -> None:
        images, labels = digits(N + VALID)
        self.images, self.labels, self.hook = np.stack(images), np.array(labels), hook

    def __len__(self) -> int:
        return len(self.images)

    def name(self, number: int) -> str:
        return f"image_{number}.png"

    def read(self, numbers: np.ndarray) -> np.ndarray:
        self.hook()
        return self.images[numbers]


def run(
    folder: Path, *, pictures: Pictures | None = None, budget: float | None = None, poison: bool = False,
    loss: torch.nn.Module | None = None, **options: Any,
) -> tuple[Network, Progress]:  # fmt: skip
    """A small training in `folder`."""
    values = {"backbone": "simple_cnn", "backbone_options": {"widths": [8, 16], "dropout": 0.2}, "size": 28, "lr": 0.01}
    params = ModelParams(**{**values, "epochs": 3, "batch": 16, "head_dropout": 0.3, "mixup": 0.2, **options})
    pictures = pictures or Pictures()
    torch.manual_seed(0)
    network, preprocessing = build_network(params, 10)
    if poison:
        network.get_parameter("head.1.bias").data[0] = float("nan")
    rows = Rows(np.arange(N), pictures.labels[:N], np.full(N, -1), np.ones(N, np.float32))
    feed = Feed(
        pictures, rows, n_classes=10, batch=params.batch, seed=3, accumulate=params.accumulate, sampler=params.sampler
    )
    normalise = Normalise(preprocessing, channels_last=False, device="cpu")

    @torch.inference_mode()
    def validate(model: Network) -> dict[str, dict[str, float]]:
        logits = model.eval()(normalise(torch.from_numpy(pictures.images[N:])))
        accuracy = (logits.argmax(1).numpy() == pictures.labels[N:]).mean()
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(pictures.labels[N:])).item()
        return {"clean": {"accuracy": float(accuracy), "macro_f1": float(accuracy), "log_loss": loss}}

    progress = fit(
        FABRIC, network, params=params, feed=feed, loss=loss or Loss(params, rows.counts(10)), normalise=normalise,
        validate=validate, checkpoints=Checkpoints(folder), seed=3,
        budget=Budget(budget, started=time.monotonic(), images_to_predict=0),
    )  # fmt: skip
    return network, progress


def same(a: Network, b: Network) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def kill_after(reads: int, number: int = signal.SIGTERM) -> Pictures:
    left = [reads]

    def hook() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), number)

    return Pictures(hook)


def test_it_learns_and_the_curves_say_so(tmp_path: Path) -> None:
    options = {"backbone_options": {"widths": [16, 32, 64], "dropout": 0.0}, "head_dropout": 0.0}
    _, progress = run(tmp_path, epochs=12, mixup=0.0, **options)
    first, last = progress.history[0], progress.history[-1]
    assert last["train_loss"] < first["train_loss"] * 0.7
    assert last["scores"]["clean"]["accuracy"] > 0.4
    assert [entry["epoch"] for entry in progress.history] == list(range(1, 13))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd", "schedule": "one_cycle", "accumulate": 2, "ema": 0.0},
        {"sampler": "balanced", "epochs": 3, "class_weights": "inverse"},
        {
            "optimizer": "lamb",
            "schedule": "plateau",
            "keep": "best",
            "sampler": "square_root",
            "cutmix": 1.0,
            "erasing": 0.3,
        },
        {
            "optimizer": "madgrad",
            "average_last": 2,
            "online": "trivial_augment",
            "freeze": "all",
            "unfreeze_every": 0.5,
        },
    ],
)
def test_killed_anywhere_and_continued_it_is_the_uninterrupted_run_to_the_bit(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    whole, _ = run(tmp_path / "whole", **options)
    for reads in (6, 9):  # read ahead: a few steps before, in the middle of an epoch
        with pytest.raises(SystemExit) as stop:
            run(tmp_path / "parts", pictures=kill_after(reads), **options)
        assert stop.value.code == 143
    resumed, progress = run(tmp_path / "parts", **options)
    assert same(whole, resumed)
    assert len(progress.history) == 3


def test_interrupted_from_the_keyboard_it_keeps_what_it_has(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, pictures=kill_after(6, signal.SIGINT))
    assert stop.value.code == 130
    assert Checkpoints(tmp_path).load()["progress"]["step"] > 0
    assert signal.getsignal(signal.SIGINT) is before


def test_the_last_good_checkpoint_is_used_when_the_newest_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "parts")
    newest = Checkpoints(tmp_path / "parts").files()[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed, _ = run(tmp_path / "parts")
    assert same(whole, resumed)
    assert "using the previous checkpoint" in capsys.readouterr().err


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    reads = []
    done, _ = run(tmp_path)
    again, _ = run(tmp_path, pictures=Pictures(lambda: reads.append(1)))
    assert same(done, again)
    assert not reads


def test_other_seeds_give_other_weights_and_the_same_seed_the_same(tmp_path: Path) -> None:
    first, _ = run(tmp_path / "1", epochs=1)
    second, _ = run(tmp_path / "2", epochs=1)
    assert same(first, second)


def test_a_loss_that_is_no_number_stops_with_step_and_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"loss is nan at step 0 \(epoch 1, batch 1\); images: image_\d+\.png, "):
        run(tmp_path, poison=True)


class Explodes(torch.nn.Module):
    """A loss that is a number, with a gradient that is none."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (logits - logits.detach()).abs().sqrt().sum() + 1.0


@pytest.mark.parametrize(
    ("clip", "message"), [(1.0, r"the gradient's norm is nan at step 0 .*images: image_"), (0.0, "weights are not num")]
)
def test_broken_gradients_stop_it_and_reach_no_checkpoint(tmp_path: Path, clip: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, epochs=1, batch=N, clip=clip, loss=Explodes(), ema=0.0)
    assert Checkpoints(tmp_path).load() is None


def test_a_time_budget_ends_with_what_there_is_and_goes_on_later(tmp_path: Path) -> None:
    _, progress = run(tmp_path, budget=0.0001, epochs=50)
    assert progress.stopped.startswith("time budget, after step 1 of")
    _, later = run(tmp_path, budget=0.0001, epochs=50)
    assert later.step == 2


def test_early_stopping_and_best_weights(tmp_path: Path) -> None:
    _, progress = run(tmp_path, epochs=30, patience=2, keep="best", lr=1e-9, ema=0.0, mixup=0.0)
    assert progress.stopped.startswith("early, after epoch")
    assert progress.step < 30 * 7
