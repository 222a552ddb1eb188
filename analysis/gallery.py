"""The gallery's data and pictures: disputed test images, or suspicious training images, with all that is said of them.

Pictures are files beside the page, in a folder that appears at once: small ones for the grid, large ones for the close
view. The page carries what filters and the grid need as one compact JSON, which `templates/gallery.js` reads; what only
the close view shows lies in slices beside it, `details/<part>-000.js`, loaded when they are looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from analysis.disagreement import entropy, margin
from analysis.pictures import Pictures, decode, fit
from analysis.sources import Source

Array = np.ndarray[Any, np.dtype[Any]]
SHOWN = 3  # classes with the largest probabilities, per source
NEAR_CHUNK = 2_000
SLICE = 200  # rows whose details share a file
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def nearest(points: Array, others: Array, count: int) -> Array:
    """The `count` nearest rows of `others` for each row of `points`, nearest first.  # (n_points, count)

    Both hold square roots of probabilities, (n, n_members * n_classes), so that the distance is Hellinger's.
    """
    count = min(count, len(others))
    result = np.empty((len(points), count), dtype=np.int64)
    norms = (others**2).sum(axis=1)
    for start in range(0, len(points), NEAR_CHUNK):
        part = points[start : start + NEAR_CHUNK]
        distance = norms - 2 * part @ others.T  # the points' own norms change no order
        chosen = np.argpartition(distance, max(count - 1, 0), axis=1)[:, :count]
        inner = np.argsort(np.take_along_axis(distance, chosen, axis=1), axis=1, kind="stable")
        result[start : start + len(part)] = np.take_along_axis(chosen, inner, axis=1)
    return result


def roots(tables: Sequence[Array]) -> Array:
    """Square roots of several members' probabilities side by side.  # (n_rows, n_members * n_classes)"""
    return np.asarray(np.sqrt(np.concatenate(tables, axis=1)), dtype=np.float32)


def top_shares(probabilities: Array, rows: Array) -> list[list[int]]:
    """For each row the likeliest classes and their shares in thousandths: [class, share, class, share, ...]."""
    part = probabilities[rows]
    order = np.argsort(-part, axis=1, kind="stable")[:, :SHOWN]
    shares = np.rint(1000 * np.take_along_axis(part, order, axis=1)).astype(int)
    return [
        [number for label, share in zip(labels, values, strict=True) if share for number in (label, share)]
        for labels, values in zip(order.tolist(), shares.tolist(), strict=True)
    ]


def write_rows(
    folder: Path,
    rows: Array,
    *,
    part: str,
    ids: Sequence[str],
    sources: Sequence[Source],
    shares: Array,
    pictures: Sequence[str],
    near: Sequence[Sequence[Any]],
) -> list[list[Any]]:
    """The gallery's rows: [id, picture, labels, entropy, margin]; writes the rest of them as slices.

    `near` holds for each row [id, picture, label] of its nearest training images, one after another.
    """
    write_details(folder / "details", rows, part=part, sources=sources, near=near)
    labels = np.stack([source.labels[rows] for source in sources], axis=1)
    said = shares[rows]
    bits, gaps = np.round(entropy(said), 3), np.round(margin(said), 3)
    return [
        [ids[row], pictures[place], labels[place].tolist(), float(bits[place]), float(gaps[place])]
        for place, row in enumerate(rows.tolist())
    ]


def write_details(
    folder: Path, rows: Array, *, part: str, sources: Sequence[Source], near: Sequence[Sequence[Any]]
) -> None:
    """Write the slices: scripts that hand over [shares per source, nearest training images] of SLICE rows each.

    Scripts, since a page that is opened from disk may not read other files. They hold one call with JSON in ASCII.
    """
    folder.mkdir(exist_ok=True)
    tops = [
        top_shares(source.probabilities, rows) if source.probabilities is not None else [0] * len(rows)
        for source in sources
    ]
    for number, start in enumerate(range(0, len(rows), SLICE)):
        places = range(start, min(start + SLICE, len(rows)))
        content = json.dumps([[[top[place] for top in tops], near[place]] for place in places], separators=(",", ":"))
        (folder / f"{part}-{number:03d}.js").write_text(f"podiumDetails({number},{content});\n", encoding="ascii")


def write_pictures(
    folder: Path, pictures: Pictures, rows: Iterable[int], *, part: str, thumbnail: int, large: int | None
) -> list[str]:
    """Write one small, and with `large` one large picture per row; returns their paths relative to `folder`.

    A small original serves as both: its path begins with `images/`, others' with `thumbnails/`.
    """
    for name in ("thumbnails", "images"):
        (folder / name).mkdir(exist_ok=True)

    def write(row: int) -> str:
        stored, longest = pictures.encoded(row), max(pictures.shape(row))
        ending = "png" if stored[:4] == b"\x89PNG" else "jpg"
        name = f"{part}-{row:06d}"
        if longest <= thumbnail:
            (folder / f"images/{name}.{ending}").write_bytes(stored)
            return f"images/{name}.{ending}"
        (folder / f"thumbnails/{name}.jpg").write_bytes(small_jpeg(stored, longest, thumbnail, 80))
        if large is not None:
            fits = longest <= large and ending == "jpg"
            (folder / f"images/{name}.jpg").write_bytes(stored if fits else small_jpeg(stored, longest, large, 88))
        return f"thumbnails/{name}.jpg"

    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ) as threads:  # OpenCV works outside the interpreter's lock
        return list(threads.map(write, rows))


def small_jpeg(stored: bytes, longest: int, side: int, quality: int) -> bytes:
    """A stored picture with at most `side` pixels, as a JPEG; decoded at 1/2, 1/4 or 1/8 where that is enough."""
    flag = next((flag for factor, flag in REDUCED if longest >= factor * side), cv2.IMREAD_COLOR)
    pixels = fit(decode(stored, flag=flag), side)  # blue, green, red: so it is written again
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {pixels.shape} cannot be encoded")
    return data.tobytes()
