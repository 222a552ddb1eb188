"""Which layout an unknown folder has, told from its names and tables alone, and why.

for proposal in guess(Path("data/raw/new")): print(proposal.layout, proposal.why, proposal.options)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from layouts.cifar import FOLDERS
from layouts.class_folders import class_folders
from layouts.records import match
from storage.csvfile import read_csv
from storage.errors import DataError
from storage.intake import IMAGE_SUFFIXES

BOX_COLUMN = re.compile(r"b(ounding_?)?box(es)?", re.IGNORECASE)
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
)
GROUPS = re.compile(r"(patient|person|subject|video|group|session|user|animal)(_?id)?", re.IGNORECASE)
TEST = re.compile(r"(test|val|valid|validation|eval|evaluation)([ _-]?(set|data|images?|imgs?))?", re.IGNORECASE)
PARTS = re.compile(r"(train|test|val|eval|image|img|picture)", re.IGNORECASE)
MOST_TABLES, MOST_CLASSES, DEEPEST, LOOKED_AT = 30, 5000, 3, 50_000
LARGEST_TABLE = 300 * 2**20  # bytes


@dataclass(frozen=True)
class Proposal:
    """A layout with its options, and the reasons for each."""

    layout: str
    root: Path
    options: dict[str, Any] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tabled:
    """A table of the folder with a column that names images."""

    path: Path
    frame: pd.DataFrame
    column: str
    folder: str  # in which the images lie, below the root


def guess(root: Path) -> list[Proposal]:
    """Proposals for a folder, the most likely first; empty where it looks like nothing known."""
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    found: list[Proposal] = []
    for look in (idx, cifar, masks, tables, folders):
        found += look(root)
    return found


def idx(root: Path) -> Iterator[Proposal]:
    """MNIST's four files, anywhere near the top."""
    for path in sorted([*root.glob("*images*idx3-ubyte*"), *root.glob("*/*images*idx3-ubyte*")])[:1]:
        yield Proposal("idx", path.parent, {}, (f"{path.name} is an idx file of images",))


def cifar(root: Path) -> Iterator[Proposal]:
    """An official CIFAR archive, or the folder around it."""
    for top in (root, root.parent):
        for (data, version), name in FOLDERS.items():
            if (top / name).is_dir() and (top == root or root.name == name):
                yield Proposal("cifar", top, {"data": data, "version": version}, (f"{name} is an official archive",))
                return


def masks(root: Path) -> Iterator[Proposal]:
    """Persons with seven pictures each."""
    if (root / "train/train.csv").is_file() and next((root / "train/images").glob("*/incorrect_mask.*"), None):
        yield Proposal("masks", root, {}, ("train/images holds folders with mask1..mask5, incorrect_mask and normal",))


def tables(root: Path) -> Iterator[Proposal]:
    """Tables that name images: with boxes, or with labels."""
    known = [table for path in csv_files(root) for table in tabled(root, path)]
    labelled = [table for table in known if label_columns(table) and not is_sample(table.path)]
    if not labelled:
        return
    train = max(labelled, key=lambda table: ("train" in table.path.name.lower(), len(table.frame)))
    others = [table for table in known if table.path != train.path]
    label, why = (
        label_columns(train, asked=[str(name) for table in known if is_sample(table.path) for name in table.frame])[0],
        [f"{named(root, train)} names images of {train.folder or 'the root'} by {train.column}"],
    )
    why.append(f"{label} holds its labels: {train.frame[label].nunique()} different ones")
    if box := box_columns(train):
        test = next((table for table in others if box_columns(table)), None)
        options: dict[str, Any] = {"train_csv": named(root, train), "images": train.folder, "path": train.column}
        options |= {"label": label, "box": box} | ({"test_csv": named(root, test)} if test else {})
        yield Proposal("boxes", root, options, (*why, f"{', '.join(box)} holds boxes"))
        return
    yield with_sample(root, train, others, label, why)


