"""The contest of benchmarks/fashion.py: clean Fashion-MNIST images to train on, noisy ones to name, answers hidden."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from layouts.embedded import write_png
from layouts.idx import read_idx
from storage.atomic import building, write_text

SOURCE = Path("/usr/share/datasets/fashion-mnist")
NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]
EACH = {"train": 157, "t10k": 314}  # images of each class
Pixels = npt.NDArray[np.uint8]


def lay_out(folder: Path, answers: Path, *, seed: int) -> None:
    """Write the contest to `folder`, as `csv_images` reads it, and the hidden labels to `answers`."""
    random = np.random.default_rng(seed)
    tables: dict[str, list[str]] = {}
    with building(folder) as root:
        for part, count in EACH.items():
            images = read_idx(SOURCE / f"{part}-images-idx3-ubyte.gz")
            labels = read_idx(SOURCE / f"{part}-labels-idx1-ubyte.gz")
            rows = np.concatenate([random.permutation(np.flatnonzero(labels == c))[:count] for c in range(len(NAMES))])
            name = "train" if part == "train" else "test"
            (root / name).mkdir()
            tables[name] = []
            for number, row in enumerate(random.permutation(rows)):
                pixels = np.repeat(images[row][:, :, None], 3, axis=2)
                write_png(root / name / f"{name}{number:04}.png", pixels if name == "train" else noisy(pixels, random))
                tables[name].append(f"{name}{number:04}.png,{labels[row]}")
        write_text(root / "train.csv", "\n".join(["ID,target", *tables["train"], ""]))
        write_text(root / "meta.csv", "\n".join(["target,class_name", *(f"{i},{n}" for i, n in enumerate(NAMES)), ""]))
        blank = [f"{line.split(',')[0]},0" for line in tables["test"]]
        write_text(root / "sample_submission.csv", "\n".join(["ID,target", *blank, ""]))
    write_text(answers, "\n".join(["ID,target", *tables["test"], ""]))


def noisy(image: Pixels, random: np.random.Generator) -> Pixels:
    """Any rotation, flips, blur, jitter and tint, Gaussian noise, JPEG: one after another.  # (28, 28, 3)"""
    height, width = image.shape[:2]
    flipped = image[:: random.choice([1, -1]), :: random.choice([1, -1])]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), random.uniform(-180, 180), 1.0)
    turned = cv2.warpAffine(np.ascontiguousarray(flipped), turn, (width, height), flags=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(turned.astype(np.float32), (0, 0), random.uniform(0.3, 1.2))
    tinted = blurred * random.uniform(0.6, 1.1) * random.uniform(0.7, 1.0, 3) + random.uniform(0, 60, 3)
    final = np.clip(np.rint(tinted + random.normal(0, random.uniform(5, 40), tinted.shape)), 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", final, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 96))])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
