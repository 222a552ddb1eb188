"""Weights on disk: `model.safetensors` beside `model.json`, which holds all that is needed to use them.

Files from elsewhere (`pretrained: path`) are opened without running anything in them, and each fault is named.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from models.network import Network, build_network
from models.precision import apply_format
from models.preprocessing import Preprocessing
from models.schema import ModelParams
from storage.atomic import sha256, write_bytes, write_json
from storage.errors import DataError, IntegrityError, problems

FORMAT = 1
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Saved:
    """A trained member, ready to predict."""

    networks: list[Network]  # one per seed
    preprocessing: Preprocessing
    description: dict[str, Any]  # model.json

    @property
    def class_names(self) -> list[str]:
        """In the order of the outputs."""
        return list(self.description["classes"])

    @property
    def views(self) -> tuple[str, ...]:
        """Views to average when predicting."""
        return tuple(self.description["tta"])


def file_name(seed: int) -> str:
    """The weights' file of a fold's first, second, ... seed."""
    return "model.safetensors" if seed == 0 else f"model-{seed}.safetensors"


def save_member(folder: Path, networks: list[Network], description: dict[str, Any]) -> None:
    """Write the weights, then model.json with their hashes."""
    files = []
    for seed, network in enumerate(networks):
        path = folder / file_name(seed)
        write_bytes(path, save({k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}))
        files.append({"file": path.name, "sha256": sha256(path)})
    write_json(folder / "model.json", {"format": FORMAT, **description, "weights": files})


def load_member(folder: str | Path) -> Saved:
    """The member in `folder`; raises IntegrityError where files are missing, changed, or of another network."""
    folder = Path(folder)
    path = folder / "model.json"
    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        params = ModelParams(**description["params"])
        preprocessing = Preprocessing.from_json(description["preprocessing"])
        classes, files, number = description["classes"], description["weights"], description["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is not a member's description ({error})") from None
    if number != FORMAT:
        raise IntegrityError(f"{path} has format {number}; this version reads {FORMAT}")
    networks = []
    for entry in files:
        weights = folder / Path(entry["file"]).name
        if not weights.is_file() or sha256(weights) != entry["sha256"]:
            raise IntegrityError(
                f"{weights}: sha256 mismatch (missing, cut off or changed). Run: dvc checkout {folder}"
            )
        network, native = build_network(params, len(classes))
        differences = native.differences(preprocessing)
        if differences:
            raise IntegrityError(f"{path}: preprocessing differs from the backbone's: {', '.join(differences)}")
        load_state(network, load_file(weights), source=str(weights))
        apply_format(network, description["precision"])
        networks.append(network.eval())
    return Saved(networks, preprocessing, description)


def read_weights(path: str | Path) -> State:
    """A state dict of dense tensors from .safetensors or a .pth of plain tensors; nothing in the file is run.

    Raises IntegrityError that says what is wrong: empty, cut off, a web page, a pickle with code, a whole model.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} not found (pretrained: a file of weights, hub, wheel or none)")
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise IntegrityError(f"{path} is an empty file")
    if start.lstrip()[:1] == b"<":
        raise IntegrityError(f"{path} is an HTML page; the download probably needs a login")
    if start.startswith(b"version https://git-lfs"):
        raise IntegrityError(f"{path} is a Git LFS pointer; run: git lfs pull")
    state = read_safetensors(path) if start[8:9] == b"{" and start[:1] != b"P" else read_torch(path)
    wrong = [
        name for name, value in state.items() if value.layout != torch.strided or value.is_quantized or value.is_meta
    ]
    if wrong:
        raise IntegrityError(problems(f"{path}: only dense tensors can be loaded", wrong))
    return state


def read_safetensors(path: Path) -> State:
    """The tensors of a safetensors file."""
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise IntegrityError(f"{path} is not a whole safetensors file: {error}") from None


def read_torch(path: Path) -> State:
    """The tensors of a file of torch.save, read by torch's unpickler for plain tensors."""
    refuse_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of old protocols and sparse tensors; both are judged below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{path}: {explain(str(error))}") from None
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if isinstance(content, nn.Module) or not isinstance(content, Mapping):
        raise IntegrityError(f"{path} holds a whole model object; ask for its state_dict, or for safetensors")
    other = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if other:
        raise IntegrityError(problems(f"{path}: entries that are not tensors", [str(name) for name in other]))
    return dict(content)


def explain(message: str) -> str:
    """What torch's refusal means, in one line."""
    if "operand" in message or "opcode" in message.lower():
        return "is a pickle that torch.save does not write; refused"
    found = re.search(r"(?:global|GLOBAL|class)\s+`?([\w.]+)`?", message) or re.search(r"Unsupported (\S+)", message)
    name = found.group(1) if found else ""
    if name.startswith(("torch.nn.modules", "torchvision.models", "timm.models")):
        return f"holds a whole model object ({name}); ask for its state_dict, or for safetensors"
    if name.split(".")[0] in ("posix", "nt", "os", "subprocess", "builtins", "sys", "shutil"):
        return f"file wants to run {name}; refused"
    if name:
        return f"holds {name}, which is not a tensor; save the state_dict alone, or safetensors"
    return f"file is cut off or not made by torch.save ({message.splitlines()[0][:120]})"


def refuse_archive(path: Path) -> None:
    """Refuse zip members that are compressed or larger than the file: torch.save writes neither."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
                raise IntegrityError(f"{path}: compressed or oversize member {member.filename}; refused")


def load_state(module: nn.Module, state: State, *, source: str, ignore_head: bool = False) -> list[str]:
    """Load weights by name into `module`; returns the names left as they were (only a head, if `ignore_head`).

    Raises IntegrityError naming the first missing, unexpected and misshapen weights.
    """
    state = strip_prefix(state)
    ours = module.state_dict()
    heads = ("head.", "fc.", "classifier.", "head_drop.") if ignore_head else ()
    items = [f"{name} is missing" for name in ours if name not in state and not counter(name)]
    items += [
        f"{name} is not a weight of this network" for name in state if name not in ours and not name.startswith(heads)
    ]
    for name in ours.keys() & state.keys():
        if ours[name].shape != state[name].shape:
            items.append(f"{name} is {tuple(state[name].shape)}, the network has {tuple(ours[name].shape)}")
    if items:
        raise IntegrityError(problems(f"{source} holds weights of another network or class count", sorted(items)))
    module.load_state_dict({name: state[name] for name in ours if name in state}, strict=False)
    return [name for name in ours if name not in state]


def counter(name: str) -> bool:
    """BatchNorm's step counter, which old files lack and prediction does not use."""
    return name.endswith("num_batches_tracked")


def strip_prefix(state: State) -> State:
    """Without a common prefix such as `module.` that wrappers leave."""
    for prefix in ("module.", "_orig_mod.", "model."):
        if state and all(name.startswith(prefix) for name in state):
            return {name.removeprefix(prefix): value for name, value in state.items()}
    return state
