"""What a layout yields: a listing of images with ids, labels and groups, checked; and where to find each layout.

A layout is one module of this package with a pydantic model `Options` and a function
`listing(root, options) -> Listing`. It reads tables and names only; images are opened later, by `stages.prepare`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.csvfile import ByteStyle, byte_style, read_csv, repeated
from storage.errors import DataError, ParamsError, problems
from storage.intake import IMAGE_SUFFIXES, Pixels
from storage.paths import UNUSUAL, path_problem, read_below
from storage.section import Section

LAYOUTS = {
    "csv_images": "a table of file names and labels, images in folders",
    "class_folders": "one folder of images per class",
    "masks": "a table of persons, seven pictures of each; 18 classes from three attributes",
    "cifar": "CIFAR-10 or CIFAR-100 as its official archive",
    "boxes": "a table of image, label and bounding box",
    "idx": "idx files, as MNIST and Fashion-MNIST",
}
WAYS = {  # how ids name files: what is taken off the file's path to get the id
    "": "",
    "after adding the extension": r"\.[^./]+$",
    "by file name in sub-folders": r"^.*/",
    "by file name without extension": r"^.*/|\.[^./]+$",
}
CHUNK = 100_000  # names that are Python objects at one time
Load = Callable[[Path, str, int], bytes | Pixels]  # root, path, position: a file's bytes, or pixels
Region = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside


@dataclass(frozen=True)
class Sample:
    """A sample submission as it lies on disk: its columns, its ids in order, and how its bytes are laid out."""

    path: Path
    columns: list[str]
    ids: list[str]
    style: ByteStyle


@dataclass(frozen=True)
class Listing:
    """All images of a competition, not yet opened.

    `train` has the columns image_id, path (relative to `root`), label (a value of `classes`), group ("" for none),
    and may have `position` (in a file of many images) and columns of the layout's own; `test` has image_id and path,
    and may have label where the answers are known. `classes` maps each value to its name.
    `load(root, path, position)` reads one image where a path is not that of its file alone; `region(row, width,
    height)` says which part of it counts (None: leave it out) with a note to count. Both are picklable functions.
    """

    root: Path
    train: pd.DataFrame
    test: pd.DataFrame
    classes: dict[str, str]
    sample: Sample | None = None
    notes: list[str] = field(default_factory=list)
    load: Load | None = None
    region: Callable[[dict[str, Any], int, int], tuple[Region | None, str]] | None = None

    def read(self, path: str, position: int) -> bytes | Pixels:
        """One image, as it lies there."""
        return self.load(self.root, path, position) if self.load else read_below(self.root, path)


class Layout(Protocol):
    """A module of this package."""

    Options: type[Section]

    def listing(self, root: Path, options: Any) -> Listing:
        """The images below `root`."""


def layout(name: str) -> Layout:
    """The layout's module; raises ParamsError for an unknown name."""
    if name not in LAYOUTS:
        raise ParamsError(f"prepare.layout: no layout {name!r}; there are {', '.join(LAYOUTS)}")
    return cast(Layout, import_module(f"layouts.{name}"))


def check_folder(root: Path) -> None:
    """Refuse a root that is not there."""
    if not root.is_dir():
        raise DataError(f"{root} is not a folder. Put the data there, run podium fetch, or set prepare.root")


