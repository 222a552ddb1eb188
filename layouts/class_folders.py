"""One folder of images per class: ImageFolder, and several data sets merged into one label space (reference system D).

    Rice_Image_Dataset/{Arborio,Basmati,Ipsala,Jasmine,Karacadag}/*.jpg
    Pistachio_Image_Dataset/{Kirmizi_Pistachio,Siirt_Pistachio}/*.jpg

Without test folders a part of the images, drawn alike from every class, is the test; its answers are kept apart.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from pydantic import Field

from layouts.records import Listing, check_classes, check_folder, files_below, in_order, read_sample
from storage.errors import DataError, problems
from storage.section import Section


class Options(Section):
    """`prepare.options` of this layout; paths are below `prepare.root`."""

    train: list[str] = Field([""], min_length=1, description="folders that hold one folder per class; '' is the root")
    test: list[str] = Field([], description="folders of test images: one folder per class, or images only")
    hold_out: float = Field(0.2, gt=0, lt=1, description="without test folders: the part that becomes the test")
    seed: int = Field(0, ge=0, description="another seed, another hold-out")
    names: dict[str, str] = Field({}, description="folder name: class name, where they differ; equal names are merged")
    sample: str = Field("", description="sample submission that names the test images; '' if there is none")
    encoding: str = Field("utf-8", description="encoding of the sample submission")


def listing(root: Path, options: Options) -> Listing:
    """The images of all class folders."""
    check_folder(root)
    images = pd.concat([in_classes(root, folder, options) for folder in options.train], ignore_index=True)
    classes = {name: name for name in in_order(set(images["label"]))}
    notes = check_classes(images, classes, table=root)
    if not options.test:
        drawn = draw(images, options.hold_out, options.seed)
        notes.append(f"{int(drawn.sum()):,} images, drawn alike from every class, are the test")
        train, test = images[~drawn], images[drawn].drop(columns="group")
        return Listing(root, train.reset_index(drop=True), test.reset_index(drop=True), classes, notes=notes)
    test = pd.concat([test_images(root, folder, options) for folder in options.test], ignore_index=True)
    strange = test[~test["label"].isin([*classes, ""])]["path"].tolist()
    if strange:
        raise DataError(problems("test images in folders of classes that training does not have", strange))
    if (test["label"] == "").any():
        test = test.drop(columns="label")
    if not options.sample:
        return Listing(root, images, test, classes, notes=notes)
    sample = read_sample(root / options.sample, encoding=options.encoding)
    return Listing(root, images, in_sample(test, sample.ids, sample.path), classes, sample, notes)


def class_folders(top: Path) -> list[str]:
    """The names of the folders in `top` that may be classes, sorted."""
    if not top.is_dir():
        raise DataError(f"{top} is not a folder")
    hidden = (".", "__MACOSX")
    return sorted(entry.name for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith(hidden))


def in_classes(root: Path, folder: str, options: Options) -> pd.DataFrame:
    """All images below the class folders of `folder`; a folder of the test is no class."""
    prefix = f"{folder.strip('/')}/" if folder.strip("./") else ""
    found = []
    for name in class_folders(root / folder):
        if f"{prefix}{name}" in options.test:
            continue
        paths = f"{prefix}{name}/" + files_below(root, f"{prefix}{name}")
        label = options.names.get(name, name)
        found.append(pd.DataFrame({"image_id": paths, "path": paths, "label": label, "group": ""}))
    if not found:
        raise DataError(f"{root / folder} holds no folders of classes")
    return pd.concat(found, ignore_index=True)


def test_images(root: Path, folder: str, options: Options) -> pd.DataFrame:
    """The images of a test folder; the label is '' where it has no class folders."""
    if len(class_folders(root / folder)) > 1:
        return in_classes(root, folder, options).drop(columns="group")
    paths = f"{folder.strip('/')}/" + files_below(root, folder)
    return pd.DataFrame({"image_id": paths, "path": paths, "label": ""})


def draw(images: pd.DataFrame, part: float, seed: int) -> pd.Series[bool]:
    """A stratified choice of rows that does not depend on their order: the smallest hashes of each class."""
    keys = images["image_id"].map(lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest())
    rank = keys.groupby(images["label"]).rank(method="first")
    size = images.groupby("label")["image_id"].transform("size")
    return rank <= (size * part).round().clip(lower=1)


def in_sample(test: pd.DataFrame, ids: list[str], path: Path) -> pd.DataFrame:
    """The test images under the ids of the sample: their path, file name, or file name without extension."""
    keys = [test["image_id"], test["image_id"].map(lambda name: Path(name).name)]
    keys.append(test["image_id"].map(lambda name: Path(name).stem))
    for key in keys:
        if sorted(key) == sorted(ids):
            return test.assign(image_id=key).set_index("image_id", drop=False).loc[ids].reset_index(drop=True)
    lost = sorted(set(ids) ^ set(keys[1]))
    raise DataError(problems(f"{path} and the test folders name different images", lost))
