"""Weights on disk: exact return, and every damaged or foreign file refused for what it is."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from models.network import Network, build_network
from models.schema import ModelParams
from models.weights import load_member, load_state, read_weights, save_member
from storage.errors import DataError, IntegrityError

PARAMS = ModelParams(backbone="simple_cnn", backbone_options={"widths": [4, 8]}, size=16)


def member(folder: Path, *, n_classes: int = 3, params: ModelParams = PARAMS) -> Network:
    network, preprocessing = build_network(params, n_classes)
    description = {
        "params": params.model_dump(mode="json"),
        "preprocessing": preprocessing.as_json(),
        "classes": [f"class {i}" for i in range(n_classes)],
        "tta": ["plain"],
        "precision": "fp32_channels_last",
    }
    save_member(folder, [network], description)
    return network.eval()


def edit(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    description = json.loads((folder / "model.json").read_text())
    change(description)
    (folder / "model.json").write_text(json.dumps(description))


def test_a_member_comes_back_with_all_it_needs(tmp_path: Path) -> None:
    network = member(tmp_path)
    saved = load_member(tmp_path)
    images = torch.randn(2, 3, 16, 16)
    assert torch.allclose(saved.networks[0](images), network(images), atol=1e-6)
    assert saved.class_names == ["class 0", "class 1", "class 2"]
    assert (saved.preprocessing.size, saved.views) == (16, ("plain",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["classes"].append("one more"), r"head\.1\.bias is \(3,\), the network has \(4,\)"),
        (lambda d: d["params"].update(backbone_options={"widths": [4, 9]}), "another network or class count"),
        (lambda d: d["params"].update(backbone="test_resnet", backbone_options={}), "is not a weight of this network"),
        (lambda d: d["preprocessing"].update(mean=[0.485, 0.5, 0.5]), r"mean \(0\.5, 0\.5, 0\.5\) vs \(0\.485"),
        (lambda d: d["preprocessing"].update(size=24), "size 16 vs 24"),
        (lambda d: d["weights"][0].update(sha256="0" * 64), "sha256 mismatch"),
        (lambda d: d["weights"][0].update(file="../../model.safetensors"), None),  # only the name counts
        (lambda d: d.update(format=99), "format 99; this version reads 1"),
        (lambda d: d.pop("classes"), "not a member's description"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], None], message: str | None
) -> None:
    member(tmp_path)
    edit(tmp_path, change)
    if message is None:
        load_member(tmp_path)
        return
    with pytest.raises(IntegrityError, match=message):
        load_member(tmp_path)


def test_one_flipped_bit_and_a_cut_are_found(tmp_path: Path) -> None:
    member(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 4
    for content in (bytes(flipped), whole[:-10], b""):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="sha256 mismatch"):
            load_member(tmp_path)
    with pytest.raises(DataError, match=r"model\.json not found"):
        load_member(tmp_path / "elsewhere")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch /tmp/podium-was-here",))


def torch_file(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def compressed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 100_000)
    return file.getvalue()


GOOD = {"a": torch.ones(3)}
LYING = save(GOOD).replace(b'"shape":[3]', b'"shape":[9]')
FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is an empty file"),
    "html": (lambda: b"<!DOCTYPE html><html>", "is an HTML page"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a Git LFS pointer"),
    "cut": (lambda: torch_file({"a": torch.ones(50_000)})[:5_000], "cut off"),
    "pickle with code": (lambda: torch_file({"a": Bomb()}), r"wants to run (posix|os)\.system; refused"),
    "bare pickle": (lambda: pickle.dumps(Bomb()), "a pickle that torch.save does not write; refused"),
    "whole model": (lambda: torch_file(torch.nn.Linear(2, 2)), "whole model object"),
    "path inside": (lambda: torch_file({"a": torch.ones(2), "where": Path("/tmp")}), r"holds pathlib\.\w+"),
    "numbers inside": (lambda: torch_file({"a": torch.ones(2), "epoch": 3}), "entries that are not tensors"),
    "compressed": (compressed, r"compressed or oversize member archive/data\.pkl"),
    "header too long": (lambda: b"\xff" * 7 + b"\x7f{" + b" " * 99, "not a whole safetensors file|cut off"),
    "lying shape": (lambda: LYING, "not a whole safetensors file"),
    "safetensors cut": (lambda: save({"a": torch.ones(100)})[:-8], "not a whole safetensors file"),
    "sparse": (lambda: torch_file({"a": torch.eye(3).to_sparse()}), "only dense tensors"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_from_elsewhere_runs_nothing_and_is_refused_for_what_it_is(tmp_path: Path, kind: str) -> None:
    make, message = FOREIGN[kind]
    path = tmp_path / "weights.pth"
    path.write_bytes(make())
    with pytest.raises(IntegrityError, match=message):
        read_weights(path)
    assert not Path("/tmp/podium-was-here").exists()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_plain_tensors_are_taken_from_either_format_whatever_the_wrapper(
    tmp_path: Path, wrap: Callable[..., object]
) -> None:
    network, _ = build_network(PARAMS, 3)
    other, _ = build_network(PARAMS, 3)
    torch.save(wrap(network.state_dict()), tmp_path / "w.pth")
    load_state(other, read_weights(tmp_path / "w.pth"), source="w.pth")
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )
    save_file(GOOD, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(tmp_path / "w.safetensors")["a"], GOOD["a"])


def test_half_precision_weights_load_into_a_network_of_floats() -> None:
    network, _ = build_network(PARAMS, 3)
    other, _ = build_network(PARAMS, 3)
    load_state(
        other, {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}, source="f"
    )
    assert other.head[1].weight.dtype is torch.float32  # type: ignore[index]
