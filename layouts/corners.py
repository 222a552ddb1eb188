"""Bounding boxes: what four numbers mean, whether a box lies inside its image, what becomes of one that does not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from layouts.records import Region
from storage.errors import DataError
from storage.intake import FORMATS
from storage.paths import read_below

SIDES = ("first", "second", "third", "fourth")
FORMS = ("xyxy", "xywh", "normalised_xyxy", "normalised_xywh", "normalised_cxcywh")
LOOKED_AT = 200  # images whose size is read to find out the form
TOLERANCE = 1.0  # pixels that a box may reach beyond its image by rounding


def find_form(root: Path, rows: pd.DataFrame) -> tuple[str, str]:
    """The form under which most of some images' boxes lie inside, and the reason."""
    looked_at = rows.iloc[np.linspace(0, len(rows) - 1, min(len(rows), LOOKED_AT)).astype(int)]
    sizes = []
    for path in looked_at["path"]:
        try:
            with Image.open(io.BytesIO(read_below(root, path)), formats=FORMATS) as image:  # the header only
                sizes.append(image.size)
        except (OSError, DataError, Image.DecompressionBombError):
            sizes.append((0, 0))
    boxes = looked_at[list(SIDES)].to_numpy(np.float64)
    share = {}
    for form in FORMS:
        fits = [inside(as_corners(box, form, *size), *size) for box, size in zip(boxes, sizes, strict=True)]
        share[form] = float(np.mean(fits))
    best = max(FORMS, key=lambda form: share[form])
    told = ", ".join(f"{form} {part:.0%}" for form, part in share.items())
    if share[best] < 0.5:
        raise DataError(f"no form of box fits most images ({told} inside). Set prepare.options.form and policy")
    alike = [form for form in FORMS if share[form] > share[best] - 0.01]
    if len(alike) > 1:
        raise DataError(f"boxes fit as {' and as '.join(alike)} alike. Set prepare.options.form")
    return best, f"boxes read as {best}: boxes inside their images, by form: {told}"


def as_corners(box: Any, form: str, width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in pixels of the four numbers of a box."""
    a, b, c, d = (float(value) for value in box)
    if form.startswith("normalised"):
        a, b, c, d = a * width, b * height, c * width, d * height
    if form.endswith("cxcywh"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return (a, b, a + c, b + d) if form.endswith("xywh") else (a, b, c, d)


def inside(corners: tuple[float, float, float, float], width: int, height: int) -> bool:
    """Whether a box has an area of a pixel and more, and lies inside its image."""
    left, top, right, bottom = corners
    fits = min(left, top) >= -TOLERANCE and right <= width + TOLERANCE and bottom <= height + TOLERANCE
    return fits and right - left >= 1 and bottom - top >= 1  # comparisons with NaN are false


def box_region(row: dict[str, Any], width: int, height: int, *, form: str, policy: str) -> tuple[Region | None, str]:
    """The pixels inside a box, with a note to count; None where the policy leaves the box out."""
    box = [row[side] for side in SIDES]
    corners = as_corners(box, form, width, height)
    good = inside(corners, width, height)
    if not good and policy == "error":
        told = ", ".join(f"{value:g}" for value in box)
        raise DataError(f"{row['path']}: box [{told}] ({form}) in {width} x {height}. Set prepare.options.policy")
    if not good and (policy == "drop" or not np.isfinite(corners).all()):
        return None, "box outside its image, left out"
    left, right = (min(max(round(value), 0), width) for value in corners[::2])
    top, bottom = (min(max(round(value), 0), height) for value in corners[1::2])
    if right <= left or bottom <= top:
        return None, "box without an area, left out"
    return (left, top, right, bottom), "" if good else "box clipped to its image"
