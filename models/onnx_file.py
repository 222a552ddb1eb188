"""A trained fold as one ONNX file, from uint8 images to probabilities, checked against the network itself."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.precision import apply_format
from models.weights import Saved
from storage.atomic import write_bytes
from storage.errors import IntegrityError, missing_extra

TOLERANCE = 1e-4  # largest difference of a probability
NEEDED = ("onnx", "onnxscript", "onnxruntime")


class Served(nn.Module):
    """uint8 (n, size, size, 3) RGB to the mean probability of a fold's networks, normalisation included."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, saved: Saved) -> None:
        super().__init__()
        self.networks = nn.ModuleList(saved.networks)
        mean, std = torch.tensor(saved.preprocessing.mean), torch.tensor(saved.preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities.  # (n_images, n_classes)"""
        pixels = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return torch.stack([network(pixels).softmax(dim=1) for network in self.networks]).mean(dim=0)


def write_onnx(saved: Saved, path: Path) -> float:
    """Write the file; returns the largest difference to torch on random images.

    Raises ResourceError without the extra, IntegrityError where the difference exceeds TOLERANCE (nothing is written).
    """
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "onnx")
    for network in saved.networks:
        apply_format(network, "fp32")
    model, size = Served(saved).eval(), saved.preprocessing.size
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = labelled(exported(model, images), saved)
    with torch.inference_mode():
        gap = max(difference(data, batch, model(batch)) for batch in (images, images[:1]))
    if gap > TOLERANCE:
        raise IntegrityError(f"{path}: ONNX and torch differ by {gap:.2g} in a probability; nothing was written")
    write_bytes(path, data)
    return gap


def exported(model: nn.Module, images: torch.Tensor) -> bytes:
    """The ONNX bytes of a module, any number of images a call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (images,), dynamo=True, verbose=False, input_names=["images"], output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n_images", min=1)},),
        )  # fmt: skip
        if program is None:
            raise IntegrityError("torch could not express this network in ONNX")
    return bytes(program.model_proto.SerializeToString())


def labelled(data: bytes, saved: Saved) -> bytes:
    """The same model with its classes and preprocessing as metadata."""
    import onnx

    model = onnx.load_from_string(data)
    for key, value in (("classes", saved.class_names), ("preprocessing", saved.preprocessing.as_json())):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, ensure_ascii=False)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def difference(data: bytes, images: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference between ONNX Runtime's probabilities and torch's."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    return float(np.abs(found - expected.numpy()).max())
