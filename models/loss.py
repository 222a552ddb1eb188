"""Losses on logits and soft labels (rows of `targets` sum to 1), the mean over a batch; class weights; priors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.schema import LossParams
from storage.errors import ParamsError

SMALLEST = 1e-8


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """-sum_c w_c t_c log p_c."""
    return F.cross_entropy(logits, targets, weight=weights)


def focal(logits: Tensor, targets: Tensor, weights: Tensor, *, gamma: float) -> Tensor:
    """-sum_c w_c t_c (1 - p_c)^gamma log p_c (Lin et al., 2017, arXiv:1708.02002, for softmax)."""
    logs = F.log_softmax(logits, dim=1)
    return -(weights * targets * (1 - logs.exp()).clamp(min=SMALLEST) ** gamma * logs).sum(dim=1).mean()


def asymmetric(logits: Tensor, targets: Tensor, weights: Tensor, *, gammas: tuple[float, float]) -> Tensor:
    """-sum_c w_c [t_c (1 - p_c)^g+ log p_c + (1 - t_c) p_c^g- log(1 - p_c)] (Ridnik et al., 2021, arXiv:2009.14119).

    The probabilities are the softmax's, so that the classes stay exclusive.
    """
    negative, positive = gammas
    logs = F.log_softmax(logits, dim=1)
    p = logs.exp()
    others = (1 - p).clamp(min=SMALLEST)
    attract = targets * others**positive * logs
    repel = (1 - targets) * p.clamp(min=SMALLEST) ** negative * others.log()
    return -(weights * (attract + repel)).sum(dim=1).mean()


def soft_f1(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """1 - the weighted mean over the batch's classes of 2 sum(p t) / (sum p + sum t)."""
    p = logits.softmax(dim=1)
    present = (targets.sum(dim=0) > 0).to(p.dtype) * weights  # (n_classes,)
    f1 = 2 * (p * targets).sum(dim=0) / (p.sum(dim=0) + targets.sum(dim=0)).clamp(min=SMALLEST)
    return 1 - (present * f1).sum() / present.sum()


def polynomial(logits: Tensor, targets: Tensor, weights: Tensor, *, epsilon: float) -> Tensor:
    """Cross entropy + epsilon (1 - sum_c t_c p_c), weighted alike (Leng et al., 2022, arXiv:2204.12511)."""
    gap = (weights * targets * (1 - logits.softmax(dim=1))).sum(dim=1).mean()
    return cross_entropy(logits, targets, weights) + epsilon * gap


class Loss(nn.Module):
    """The loss of a training: smoothing and logit adjustment, then one of the functions above."""

    weights: Tensor
    shift: Tensor

    def __init__(self, params: LossParams, counts: npt.NDArray[np.float64]) -> None:
        super().__init__()
        self.smoothing = params.label_smoothing
        weights = class_weights(params, counts)
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))
        prior = np.maximum(counts, 1) / np.maximum(counts, 1).sum()
        self.register_buffer("shift", torch.tensor(params.logit_adjustment * np.log(prior), dtype=torch.float32))
        functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "cross_entropy": lambda x, t: cross_entropy(x, t, self.weights),
            "focal": lambda x, t: focal(x, t, self.weights, gamma=params.focal_gamma),
            "asymmetric": lambda x, t: asymmetric(x, t, self.weights, gammas=params.asymmetric_gammas),
            "soft_f1": lambda x, t: soft_f1(x, t, self.weights),
            "polynomial": lambda x, t: polynomial(x, t, self.weights, epsilon=params.polynomial_epsilon),
        }
        self.function = functions[params.loss]

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch; both (n_images, n_classes)."""
        if self.smoothing:
            targets = targets * (1 - self.smoothing) + self.smoothing / targets.shape[1]
        return self.function(logits.float() + self.shift, targets)


def class_weights(params: LossParams, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A weight per class, scaled so that the mean over the training rows is 1.  # (n_classes,)

    `effective`: (1 - beta) / (1 - beta^n) (Cui et al., 2019, arXiv:1901.05555).
    """
    chosen, safe = params.class_weights, np.maximum(counts, 1.0)
    if isinstance(chosen, list):
        if len(chosen) != len(counts) or min(chosen) < 0 or max(chosen) == 0:
            raise ParamsError(f"class_weights has {len(chosen)} numbers; {len(counts)} are needed, none negative")
        weights = np.asarray(chosen, dtype=np.float64)
    elif chosen == "inverse":
        weights = 1.0 / safe
    elif chosen == "effective":
        weights = (1 - params.effective_beta) / (1 - params.effective_beta**safe)
    else:
        weights = np.ones_like(safe)
    scaled: npt.NDArray[np.float64] = weights * counts.sum() / np.maximum((weights * counts).sum(), SMALLEST)
    return scaled
