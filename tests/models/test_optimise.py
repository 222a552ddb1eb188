"""Learning rates against torch's and timm's schedules; which weights decay and at which rate."""

import pytest
import torch

from models.network import build_network
from models.optimise import Rate, build_optimizer, reductions, set_rate, weight_groups
from models.schema import ModelParams, OptimiserParams
from storage.errors import ParamsError

PARAMETER = torch.nn.Parameter(torch.zeros(1))


def test_one_cycle_is_torchs() -> None:
    optimizer = torch.optim.SGD([PARAMETER], lr=1.0)
    peer = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=50, final_div_factor=25 / 0.04 / 25)
    ours = Rate("one_cycle", 50, 0, peer.optimizer.param_groups[0]["min_lr"], 1)
    for step in range(50):
        assert ours.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9), step
        optimizer.step()
        if step < 49:
            peer.step()


def test_cosine_is_timms() -> None:
    from timm.scheduler.cosine_lr import CosineLRScheduler

    optimizer = torch.optim.SGD([PARAMETER], lr=1.0)
    peer = CosineLRScheduler(optimizer, t_initial=40, lr_min=0.01, t_in_epochs=False)
    for step in range(40):
        peer.step_update(step)
        assert Rate("cosine", 40, 0, 0.01, 1).factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)


@pytest.mark.parametrize("schedule", ["cosine", "constant", "plateau", "one_cycle"])
def test_every_rate_is_positive_at_most_one_and_warms_up(schedule: str) -> None:
    factors = [Rate(schedule, 100, 10, 0.01, 3).factor(step) for step in range(100)]
    assert min(factors) > 0 and max(factors) <= 1
    assert factors[:10] == sorted(factors[:10])


@pytest.mark.parametrize(
    ("scores", "count"), [([], 0), ([1, 2, 3], 0), ([3, 2, 2, 2], 1), ([3, 2, 2, 2, 2, 2, 2], 2), ([1, 1, 1, 2, 1], 0)]
)
def test_a_plateau_is_patience_without_a_better_score(scores: list[float], count: int) -> None:
    assert reductions(scores, 2) == count


def test_vectors_do_not_decay_and_blocks_slow_down_towards_the_input() -> None:
    network, _ = build_network(ModelParams(backbone="simple_cnn", backbone_options={"widths": [4, 8]}), 3)
    groups = weight_groups(network, weight_decay=0.1, layer_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    assert {group["lr_scale"] for group in groups} == {1.0, 0.5, 0.25}
    optimizer = build_optimizer(network, OptimiserParams(), layer_decay=0.5)
    set_rate(optimizer, 0.01)
    assert {group["lr"] for group in optimizer.param_groups} == {0.01, 0.005, 0.0025}


def test_an_unknown_optimizer_is_named_with_the_known_ones() -> None:
    network, _ = build_network(ModelParams(backbone="simple_cnn"), 3)
    with pytest.raises(ParamsError, match=r"'adamm' is not known; known: .*adamw"):
        build_optimizer(network, OptimiserParams(optimizer="adamm"), layer_decay=1.0)
