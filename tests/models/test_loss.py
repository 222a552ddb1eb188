"""Each loss against an independent formula in numpy, with soft labels and class weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.loss import Loss, class_weights
from models.schema import LossParams
from storage.errors import ParamsError


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def expected(name: str, x: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    """The loss, row by row and class by class, as its paper writes it."""
    p, (n, c), total = softmax(x), x.shape, 0.0
    if name == "soft_f1":
        f1, weight = 0.0, 0.0
        for k in range(c):
            if t[:, k].sum() > 0:
                tp, fp, fn = (p * t)[:, k].sum(), (p * (1 - t))[:, k].sum(), ((1 - p) * t)[:, k].sum()
                f1, weight = f1 + w[k] * 2 * tp / (2 * tp + fp + fn), weight + w[k]
        return 1 - f1 / weight
    for i in range(n):
        for k in range(c):
            log, gap = np.log(p[i, k]), 1 - p[i, k]
            terms = {
                "cross_entropy": -t[i, k] * log,
                "focal": -t[i, k] * gap**2 * log,
                "asymmetric": -t[i, k] * gap * log - (1 - t[i, k]) * p[i, k] ** 4 * np.log(gap),
                "polynomial": -t[i, k] * log + t[i, k] * gap,
            }
            total += w[k] * terms[name]
    return total / n


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "asymmetric", "soft_f1", "polynomial"])
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_loss_is_its_formula(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c = int(rng.integers(1, 8)), int(rng.integers(2, 6))
    x, t = rng.normal(0, 2, (n, c)), rng.dirichlet(np.ones(c), n)
    given_weights = rng.uniform(0.1, 3, c)
    counts = rng.integers(1, 50, c).astype(float)
    loss = Loss(LossParams(loss=name, class_weights=given_weights.tolist()), counts)
    w = given_weights * counts.sum() / (given_weights * counts).sum()
    found = loss(torch.tensor(x), torch.tensor(t)).item()
    assert found == pytest.approx(expected(name, x, t, w), rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "asymmetric", "soft_f1", "polynomial"])
def test_a_better_prediction_costs_less_and_the_gradient_is_finite(name: str) -> None:
    loss = Loss(LossParams(loss=name), np.ones(3))
    targets = torch.eye(3)
    costs = []
    for strength in (-60.0, 0.0, 2.0, 60.0):
        logits = (strength * torch.eye(3)).requires_grad_()
        cost = loss(logits, targets)
        cost.backward()
        assert logits.grad is not None and torch.isfinite(logits.grad).all()
        costs.append(cost.item())
    assert costs == sorted(costs, reverse=True)


def test_label_smoothing_is_torchs() -> None:
    x, t = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    ours = Loss(LossParams(label_smoothing=0.1), np.ones(4))(x, torch.nn.functional.one_hot(t, 4).float())
    assert ours.item() == pytest.approx(torch.nn.functional.cross_entropy(x, t, label_smoothing=0.1).item(), rel=1e-6)


def test_logit_adjustment_adds_the_prior() -> None:
    counts = np.array([90.0, 10.0])
    adjusted = Loss(LossParams(logit_adjustment=1.0), counts)(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
    assert adjusted.item() == pytest.approx(-np.log(0.1), rel=1e-5)


@pytest.mark.parametrize(
    ("chosen", "ratio"), [("none", 1.0), ("inverse", 9.0), ("effective", (1 - 0.999**90) / (1 - 0.999**10))]
)
def test_class_weights_have_mean_one_over_the_rows(chosen: str, ratio: float) -> None:
    counts = np.array([90.0, 10.0])
    weights = class_weights(LossParams(class_weights=chosen), counts)
    assert (weights * counts).sum() == pytest.approx(counts.sum())
    assert weights[1] / weights[0] == pytest.approx(ratio)


def test_class_weights_of_another_class_count_are_refused() -> None:
    with pytest.raises(ParamsError, match="3 are needed"):
        class_weights(LossParams(class_weights=[1.0, 2.0]), np.ones(3))