def with_sample(root: Path, train: Tabled, others: list[Tabled], label: str, why: list[str]) -> Proposal:
    """The csv_images proposal for a table of training images."""
    options: dict[str, Any] = {"train_csv": named(root, train), "train_images": train.folder}
    options |= {"id": train.column, "label": label}
    found = next((table for table in others if is_sample(table.path)), None) or next(iter(others), None)
    sample = found if found and (is_sample(found.path) or label in found.frame) else None
    options["sample"] = named(root, sample) if sample else ""
    if found:
        options["test_images"] = found.folder
        why.append(f"{named(root, found)} names the test images, in {found.folder or 'the root'}")
    else:
        why.append("no table names test images: set test_images")
    if sample:
        one_column(root, train, sample)
    elif found:
        why.append("no table looks like a sample submission: the CSV will have the columns ID,target")
    options["classes_csv"] = ""
    taken = [train.path, *([sample.path] if sample else [])]
    for path in csv_files(root):
        names = None if path in taken else class_names(path, set(train.frame[label]))
        if names:
            value, name = names
            options |= {"classes_csv": path.relative_to(root).as_posix(), "class_value": value, "class_name": name}
            why.append(f"{path.relative_to(root)} names the classes")
            break
    columns = [str(column) for column in train.frame if column not in (train.column, label)]
    group = next((column for column in columns if GROUPS.fullmatch(column)), None)
    if group and train.frame[group].nunique() < len(train.frame):
        options["group"] = group
        why.append(f"{group} repeats: its images share a fold")
    elif repeating := [
        f"{name} ({train.frame[name].nunique():,} different)" for name in columns if repeats(train, name)
    ]:
        why.append(f"unused columns: {', '.join(repeating[:5])}; images that belong together? prepare.options.group")
    return Proposal("csv_images", root, options, tuple(why))


def one_column(root: Path, train: Tabled, sample: Tabled) -> None:
    """Refuse a table with a column of 0 and 1 for each class, as its sample has. Raises DataError."""
    columns = [str(name) for name in sample.frame if name != sample.column]
    if len(columns) > 1 and set(columns) <= set(train.frame):
        raise DataError(
            f"{root / named(root, train)} has a column for each class ({', '.join(columns[:5])}); one column of labels "
            "is needed. Add it, in pandas: table['label'] = table[classes].idxmax(axis=1)"
        )


def repeats(table: Tabled, column: str) -> bool:
    """Whether a column's values could be groups: several, and fewer than images."""
    return 1 < table.frame[column].nunique() < len(table.frame)


def class_names(path: Path, values: set[str]) -> tuple[str, str] | None:
    """The columns of label values and of names, if a small table lists all of the values."""
    frame = readable(path)
    if frame is None or len(frame) > MOST_CLASSES or len(frame.columns) < 2:
        return None
    columns = [str(column) for column in frame]
    value = next((column for column in columns if values <= set(frame[column])), None)
    return None if value is None else (value, next(column for column in columns if column != value))


def folders(root: Path) -> Iterator[Proposal]:
    """Folders of folders of images, each a class; the test may be a folder of images alone, which a sample names."""
    tops = [top for top in (root, *below(root, 2)) if len(classes_in(top)) > 1]
    labelled = [top for top in tops if top != root and re.match(r"test|val|eval", top.name.lower())]
    plain = [top for top in below(root, 2) if TEST.fullmatch(top.name) and top not in tops and next(sampled(top), None)]
    plain = [top for top in plain if not any(parent in [*plain, *labelled] for parent in top.parents)]
    train = [top for top in tops if top not in labelled and not any(parent in tops for parent in top.parents)]
    if not train:
        return
    tests = plain or [top for top in labelled if top.name.lower().startswith("test")] or labelled
    train += [top for top in labelled if top not in tests]  # val beside test has labels to learn from
    why = [
        f"{below_root(root, top) or root} holds {len(classes_in(top))} folders of images, such as {classes_in(top)[0]}"
        for top in train
    ]
    options: dict[str, Any] = {"train": [below_root(root, top) for top in train]}
    if not tests:
        why.append("there is no test folder: a fifth is held out")
        yield Proposal("class_folders", root, options, tuple(why))
        return
    options["test"] = [below_root(root, top) for top in tests]
    samples = (table for path in csv_files(root) if is_sample(path) for table in tabled(root, path, options["test"]))
    if sample := next(samples, None):
        options |= {"test": [sample.folder], "sample": named(root, sample)}
        why.append(f"{named(root, sample)} names the test images, in {sample.folder}")
    else:
        why.append(f"test images: {', '.join(options['test'])}; no sample submission names them")
    yield Proposal("class_folders", root, options, tuple(why))


