"""Backbones by name: any timm model, torchvision's shufflenet and squeezenet families, and our simple_cnn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from models.names import origin
from models.preprocessing import Preprocessing
from models.schema import InputParams
from models.simple_cnn import SimpleCNN
from storage.errors import ParamsError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Backbone:
    """A network that maps (n, 3, size, size) to (n, n_features), and what it expects of its input."""

    module: nn.Module
    n_features: int
    preprocessing: Preprocessing
    blocks: list[list[str]]  # names of parameters, grouped from the input to the features


def build_backbone(name: str, params: InputParams, *, logits: bool = False) -> Backbone:
    """The backbone without its classifier, or with its 1000 ImageNet outputs (`logits`), weights random.

    Raises ParamsError for an unknown name, an unknown option, or a size that the network cannot take.
    """
    builders = {"ours": build_ours, "torchvision": build_torchvision, "timm": build_timm}
    try:
        module, native = builders[origin(name)](name, params, logits)
    except (TypeError, ValueError, AssertionError) as error:
        raise ParamsError(
            f"backbone {name}: backbone_options {params.backbone_options} cannot be used: {error}"
        ) from None
    preprocessing = adjust(native, params)
    return Backbone(module, count_features(module, preprocessing.size, name), preprocessing, group(module))


def adjust(native: Preprocessing, params: InputParams) -> Preprocessing:
    """The model's own preprocessing where the parameters leave it open."""
    return Preprocessing(
        size=params.size or native.size,
        mean=params.mean or native.mean,
        std=params.std or native.std,
        interpolation=params.interpolation or native.interpolation,
        fit=params.fit,
    )


def build_ours(name: str, params: InputParams, logits: bool) -> tuple[nn.Module, Preprocessing]:
    """simple_cnn; options widths, dropout, depth."""
    if logits:
        raise ParamsError(f"head mlp needs a backbone with ImageNet outputs; {name} has none")
    options = cast(dict[str, Any], params.backbone_options)
    return SimpleCNN(**options), Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")


def build_torchvision(name: str, params: InputParams, logits: bool) -> tuple[nn.Module, Preprocessing]:
    """shufflenet and squeezenet, which timm lacks."""
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, **params.backbone_options)
    if not logits and name.startswith("shufflenet"):
        module.fc = nn.Identity()
    elif not logits:
        module.classifier = nn.AdaptiveAvgPool2d(1)  # forward() flattens
    return module, Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD, "bilinear")


def build_timm(name: str, params: InputParams, logits: bool) -> tuple[nn.Module, Preprocessing]:
    """Any timm model; those built for one size are told the new one."""
    import timm

    options: dict[str, Any] = dict(params.backbone_options)
    base = name.split(".", maxsplit=1)[0]
    config = timm.get_pretrained_cfg(name, allow_unregistered=False) if timm.is_model_pretrained(name) else None
    if params.size and config is not None and config.fixed_input_size:
        options.setdefault("img_size", params.size)
    module: nn.Module = timm.create_model(name, num_classes=IMAGENET_CLASSES if logits else 0, **options)
    values = cast(dict[str, Any], module.pretrained_cfg)
    size = int(values.get("input_size", (3, 224, 224))[-1])
    mean, std = tuple(values.get("mean", IMAGENET_MEAN)), tuple(values.get("std", IMAGENET_STD))
    if len(mean) != 3:
        raise ParamsError(f"backbone {base} takes {len(mean)} channels; images here have 3")
    method = str(values.get("interpolation", "bicubic"))
    return module, Preprocessing(size, mean, std, method if method in ("bilinear", "bicubic") else "bicubic")


@torch.no_grad()
def count_features(module: nn.Module, size: int, name: str) -> int:
    """Width of the output, found by one forward pass of an empty image; leaves the module as it was."""
    training = module.training
    try:
        output = module.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ParamsError(f"backbone {name} cannot take images of {size} px: {reason}. Set size larger") from None
    module.train(training)
    return int(output.shape[-1])


def group(module: nn.Module) -> list[list[str]]:
    """Names of the parameters in blocks from the input on: timm's own grouping, or the top-level children."""
    if hasattr(module, "group_matcher"):
        from timm.models._manipulate import group_with_matcher

        matcher = cast(Any, module).group_matcher(coarse=True)
        grouped = group_with_matcher(module.named_parameters(), matcher)
        return [list(grouped[key]) for key in sorted(grouped)]
    only = {name.split(".")[0] for name, _ in module.named_parameters()}
    root = f"{only.pop()}." if len(only) == 1 else ""  # simple_cnn's blocks, squeezenet's features
    blocks: dict[str, list[str]] = {}
    for name, _ in module.named_parameters():
        blocks.setdefault(name.removeprefix(root).split(".")[0], []).append(name)
    return list(blocks.values())
