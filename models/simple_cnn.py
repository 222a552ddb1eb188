"""A small network of our own: blocks of convolution, BatchNorm, activation, pooling and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class Block(nn.Sequential):
    """Conv-BN-Act twice, then halve the sides, then drop whole channels."""

    def __init__(self, inputs: int, outputs: int, *, dropout: float, depth: int) -> None:
        layers: list[nn.Module] = []
        for layer in range(depth):
            layers += [
                nn.Conv2d(outputs if layer else inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.MaxPool2d(2), nn.Dropout2d(dropout))


class SimpleCNN(nn.Module):
    """Blocks of the given widths, then global average pooling: (n, 3, height, width) -> (n, widths[-1])."""

    def __init__(self, *, widths: Sequence[int] = (16, 32, 64, 128), dropout: float = 0.1, depth: int = 1) -> None:
        super().__init__()
        sizes = [3, *widths]
        self.blocks = nn.ModuleList(
            Block(inputs, outputs, dropout=dropout, depth=depth) for inputs, outputs in pairwise(sizes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of a batch.  # (n_images, widths[-1])"""
        for block in self.blocks:
            images = block(images)
        return images.mean(dim=(2, 3))