def below_root(root: Path, folder: Path) -> str:
    """A folder as the options name it: "" is the root."""
    return "" if folder == root else folder.relative_to(root).as_posix()


def classes_in(top: Path) -> list[str]:
    """Sub-folders that hold images themselves and are not named as parts of a data set."""
    names = [name for name in class_folders(top) if not PARTS.match(name)]
    return [name for name in names if next(images_in(top / name), None) is not None]


def images_in(folder: Path) -> Iterator[Path]:
    """Image files directly in a folder."""
    return (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def below(root: Path, depth: int) -> Iterator[Path]:
    """Folders below the root, not too deep, hidden ones left out."""
    for name in class_folders(root) if depth else []:
        yield root / name
        yield from below(root / name, depth - 1)


def csv_files(root: Path) -> list[Path]:
    """Tables near the top."""
    found = [path for top in (root, *below(root, 1)) for path in sorted(top.glob("*.[ct]sv"))]
    return [path for path in found[:MOST_TABLES] if path.stat().st_size < LARGEST_TABLE]


def unreadable(root: Path) -> Iterator[str]:
    """What is wrong with the tables that cannot be read."""
    for path in csv_files(root):
        try:
            read_csv(path, columns=())
        except DataError as error:
            yield str(error)


def readable(path: Path) -> pd.DataFrame | None:
    """A table, or None where it cannot be read."""
    try:
        return read_csv(path, columns=())
    except DataError:
        return None


def tabled(root: Path, path: Path, places: Sequence[str] | None = None) -> Iterator[Tabled]:
    """The table, if one of its columns names images that lie in one of the `places`; by default any below the root."""
    frame = readable(path)
    if frame is None:
        return
    for folder in dict.fromkeys(image_folders(root, path.parent) if places is None else places):
        files = pd.Series(sorted(p.relative_to(root / folder).as_posix() for p in sampled(root / folder)), dtype="str")
        for column in frame.columns[:8]:
            values = frame[column].head(200)
            if len(files) and len(values) and (match(values, files)[1] >= 0).mean() > 0.9:
                yield Tabled(path, frame, str(column), folder)
                return


def image_folders(root: Path, near: Path) -> Iterator[str]:
    """Folders that may hold a table's images: those with images in them, beside the table first, then the root."""
    holding = [top for top in below(root, DEEPEST) if next(images_in(top), None) is not None]
    holding.sort(key=lambda top: near not in top.parents)
    around = [above for top in holding for above in top.parents if root in above.parents]  # of images by sub-folder
    around.sort(key=lambda top: (near not in top.parents, -len(top.parts)))
    yield from (top.relative_to(root).as_posix() for top in [*holding[:50], *dict.fromkeys(around)][:60])
    yield ""


def sampled(folder: Path) -> Iterator[Path]:
    """Image files below a folder, the first so many."""
    count = 0
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
            count += 1
            if count == LOOKED_AT:
                return


def label_columns(table: Tabled, *, asked: Sequence[str] = ()) -> list[str]:
    """Columns that may hold labels: values that repeat; those `asked` for by a sample first, then by their names."""
    likely = re.compile(r"(label|target|class|category|ans|y)(_?(id|name))?", re.IGNORECASE)
    box = box_columns(table)
    columns = [str(column) for column in table.frame if column != table.column and column not in box]
    columns = [column for column in columns if 1 < table.frame[column].nunique() < max(3, len(table.frame))]
    return sorted(
        columns, key=lambda name: (name not in asked, not likely.fullmatch(name), table.frame[name].nunique())
    )


def box_columns(table: Tabled) -> list[str]:
    """The column or the four columns of a box, if any."""
    lower = {str(column).lower(): str(column) for column in table.frame}
    for corners in CORNERS:
        if all(name in lower for name in corners):
            return [lower[name] for name in corners]
    return [column for name, column in lower.items() if BOX_COLUMN.fullmatch(name)][:1]


def is_sample(path: Path) -> bool:
    """Whether a table's name says that it is a sample submission."""
    return re.search(r"sample|submission|submit", path.stem, re.IGNORECASE) is not None


def named(root: Path, table: Tabled) -> str:
    """The table's path below the root."""
    return table.path.relative_to(root).as_posix()
