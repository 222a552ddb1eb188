"""A table of image, label and bounding box (reference system E): the part inside the box is what is classified.

    train.csv, val.csv      image path, label, bounding box (four columns, or one with four numbers)
    label_map.json          optional: {"name": value}, {"value": "name"} or a CSV with the two columns value,name

What the four numbers mean is found out: of the forms in FORMS the one under which most boxes lie inside their
images. A box that leaves its image is an error, or clipped, or left out with a count, as `policy` says.
"""

from __future__ import annotations

import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from layouts.records import (
    Listing,
    Region,
    check_classes,
    check_folder,
    check_ids,
    known_labels,
    locate,
    read_classes,
)
from storage.csvfile import read_csv
from storage.errors import DataError
from storage.intake import FORMATS
from storage.paths import read_below
from storage.section import Section

SIDES = ("first", "second", "third", "fourth")
FORMS = ("xyxy", "xywh", "normalised_xyxy", "normalised_xywh", "normalised_cxcywh")
LOOKED_AT = 200  # images whose size is read to find out the form
TOLERANCE = 1.0  # pixels that a box may reach beyond its image by rounding


class Options(Section):
    """`prepare.options` of this layout; paths are below `prepare.root`."""

    train_csv: str = Field("train.csv", description="table of training images")
    test_csv: str = Field("val.csv", description="table of test images; its labels are kept apart")
    images: str = Field("", description="folder that the paths in the tables start from; '' is the root")
    path: str = Field("image_path", description="column of image paths")
    label: str = Field("label", description="column of labels")
    box: list[str] = Field(["bbox"], description="one column with four numbers, or four columns")
    form: Literal["auto", "xyxy", "xywh", "normalised_xyxy", "normalised_xywh", "normalised_cxcywh"] = Field(
        "auto", description="what the four numbers are; auto takes the most plausible"
    )
    policy: Literal["error", "clip", "drop"] = Field(
        "error", description="what happens to boxes that leave their image"
    )
    label_map: str = Field("", description="JSON or CSV file with the classes; '' takes the labels themselves")
    group: str = Field("folder", description="what stays in one fold: folder (of the image: a video), or a column")
    encoding: str = Field("utf-8", description="encoding of the tables")


def listing(root: Path, options: Options) -> Listing:
    """The boxes of both tables."""
    check_folder(root)
    classes = read_label_map(root / options.label_map, options.encoding) if options.label_map else None
    train, classes, notes = read_boxes(root, options.train_csv, options, classes)
    test, _, more = read_boxes(root, options.test_csv, options, classes)
    form: str = options.form
    if form == "auto":
        form, reason = find_form(root, train)
        notes.append(reason)
    region = partial(box_region, form=form, policy=options.policy)
    notes += [*more, *check_classes(train, classes, table=root / options.train_csv)]
    return Listing(root, train, test.drop(columns="group"), classes, notes=notes, region=region)


def read_boxes(
    root: Path, name: str, options: Options, classes: dict[str, str] | None
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """One row per box; an image with several boxes has several ids, path#2 and so on."""
    table = root / name
    group = [] if options.group in ("", "folder") else [options.group]
    frame = read_csv(table, columns=[options.path, options.label, *options.box, *group], encoding=options.encoding)
    check_ids(frame[options.path], table=table)
    labels, classes, notes = known_labels(frame[options.label], classes, table=table, source=options.label_map)
    places, more = locate(frame[options.path], root, options.images, table=table, whole=False)
    nth = frame.groupby(options.path).cumcount() + 1
    rows = pd.DataFrame({"image_id": places.where(nth == 1, places + "#" + nth.astype("str")), "path": places})
    rows["label"] = labels
    rows["group"] = frame[group[0]] if group else places.str.replace(r"/?[^/]*$", "", regex=True)
    if not options.group or rows["group"].nunique() == 1:  # all images in one folder say nothing about videos
        rows["group"] = ""
    rows[list(SIDES)] = numbers(frame, options.box)
    return rows, classes, [*frame.attrs["notes"], *notes, *more]


def numbers(frame: pd.DataFrame, columns: list[str]) -> Any:
    """The four numbers of each box, NaN where there are not four.  # (n_boxes, 4)"""
    if len(columns) == len(SIDES):
        return frame[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if len(columns) != 1:
        raise DataError(f"prepare.options.box names {len(columns)} columns; expected one or four")
    parts = frame[columns[0]].str.strip("[](){} \t").str.split(r"[,;\s]+", regex=True, expand=True)
    parts = parts.reindex(columns=range(max(len(SIDES), parts.shape[1])))
    values = parts.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64).copy()
    values[~np.isnan(values[:, len(SIDES) :]).all(axis=1)] = np.nan  # more than four numbers
    return values[:, : len(SIDES)]


def read_label_map(path: Path, encoding: str) -> dict[str, str]:
    """The classes of a label map: value to name."""
    if path.suffix.lower() != ".json":
        return read_classes(path, "value", "name", encoding=encoding)
    try:
        content = json.loads(path.read_text(encoding=encoding))
    except FileNotFoundError:
        raise DataError(f"{path} not found") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(value, str | int) for value in content.values()):
        raise DataError(f"{path}: expected {{name: value}} or {{value: name}}")
    if all(re.fullmatch(r"\d+", str(value)) for value in content.values()):
        content = {str(value): str(name) for name, value in content.items()}
    by_number = all(re.fullmatch(r"\d+", value) for value in content)
    return {str(value): str(content[value]) for value in (sorted(content, key=int) if by_number else content)}


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
