"""Backbones by name, heads, and which weights move."""

import pytest
import torch

from models.backbone import build_backbone
from models.names import names, origin, timm_names
from models.network import build_network, freeze, frozen_blocks
from models.schema import HeadParams, InputParams, ModelParams
from storage.errors import ParamsError

SMALL = {"simple_cnn": 32, "test_resnet": 32, "test_efficientnet": 32, "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32}


def count(network: torch.nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


@pytest.mark.parametrize("backbone", SMALL)
@pytest.mark.parametrize("head", ["linear", "pool_norm_linear", "multi_sample"])
def test_any_backbone_with_any_head_gives_one_number_per_class(backbone: str, head: str) -> None:
    network, preprocessing = build_network(ModelParams(backbone=backbone, size=32, head=head, head_dropout=0.5), 7)
    images = torch.randn(3, 3, 32, 32)
    assert network(images).shape == (3, 7)
    assert preprocessing.size == 32
    network.eval()
    assert torch.equal(network(images), network(images))
    listed = {name for block in network.blocks for name in block}
    assert listed == {name for name, _ in network.named_parameters() if name.startswith("backbone.")}


def test_the_mlp_on_resnet50_has_the_published_number_of_parameters() -> None:
    params = ModelParams(backbone="resnet50", size=64, head="mlp", freeze="all", head_widths=[512, 256, 128, 64, 32])
    network, _ = build_network(params, 7)
    assert count(network) == 26_248_319
    assert count(network, trainable=True) == 691_287


def test_a_thousand_names_and_the_nearest_for_a_wrong_one() -> None:
    import timm
    from timm.models import _registry

    assert set(timm_names()) == set(_registry._model_entrypoints)  # what timm itself would accept
    assert set(timm.list_models()) < set(names()) and len(names()) > 1000
    assert origin("resnet50.a1_in1k") == "timm"
    with pytest.raises(ParamsError, match=r"did you mean.*efficientnet_b0"):
        origin("eficientnet_b0")
    with pytest.raises(ParamsError, match=r"did you mean.*squeezenet1_1"):
        origin("squeezenet11")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone_options": {"wings": 2}}, "wings"),
        ({"backbone_options": {"widths": [8] * 8}, "size": 16}, "cannot take images of 16 px"),
    ],
)
def test_options_that_cannot_be_used_are_named(params: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build_backbone("simple_cnn", InputParams(**params))


def test_the_mlp_needs_imagenet_outputs() -> None:
    with pytest.raises(ParamsError, match="simple_cnn has none"):
        build_network(ModelParams(backbone="simple_cnn", head="mlp"), 3)


def test_frozen_blocks_neither_learn_nor_count() -> None:
    network, _ = build_network(ModelParams(backbone="test_resnet", size=32, freeze="all"), 4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    network(torch.randn(8, 3, 32, 32)).sum().backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("backbone."))
    assert not torch.equal(before["head.1.weight"], after["head.1.weight"])


def test_blocks_thaw_from_the_head_down() -> None:
    params = HeadParams(freeze="all", unfreeze_every=1.0)
    assert [frozen_blocks(params, 4, epoch=epoch) for epoch in (0, 0.9, 1, 2.5, 4, 9)] == [4, 4, 3, 2, 0, 0]
    network, _ = build_network(ModelParams(backbone="simple_cnn", freeze=2), 4)
    trains = [all(network.get_parameter(name).requires_grad for name in block) for block in network.blocks]
    assert trains == [False, False, True, True]
    assert len(build_backbone("squeezenet1_1", InputParams(size=32)).blocks) == 9
    freeze(network, 0)
    assert count(network) == count(network, trainable=True)


def test_preprocessing_is_the_models_own_unless_told() -> None:
    own = build_backbone("test_resnet", InputParams()).preprocessing
    assert (own.size, own.mean, own.interpolation) == (160, (0.5, 0.5, 0.5), "bilinear")
    told = build_backbone("test_resnet", InputParams(size=32, mean=(0.1, 0.2, 0.3), fit="pad")).preprocessing
    assert (told.size, told.mean, told.std, told.fit) == (32, (0.1, 0.2, 0.3), own.std, "pad")
