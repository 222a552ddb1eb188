"""The training loop. Everything random is derived from (seed, step), so a resumed training is the uninterrupted one.

State: weights, their average, the optimiser, the step, the history. It goes to a checkpoint at the end of each epoch,
every few minutes, and when a signal asks for the end; nothing else has to survive.
"""

from __future__ import annotations

import signal
import time
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import nn

from models.change import Normalise
from models.checkpoint import Checkpoints
from models.feed import Feed
from models.network import Network
from models.progress import Report
from models.schema import ModelParams
from models.stopping import Budget, Signals
from models.training import Progress, Training, Validate


def fit(
    fabric: Fabric,
    network: Network,
    *,
    params: ModelParams,
    feed: Feed,
    loss: nn.Module,
    normalise: Normalise,
    validate: Validate,
    checkpoints: Checkpoints,
    budget: Budget,
    seed: int,
    title: str = "",
) -> Progress:
    """Train `network` in place, or go on from its checkpoint; leaves in it the weights that predict.

    Raises DataError where the loss is not a number, SystemExit(128 + signal) after a signal (checkpoint written).
    """
    training = Training(fabric, network, params=params, feed=feed, loss=loss, normalise=normalise, seed=seed)
    progress, total = training.restore(checkpoints), params.epochs * feed.steps_per_epoch
    saved, silent = time.monotonic(), fabric.global_rank > 0
    watched = Report(title, total=total, start=progress.step, epochs=params.epochs, silent=silent)
    with Signals() as signals, watched as report:
        for step, batches in enumerate(feed.steps(progress.step, total), progress.step):
            if progress.stopped:
                break
            report.step(images=feed.together, loss=training.step(step, batches))
            epoch_ends = progress.step % feed.steps_per_epoch == 0
            if epoch_ends:
                training.end_epoch(validate, report)
            caught, spent = agreed(fabric, signals.caught, budget.spent(feed.together))
            if spent:
                progress.stopped = progress.stopped or f"time budget, after step {progress.step:,} of {total:,}"
            due = time.monotonic() - saved > 60 * params.checkpoint_minutes
            if due or caught or progress.stopped or epoch_ends:
                training.save(checkpoints)
                saved = time.monotonic()
            if caught and progress.step < total:
                cause = "Ctrl-C" if caught == signal.SIGINT else signal.Signals(caught).name
                report.say(f"stopped by {cause} at step {progress.step:,}; the next run continues there")
                raise SystemExit(128 + caught)
    network.load_state_dict(progress.kept or training.predictor.state_dict())
    return progress


def agreed(fabric: Fabric, caught: int, spent: bool) -> tuple[int, bool]:
    """The signal and the end of the budget of any process, the same for all, or they would wait for each other."""
    if fabric.world_size == 1:
        return caught, spent
    given = torch.tensor([float(caught), float(spent)], device=fabric.device)
    values = cast(torch.Tensor, fabric.all_reduce(given, reduce_op="max")).tolist()
    return int(values[0]), bool(values[1])
