"""One member's network: a backbone and a head, and which of their weights move."""

from __future__ import annotations

import torch
from torch import nn

from models.backbone import Backbone, build_backbone
from models.head import build_head
from models.preprocessing import Preprocessing
from models.schema import HeadParams, ModelParams

NORMS = (nn.modules.batchnorm._BatchNorm,)


class Network(nn.Module):
    """Normalised images (n, 3, size, size) to logits (n, n_classes)."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.module
        self.head = head
        self.blocks = [[f"backbone.{name}" for name in block] for block in backbone.blocks]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits.  # (n_images, n_classes)"""
        return torch.as_tensor(self.head(self.backbone(images)))

    def train(self, mode: bool = True) -> Network:
        """Training mode; but a norm whose weights are frozen keeps its statistics too, or freezing is none."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, NORMS) and module.affine and not module.weight.requires_grad:
                module.eval()
        return self


def build_network(params: ModelParams, n_classes: int) -> tuple[Network, Preprocessing]:
    """A fresh network, its random weights drawn from torch's generator, and the preprocessing it needs."""
    backbone = build_backbone(params.backbone, params, logits=params.head == "mlp")
    head = build_head(params, backbone.n_features, n_classes=n_classes)
    network = Network(backbone, head)
    freeze(network, frozen_blocks(params, len(network.blocks), epoch=0.0))
    return network, backbone.preprocessing


def frozen_blocks(params: HeadParams, n_blocks: int, *, epoch: float) -> int:
    """How many blocks, counted from the input, do not train at a moment of the training."""
    frozen = n_blocks if params.freeze == "all" else min(params.freeze, n_blocks)
    thawed = int(epoch / params.unfreeze_every) if params.unfreeze_every else 0
    return max(0, frozen - thawed)


def freeze(network: Network, n_blocks: int) -> None:
    """Freeze the first blocks, and only those."""
    frozen = {name for block in network.blocks[:n_blocks] for name in block}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    network.train(network.training)
