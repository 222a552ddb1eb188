"""Seven pictures of each person, 18 classes from three attributes (reference system B).

    train/train.csv                       id,gender,race,age,path
    train/images/<path>/{mask1..mask5,incorrect_mask,normal}.*
    eval/info.csv                         ImageID,ans
    eval/images/<ImageID>

Class = 6 x mask (worn, incorrect, none) + 3 x gender (male, female) + age band (below 30, below 60, from 60 on).
All pictures of a person are one group, so they share a fold.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import Field

from layouts.records import Listing, check_classes, check_folder, check_ids, files_below, locate, read_sample
from storage.csvfile import read_csv
from storage.errors import DataError, problems
from storage.paths import path_problem
from storage.section import Section

MASKS = {**{f"mask{i}": 0 for i in range(1, 6)}, "incorrect_mask": 1, "normal": 2}
MASK_NAMES = ("mask", "incorrect mask", "no mask")
GENDERS = ("male", "female")
OLDEST = 120


class Options(Section):
    """`prepare.options` of this layout; paths are below `prepare.root`."""

    table: str = Field("train/train.csv", description="table of persons: id,gender,race,age,path")
    images: str = Field("train/images", description="folder with one folder per person, named by the column path")
    sample: str = Field("eval/info.csv", description="sample submission: ImageID,ans")
    sample_images: str = Field("eval/images", description="folder of test images")
    ages: tuple[int, int] = Field((30, 60), description="where the second and the third age band begin")
    encoding: str = Field("utf-8", description="encoding of the tables")


def listing(root: Path, options: Options) -> Listing:
    """Seven training images per person, and the test images of the sample submission."""
    check_folder(root)
    table = root / options.table
    frame = read_csv(table, columns=["id", "gender", "age", "path"], encoding=options.encoding)
    check_ids(frame["path"], table=table)
    persons = attributes(frame, options.ages, table=table)
    train, notes = pictures(root, options.images, persons, table=table)
    names = class_names(options.ages)
    sample = read_sample(root / options.sample, encoding=options.encoding)
    ids = pd.Series(sample.ids, dtype="str", index=range(2, len(sample.ids) + 2))
    places, more = locate(ids, root, options.sample_images, table=sample.path)
    test = pd.DataFrame({"image_id": ids, "path": places})
    notes += [*frame.attrs["notes"], *more, *check_classes(train, names, table=table)]
    return Listing(root, train, test, names, sample, notes)


def attributes(frame: pd.DataFrame, ages: tuple[int, int], *, table: Path) -> pd.DataFrame:
    """Each person's folder and share of the label, 3 x gender + age band; every bad value is told."""
    gender = frame["gender"].str.strip().str.lower().map({name: i for i, name in enumerate(GENDERS)})
    age = pd.to_numeric(frame["age"], errors="coerce")
    found = [f"line {line}: gender {frame.at[line, 'gender']!r}" for line in frame.index[gender.isna()]]
    found += [f"line {line}: age {frame.at[line, 'age']!r}" for line in frame.index[~age.between(0, OLDEST)]]
    found += [
        f"line {line}: {frame.at[line, 'path']!r} is listed twice" for line in frame.index[frame.path.duplicated()]
    ]
    found += [f"line {line}: {bad}" for line, path in frame["path"].items() if (bad := path_problem(path))]
    if found:
        raise DataError(problems(f"{table} has persons that cannot be used", found))
    band = (age >= ages[0]).astype(int) + (age >= ages[1]).astype(int)
    return pd.DataFrame({"group": frame["path"], "share": 3 * gender.astype(int) + band})


def pictures(root: Path, folder: str, persons: pd.DataFrame, *, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """The pictures of all persons with their labels; a person without all seven is an error."""
    files = files_below(root, folder)
    parts = files.str.extract(r"^(?P<group>.*)/(?P<stem>[^./][^/]*)\.[^./]+$")
    found = pd.DataFrame({"image_id": files, "path": f"{folder}/" + files, **parts}).dropna(subset=["group"])
    strange = found[~found["stem"].isin(list(MASKS)) & found["group"].isin(persons["group"])]["path"].tolist()
    if strange:
        raise DataError(problems(f"pictures that are none of {', '.join(MASKS)}", strange))
    known = found[found["stem"].isin(list(MASKS))].merge(persons, on="group")
    counts = persons["group"].map(known.groupby("group")["stem"].nunique()).fillna(0)
    pictures_of = dict(zip(persons["group"], zip(persons.index, counts, strict=True), strict=True))
    short = [f"line {line}: {path} has {int(n)} of 7" for path, (line, n) in pictures_of.items() if n < len(MASKS)]
    twice = known[known.duplicated(["group", "stem"])]["path"].tolist()
    if short or twice:
        raise DataError(problems(f"{table}: persons without exactly seven pictures", [*short, *twice]))
    known["label"] = (6 * known["stem"].map(MASKS) + known["share"]).astype("str")
    unlisted = found["group"].nunique() - known["group"].nunique()
    notes = [f"{unlisted:,} folders in {root / folder} are not listed in {table.name}"] if unlisted else []
    return known[["image_id", "path", "label", "group"]].astype("str"), notes


def class_names(ages: tuple[int, int]) -> dict[str, str]:
    """The 18 classes in order."""
    bands = (f"under {ages[0]}", f"{ages[0]} to {ages[1] - 1}", f"{ages[1]} and older")
    combined = [f"{mask}, {gender}, {band}" for mask in MASK_NAMES for gender in GENDERS for band in bands]
    return {str(value): name for value, name in enumerate(combined)}
