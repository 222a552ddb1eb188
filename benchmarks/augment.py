"""Augmentation: speed against albumentations done well, torchvision v2 and the limits; fidelity; noise fitting.

The chain of every candidate: rotate within 30 degrees on white, flip, colour jitter, blur, Gaussian noise, JPEG q95 in
4:2:0, append to one file; sources are decoded once for all their copies. Real photos (scikit-learn's two), cut and
resized. A limit does nothing but decode the source, encode the finished copy and write it, copy by copy: by OpenCV and
by simplejpeg, which is faster; `of_limit` is against the faster. All candidates take turns in one run, in CPU time of
one thread, and a ratio is the median of the turns' ratios; two workers in wall time, which asks for an idle machine.
Fidelity and noise fitting: benchmarks/augment_training.py. Writes benchmarks/results/augment.json, prints tables.
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
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import simplejpeg

from augmentation.copies import Copier
from augmentation.plan import plan_copies
from augmentation.recipe import AugmentParams
from augmentation.workers import run
from augmentation.writing import FEWEST_SHARDS, ShardTask, read_places, shard_task, write_shard
from benchmarks.augment_training import NOISES, albumentations_chain, fidelity, noise_fit
from storage.atomic import write_json
from storage.shards import ShardWriter

Array = np.ndarray[Any, np.dtype[Any]]
RESULTS = Path("benchmarks/results/augment.json")
SIZES = {"443x591": (591, 443), "384": (384, 384), "224": (224, 224)}
SOURCES, COPIES, ROUNDS = 8, 10, 7
SOURCE_PIXELS = 2_400_000  # of the sources of one of its tasks: less than a shard of the stage has
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


def tasks_for(folder: Path, images: Sequence[Array], params: AugmentParams, *, per_task: int) -> list[ShardTask]:
    """Sources in a shard, and the plan of their copies as tasks of the augment stage, `per_task` sources each."""
    rows = []
    with ShardWriter(folder, "sources") as shard:
        for i, image in enumerate(images):
            offset, size = shard.add(f"{i}.jpg", jpeg(image).tobytes())
            height, width = image.shape[:2]
            rows.append((f"{i}", "sources.tar", offset, size, 0, width, height))
    columns = ["image_id", "shard", "offset", "size", "label", "width", "height"]
    train = pd.DataFrame(rows, columns=columns)
    plan = plan_copies(params, train, np.zeros(len(train), dtype=np.int64), ["photo"])
    places, step = read_places(train), per_task * COPIES
    starts = range(0, len(plan.source), step)
    return [shard_task(f"shard-{i}", slice(i, i + step), plan, places, params.encoding) for i in starts]


def ours(folder: Path, tasks: Sequence[ShardTask], params: AugmentParams) -> None:
    """The tasks of the augment stage, in this process."""
    for task in tasks:
        write_shard(task, params=params, source_folder=folder, folder=folder)


def ours_in_rgb(folder: Path, tasks: Sequence[ShardTask], params: AugmentParams) -> None:
    """The same without the form in planes."""
    with mock.patch("augmentation.planar.possible", return_value=False):
        ours(folder, tasks, params)


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
    chain = A.Compose(albumentations_chain(A, 255))
    return lambda pixels: jpeg(chain(image=pixels)["image"])


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


def limit_opencv(sources: Sequence[Array], finished: Sequence[Array], file: BinaryIO) -> None:
    """Nothing but decoding, encoding and writing."""
    for i, pixels in enumerate(finished):
        cv2.imdecode(sources[i // COPIES], cv2.IMREAD_COLOR)
        file.write(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    file.flush()


def limit_simplejpeg(sources: Sequence[Array], finished: Sequence[Array], file: BinaryIO, *, decode: bool) -> None:
    """The same with simplejpeg, whose libjpeg-turbo is faster."""
    for i, pixels in enumerate(finished):
        if decode:
            simplejpeg.decode_jpeg(sources[i // COPIES], "BGR")
        file.write(simplejpeg.encode_jpeg(pixels, QUALITY, "BGR", "420"))
    file.flush()


def remove_shards(folder: Path) -> None:
    """Delete what the turn before wrote: giving its blocks back is no part of writing copies for the first time."""
    for path in folder.glob("shard-*.tar"):
        path.unlink()


def cpu_seconds(function: Callable[[], Any]) -> float:
    """CPU time of this process."""
    started = time.process_time()
    function()
    return time.process_time() - started


def speed(name: str, size: tuple[int, int], scratch: Path) -> dict[str, Any]:
    """All candidates in turns at one size."""
    cv2.setNumThreads(1)
    params, images, folder = recipe(), photos(size, SOURCES), scratch / name
    tasks = tasks_for(folder, images, params, per_task=SOURCES)
    sources, copier = [jpeg(image) for image in images], Copier(params)
    finished = [
        np.ascontiguousarray(copier.render(image, str(i), k)[..., ::-1])
        for i, image in enumerate(images)
        for k in range(COPIES)
    ]
    with (folder / "peers.bin").open("wb") as file:
        candidates: dict[str, Callable[[], Any] | None] = {
            "ours": partial(ours, folder, tasks, params),
            "ours_in_rgb": partial(ours_in_rgb, folder, tasks, params),
            "limit_opencv": partial(limit_opencv, sources, finished, file),
            "limit_simplejpeg": partial(limit_simplejpeg, sources, finished, file, decode=True),
            "limit_append": partial(limit_simplejpeg, sources, finished, file, decode=False),
        }
        for peer, make in (("albumentations", with_albumentations()), ("torchvision", with_torchvision())):
            candidates[peer] = None if make is None else partial(appended, sources, file, make)
        taken = turns({name: function for name, function in candidates.items() if function is not None}, folder)
    ratios = {name: float(np.median(seconds / taken["ours"])) for name, seconds in taken.items()}
    return {
        "copies_per_source": COPIES,
        "images_per_s": round(SOURCES * COPIES / float(np.median(taken["ours"])), 1),
        **{f"vs_{peer}": round(ratios[peer], 2) for peer in ("albumentations", "torchvision") if peer in ratios},
        "of_limit": round(min(ratios["limit_opencv"], ratios["limit_simplejpeg"]), 3),
        "of_limit_opencv": round(ratios["limit_opencv"], 3),
        "of_limit_append": round(ratios["limit_append"], 3),
        **{f"{name}_images_per_s": round(SOURCES * COPIES / float(np.median(s)), 1) for name, s in taken.items()},
        **two_workers(folder, size),
    }


def turns(candidates: dict[str, Callable[[], Any]], folder: Path) -> dict[str, Array]:
    """CPU seconds of each candidate in each turn; the first warms up.  # (ROUNDS,)"""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS + 1):
        for name, function in candidates.items():
            remove_shards(folder)
            times[name].append(cpu_seconds(function))
    return {name: np.array(seconds[1:]) for name, seconds in times.items()}