def files_below(root: Path, folder: str = "") -> pd.Series[str]:
    """The relative paths of all image files in a folder below `root`, sorted; links are not followed."""
    top = root / folder
    if not top.is_dir():
        raise DataError(f"{top} is not a folder")

    def names() -> Iterator[str]:
        for here, folders, files in os.walk(top):
            folders.sort()
            inside = os.path.relpath(here, top)
            prefix = "" if inside == "." else f"{inside}/"
            yield from (prefix + name for name in sorted(files) if Path(name).suffix.lower() in IMAGE_SUFFIXES)

    every = names()
    parts = iter(lambda: pa.array(islice(every, CHUNK), pa.large_string()), pa.array([], pa.large_string()))
    found = pa.chunked_array(list(parts), pa.large_string())
    if not len(found):
        raise DataError(f"{top} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    series: pd.Series[str] = found.combine_chunks().to_pandas()
    return series


def locate(
    ids: pd.Series[str], root: Path, folder: str, *, table: Path, whole: bool = True
) -> tuple[pd.Series[str], list[str]]:
    """For each id the path of its file below `root`, and notes; `ids` is indexed by line of `table`.

    An id may be the path below `folder`, or that without its extension, or the bare name of a file in any sub-folder.
    If the table should list the `whole` folder, files that it does not list are noted.
    Raises DataError for paths that leave the root and for ids without a file.
    """
    check_paths(ids, table=table)
    files = files_below(root, folder)
    how, rows = match(ids, files)
    if (rows < 0).any():
        missing = [f"line {line}: {text}" for line, text in ids[rows < 0].items()]
        title = f"{len(missing)} of {len(ids)} images of {table} are missing (looked in {root / folder})"
        raise DataError(problems(title, missing))
    if how:
        keys = files.str.replace(WAYS[how], "", regex=True)
        twice = keys[repeated(keys)]
        twice = twice[twice.isin(ids)]
        if len(twice):
            raise DataError(
                problems(f"{root / folder}: several files fit one id of {table}", files[twice.index].tolist())
            )
    prefix = f"{folder}/" if folder else ""
    places = prefix + files.take(rows)
    places.index = ids.index
    unlisted = len(files) - len(np.unique(rows)) if whole else 0
    notes = [f"{table.name}: ids matched {how}"] if how else []
    notes += [f"{unlisted:,} images in {root / folder} are not listed in {table.name}"] if unlisted else []
    return places, notes


def match(ids: pd.Series[str], files: pd.Series[str]) -> tuple[str, NDArray[np.int64]]:
    """The plainest of WAYS in which most ids fit files, and for each id its row in `files`, -1 without one."""
    best, rows = "", np.full(len(ids), -1)
    wanted = pa.array(ids)
    for how, ending in WAYS.items():
        keys = files.str.replace(ending, "", regex=True) if ending else files
        found = pc.fill_null(pc.index_in(wanted, value_set=pa.array(keys)), -1).to_numpy().astype(np.int64)
        if (found >= 0).sum() > (rows >= 0).sum():
            best, rows = how, found
        if (rows >= 0).all():
            break
    return best, rows


def check_paths(paths: pd.Series[str], *, table: Path) -> None:
    """Refuse paths that leave the root or are not portable."""
    unusual = paths[paths.str.contains(UNUSUAL, regex=True)]
    unsafe = [f"line {line}: {problem}" for line, text in unusual.items() if (problem := path_problem(text))]
    if unsafe:
        raise DataError(problems(f"{table} names files that are refused", unsafe))


def check_ids(ids: pd.Series[str], *, table: Path) -> None:
    """Refuse empty ids."""
    blank = ids[ids.str.len() == 0].index.union(ids[ids.str.isspace()].index)
    empty = [f"line {line}: empty {ids.name}" for line in blank]
    if empty:
        raise DataError(problems(f"{table} has rows without an id", empty))


def without_repeats(train: pd.DataFrame, *, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Rows with each image_id once; raises DataError where one id has two labels."""
    twice = train[repeated(train["image_id"])]
    if twice.empty:
        return train, []
    found = []
    for image_id, rows in twice.groupby("image_id", sort=False):
        if rows["label"].nunique() > 1:
            told = " and ".join(f"{label} (line {line})" for line, label in rows["label"].items())
            found.append(f"{image_id} has labels {told}")
    if found:
        raise DataError(problems(f"{table} contradicts itself", found))
    number = twice["image_id"].nunique()
    return train.drop_duplicates("image_id"), [f"{number:,} ids appear twice with the same label; kept once"]


def tidy(value: str) -> str:
    """A label as people mean it: no blanks around it, plain digits, 1.0 as 1, 1,234 as 1234."""
    text = unicodedata.normalize("NFKC", value).strip()
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+", text):
        text = text.replace(",", "")
    return str(int(float(text))) if re.fullmatch(r"-?\d{1,15}\.0*", text) else text


def known_labels(
    labels: pd.Series[str], classes: dict[str, str] | None, *, table: Path, source: str = ""
) -> tuple[pd.Series[str], dict[str, str], list[str]]:
    """Labels as values of the classes, the classes, and notes; without `classes` the labels themselves make them.

    `source` names where the classes come from, for messages. Raises DataError that lists unknown labels.
    """
    written = labels.unique().tolist()
    if classes is None:
        values = {value: tidy(value) for value in written}
        classes = {value: value for value in in_order(set(values.values()) - {""})}
    values = {value: value if value in classes else tidy(value) for value in written}
    unknown = labels[~labels.map(values).isin(list(classes))]
    if len(unknown):
        items = [f"line {line}: label {label!r}" for line, label in unknown.items()]
        place = f" {source} ({', '.join(list(classes)[:20])})" if source else ""
        raise DataError(problems(f"{table}: labels that are not in{place or ' the classes'}", items))
    mended = [value for value in written if values[value] != value]
    notes = [f"labels read as numbers: {', '.join(map(repr, mended[:5]))}"] if mended else []
    return labels.map(values).astype("str"), classes, notes


def in_order(values: Sequence[str] | set[str]) -> list[str]:
    """Values by number where all are whole numbers, else by text."""
    if all(re.fullmatch(r"-?\d{1,18}", value) for value in values):
        return sorted(values, key=int)
    return sorted(values)


def check_classes(train: pd.DataFrame, classes: dict[str, str], *, table: Path) -> list[str]:
    """Notes on classes without rows and names that look alike; raises DataError for a single class."""
    present = set(train["label"])
    if len(present) < 2:
        raise DataError(f"{table}: only one class ({', '.join(present)}); nothing can be learned from it")
    notes = [f"class {value} ({name}) has no rows" for value, name in classes.items() if value not in present]
    alike: dict[str, list[str]] = {}
    for name in classes.values():
        alike.setdefault(" ".join(name.split()).casefold(), []).append(name)
    notes += [f"class names differ by case or blanks only: {names}" for names in alike.values() if len(names) > 1]
    same = [name for name in set(classes.values()) if list(classes.values()).count(name) > 1]
    if same:
        raise DataError(problems("classes share a name", sorted(same)))
    return notes


def read_classes(path: Path, value: str, name: str, *, encoding: str) -> dict[str, str]:
    """Class values and names from a table such as meta.csv, in its order."""
    frame = read_csv(path, columns=[value, name], encoding=encoding)
    values = frame[value].map(tidy)
    if values.duplicated().any():
        raise DataError(problems(f"{path}: classes appear twice", sorted(set(values[values.duplicated()]))))
    return dict(zip(values, frame[name], strict=True))


def read_sample(path: Path, *, encoding: str = "utf-8", delimiter: str | None = None) -> Sample:
    """A sample submission: its first column holds the ids."""
    frame = read_csv(path, encoding=encoding, delimiter=delimiter)
    if len(frame.columns) < 2:
        raise DataError(f"{path} has the columns {','.join(frame.columns)}: expected an id and at least one more")
    ids = frame.iloc[:, 0]
    check_ids(ids, table=path)
    if ids.duplicated().any():
        items = [f"line {line}: {text}" for line, text in ids[ids.duplicated()].items()]
        raise DataError(problems(f"{path}: ids appear twice", items))
    return Sample(path, list(frame.columns), ids.tolist(), byte_style(path, encoding=encoding))
