"""A table of file names and labels, images in folders: Kaggle, DACON, AI Stages (reference system A).

    train.csv              ID,target          ID: a file in train/, with or without its extension or sub-folder
    meta.csv               target,class_name  optional: classes, in order, with names
    train/  test/          images
    sample_submission.csv  ID,target          one row per test image, or one column of probabilities per class

Every name can be set in `prepare.options`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import Field

from layouts.records import (
    Listing,
    check_classes,
    check_folder,
    check_ids,
    files_below,
    known_labels,
    locate,
    read_classes,
    read_sample,
    without_repeats,
)
from storage.csvfile import read_csv
from storage.errors import DataError, problems
from storage.section import Section


class Options(Section):
    """`prepare.options` of this layout; paths are below `prepare.root`."""

    train_csv: str = Field("train.csv", description="table of training images")
    train_images: str = Field("train", description="folder of training images; '' is the root")
    test_images: str = Field("test", description="folder of test images")
    sample: str = Field("sample_submission.csv", description="sample submission; '' if there is none")
    classes_csv: str = Field("meta.csv", description="table of classes; '' if there is none")
    id: str = Field("ID", description="column of file names in train_csv")
    label: str = Field("target", description="column of labels in train_csv")
    group: str = Field("", description="column of groups that stay in one fold, such as a patient; '' if none")
    class_value: str = Field("target", description="column of label values in classes_csv")
    class_name: str = Field("class_name", description="column of class names in classes_csv")
    encoding: str = Field("utf-8", description="encoding of the tables")
    delimiter: str | None = Field(None, description="delimiter of the tables; null finds it")


def listing(root: Path, options: Options) -> Listing:
    """The images that train_csv and the sample submission name."""
    check_folder(root)
    table = root / options.train_csv
    columns = [options.id, options.label, *([options.group] if options.group else [])]
    frame = read_csv(table, columns=columns, encoding=options.encoding, delimiter=options.delimiter)
    check_ids(frame[options.id], table=table)
    classes = None
    if options.classes_csv:
        classes = read_classes(
            root / options.classes_csv, options.class_value, options.class_name, encoding=options.encoding
        )
    labels, classes, notes = known_labels(frame[options.label], classes, table=table, source=options.classes_csv)
    train = pd.DataFrame({"image_id": frame[options.id], "label": labels})
    train["group"] = frame[options.group] if options.group else ""
    train, repeats = without_repeats(train, table=table)
    whole = not shared(options)
    train["path"], places = locate(train["image_id"], root, options.train_images, table=table, whole=whole)
    notes = [*frame.attrs["notes"], *notes, *repeats, *places, *check_classes(train, classes, table=table)]
    return _with_test(Listing(root, train, pd.DataFrame(), classes, notes=notes), options)


def shared(options: Options) -> bool:
    """Whether the images of train and test lie in one folder, so that the tables alone tell them apart."""
    return Path(options.train_images) == Path(options.test_images)


def _with_test(part: Listing, options: Options) -> Listing:
    """The listing with its test images: those of the sample submission, which have to be all in the folder."""
    files = files_below(part.root, options.test_images)
    if options.test_images:
        files = f"{options.test_images}/" + files
    if shared(options):
        files = files[~files.isin(part.train["path"])].reset_index(drop=True)
    if not options.sample:
        test = pd.DataFrame({"image_id": files.str.removeprefix(f"{options.test_images}/"), "path": files})
        return Listing(part.root, part.train, test, part.classes, notes=part.notes)
    sample = read_sample(part.root / options.sample, encoding=options.encoding, delimiter=options.delimiter)
    ids = pd.Series(sample.ids, dtype="str", index=range(2, len(sample.ids) + 2))
    whole = not shared(options)
    places, notes = locate(ids, part.root, options.test_images, table=sample.path, whole=whole)
    extra = files[~files.isin(places)].tolist()
    if extra and whole:
        raise DataError(problems(f"test images without a row in {sample.path}", extra))
    if extra:
        notes.append(f"{len(extra):,} images are in neither table, such as {extra[0]}")
    test = pd.DataFrame({"image_id": ids, "path": places})
    return Listing(part.root, part.train, test, part.classes, sample, [*part.notes, *notes])
