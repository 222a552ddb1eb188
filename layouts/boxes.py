"""A table of image, label and bounding box (reference system E): the part inside the box is what is classified.

    train.csv, val.csv      image path, label, bounding box (four columns, or one with four numbers)
    label_map.json          optional: {"name": value}, {"value": "name"} or a CSV with the two columns value,name

What the four numbers mean is found out: of five forms the one under which most boxes lie inside their
images. A box that leaves its image is an error, or clipped, or left out with a count, as `policy` says.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from layouts.corners import SIDES, box_region, find_form
from layouts.records import (
    Listing,
    check_classes,
    check_folder,
    check_ids,
    known_labels,
    locate,
    read_classes,
)
from storage.csvfile import read_csv, repeated
from storage.errors import DataError
from storage.section import Section

CHUNK = 100_000  # boxes whose numbers are Python objects at one time


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
    rows = pd.DataFrame({"image_id": places, "path": places, "label": labels})
    if repeated(places).any():
        nth = places.groupby(places).cumcount() + 1
        rows["image_id"] = places.where(nth == 1, places + "#" + nth.astype("str"))
    rows["group"] = frame[group[0]] if group else places.str.replace(r"/?[^/]*$", "", regex=True)
    if not options.group or rows["group"].nunique() == 1:  # all images in one folder say nothing about videos
        rows["group"] = ""
    parts = range(0, len(frame), CHUNK)
    rows[list(SIDES)] = np.concatenate([numbers(frame.iloc[start : start + CHUNK], options.box) for start in parts])
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