def two_workers(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """Wall time of one worker over that of two, and the largest memory of a worker process."""
    params, n_tasks = recipe(), FEWEST_SHARDS
    per_task = max(1, round(SOURCE_PIXELS / (size[0] * size[1])))
    tasks = tasks_for(folder, photos(size, n_tasks * per_task), params, per_task=per_task)
    job = partial(measured, params=params, folder=folder)
    list(run(job, tasks[:4], workers=2, backend="loky"))  # starts the processes
    ratios: list[float] = []
    memory = 0.0
    for _ in range(3):
        seconds = {}
        for workers in (1, 2):
            remove_shards(folder)
            started = time.perf_counter()
            peaks = list(run(job, tasks, workers=workers, backend="loky"))
            seconds[workers] = time.perf_counter() - started
            memory = max(peaks) if workers == 2 else memory
        ratios.append(seconds[1] / seconds[2])
    return {"two_workers": round(statistics.median(ratios), 2), "peak_memory_mb": round(memory, 1)}


def measured(task: ShardTask, *, params: AugmentParams, folder: Path) -> float:
    """One task; returns the process's peak memory in MB, which /proc counts from its own start."""
    write_shard(task, params=params, source_folder=folder, folder=folder)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def report(part: str, values: dict[str, Any]) -> None:
    """Put one part into the result file."""
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    content[part] = values
    write_json(RESULTS, content)


def show(title: str, values: dict[str, Any]) -> None:
    """One part as a small table."""
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:<34} {value}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("speed", "noise_fit", "fidelity"))
    parser.add_argument("--budget", type=int, default=60_000, help="copies that each noise fitting may render")
    parser.add_argument("--seeds", type=int, default=1, help="trainings behind each F1 of noise fitting")
    options = parser.parse_args()
    if options.only in (None, "speed"):
        with tempfile.TemporaryDirectory() as scratch:
            for name, size in SIZES.items():
                result = speed(name, size, Path(scratch))
                report(name, result)
                show(name, result)
    parts = [part for part in ("noise_fit", "fidelity") if options.only in (None, part)]
    jobs = [(part, name) for part in parts for name in (NOISES if part == "noise_fit" else ("digits", "fashion"))]
    trained: dict[str, dict[str, Any]] = {part: {} for part in parts}
    job = partial(training, budget=options.budget, seeds=options.seeds)
    for part, name, value in run(job, jobs, workers=min(2, os.cpu_count() or 1), backend="loky"):
        trained[part][name] = value
        if value is not None:
            show(f"{part} {name}", value)
    for part, values in trained.items():
        found = {name: value for name, value in values.items() if value is not None}
        report(part, found.pop("digits") | found if part == "noise_fit" else found)


def training(job: tuple[str, str], *, budget: int, seeds: int) -> tuple[str, str, dict[str, Any] | None]:
    """One noise fitting, or one comparison of fidelity."""
    part, name = job
    return part, name, noise_fit(name, budget, seeds) if part == "noise_fit" else fidelity(name, CHAIN)


if __name__ == "__main__":
    main()
