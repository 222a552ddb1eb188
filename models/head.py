"""Heads: from a backbone's features to one number per class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from models.schema import HeadParams


class MultiSampleDropout(nn.Module):
    """One linear layer under several dropout masks, averaged (Inoue, 2019, arXiv:1905.09788)."""

    def __init__(self, n_features: int, n_classes: int, *, samples: int, dropout: float) -> None:
        super().__init__()
        self.samples = samples
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits.  # (n_images, n_classes)"""
        if not self.training:
            return torch.as_tensor(self.linear(features))
        outputs = [self.linear(self.dropout(features)) for _ in range(self.samples)]
        return torch.stack(outputs).mean(dim=0)


def mlp(n_features: int, n_classes: int, *, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """BN-ReLU, then Linear-Dropout-BN-ReLU per width, then Linear."""
    layers: list[nn.Module] = [nn.BatchNorm1d(n_features), nn.ReLU()]
    for width in widths:
        layers += [nn.Linear(n_features, width), nn.Dropout(dropout), nn.BatchNorm1d(width), nn.ReLU()]
        n_features = width
    return nn.Sequential(*layers, nn.Linear(n_features, n_classes))


def build_head(params: HeadParams, n_features: int, *, n_classes: int) -> nn.Module:
    """The head that the parameters ask for: (n_images, n_features) -> (n_images, n_classes)."""
    if params.head == "mlp":
        return mlp(n_features, n_classes, widths=params.head_widths, dropout=params.head_dropout)
    if params.head == "multi_sample":
        return MultiSampleDropout(n_features, n_classes, samples=params.head_samples, dropout=params.head_dropout)
    layers = [nn.BatchNorm1d(n_features)] if params.head == "pool_norm_linear" else []
    return nn.Sequential(*layers, nn.Dropout(params.head_dropout), nn.Linear(n_features, n_classes))
