"""prepare: any layout of a competition into one index of canonical images, checked before anything is published.

Reads the competition's folder and an optional table of corrected labels (id,old,new,why). Writes `data/index`:
train.parquet, test.parquet, classes.json, images-*.tar, and answers.csv where the test labels are known; and beside it
`data/index.json`, what a person should know about the files: no stage depends on that.
Finished shards wait in `.podium/prepare`, so a run that was stopped continues.

    python -m stages.prepare --raw data/raw/digits --out data/index
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import typer
from numpy.typing import NDArray
from pydantic import Field

from layouts.facts import read_facts
from layouts.making import make_shards
from layouts.patch import patched
from layouts.records import Listing, Sample, layout
from layouts.tasks import Form, Outcome
from stages.entry import entry
from stages.params import check, read_params, section
from stages.progress import progress
from stages.tables import INDEX, Classes, SubmissionFormat, write_index
from storage.atomic import building, write_json
from storage.csvfile import repeated
from storage.errors import DataError, printable, problems
from storage.section import Section


class PrepareParams(Section):
    """How the competition lies on disk, and the one form that its images get."""

    root: str = Field("", description="folder of the competition; dvc.yaml passes it as --raw")
    layout: str = Field(
        "csv_images", description="how it lies there: csv_images, class_folders, masks, cifar, boxes, idx"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="names of files and columns; see layouts/<layout>.py"
    )
    encoding: Literal["png", "jpeg"] = Field(
        "png",
        description="canonical form: png is exact; jpeg is small: JPEG files keep their own pixels, others are encoded",
    )
    jpeg_quality: int = Field(95, ge=50, le=100, description="quality at which images are encoded as JPEG anew")
    max_side: int | None = Field(None, ge=8, description="longer sides are reduced to this many pixels; null keeps all")
    max_pixels: int = Field(50_000_000, ge=64, description="images that claim more are refused before decoding")
    truncated: Literal["error", "drop"] = Field("error", description="what happens to images whose file is cut off")
    strict: bool = Field(False, description="equal pictures with different labels stop the run")


def main(
    raw: Annotated[Path, typer.Option(help="Folder of the competition.")],
    out: Annotated[Path, typer.Option(help="Folder of the index.")],
    *,
    patch: Annotated[Path | None, typer.Option(help="Table of corrected labels: id,old,new,why.")] = None,
    work: Annotated[Path, typer.Option(help="Where finished shards wait for the others.")] = Path(".podium/prepare"),
    report: Annotated[Path | None, typer.Option(help="The report; default: a .json beside the index.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes every core.")] = 0,
    params: Annotated[Path, typer.Option(help="The file of parameters.")] = Path("params.yaml"),
) -> None:
    """Read a competition's folder into the index."""
    chosen = section("prepare", PrepareParams, path=params)
    module = layout(chosen.layout)
    options = check(read_params(params), ("prepare", "options"), chosen.options, module.Options)
    listing = module.listing(raw, options)
    if patch is not None and patch.is_file():
        listing = patched(listing, patch)
    found = prepare(listing, out, chosen, work=work, workers=workers)
    write_json(report or out.with_suffix(".json"), found)
    show(found, out)


def prepare(listing: Listing, out: Path, chosen: PrepareParams, *, work: Path, workers: int = 1) -> dict[str, Any]:
    """Make the index of a listing in `out`; returns what a person should know about the files."""
    form = Form(chosen.encoding, chosen.jpeg_quality, chosen.max_side, chosen.max_pixels, chosen.truncated)
    if listing.sample is not None:
        submission_kind(listing.sample, listing.classes)
    folder = work / hashlib.sha256(str(listing.root.resolve()).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with progress("prepare", unit="images") as advance:
        outcomes = make_shards(listing, form, folder, workers, advance)
    train = facts(listing.train, folder, [o.name for o in outcomes if "-train-" in o.name])
    test = facts(listing.test, folder, [o.name for o in outcomes if "-test-" in o.name])
    if listing.sample is not None and len(test) < len(listing.test):
        raise DataError(f"{len(listing.test) - len(test)} test images were left out, but each needs a prediction")
    position = {value: i for i, value in enumerate(listing.classes)}
    answers = test.get("label")
    train, test = train.assign(label=train["label"].map(position)), test.assign(label=-1, group="")
    submission = submission_format(listing, test["image_id"].tolist())
    classes = Classes(list(listing.classes.values()), list(listing.classes), submission)
    report = make_report(listing, train, test, outcomes, strict=chosen.strict)
    with building(out) as index:
        for outcome in outcomes:
            place(folder / f"{outcome.name}.tar", index)
        write_index(index, train[INDEX.names], test[INDEX.names], classes)
        if answers is not None:
            test[["image_id"]].assign(target=answers).to_csv(index / "answers.csv", index=False, lineterminator="\n")
    shutil.rmtree(folder)
    return report


def facts(table: pd.DataFrame, folder: Path, names: list[str]) -> pd.DataFrame:
    """The rows of a listing's table whose images are stored, with what is known about each image."""
    known = read_facts([folder / f"{name}.parquet" for name in names])
    rows = known.pop("row").to_numpy()
    told = table[["image_id", *table.columns.intersection(["label", "group"])]]
    if len(rows) < len(table):
        told = told.take(rows)
    return pd.concat([told.reset_index(drop=True), known], axis=1)


def submission_format(listing: Listing, test_ids: list[str]) -> SubmissionFormat:
    """The sample's format, or ID,target of all test images where there is no sample."""
    sample = listing.sample
    if sample is None:
        return SubmissionFormat(["ID", "target"], "labels", test_ids)
    style = sample.style
    return SubmissionFormat(
        sample.columns, submission_kind(sample, listing.classes), sample.ids,
        style.delimiter, style.newline, style.bom, style.quote, style.final_newline,
    )  # fmt: skip


def submission_kind(sample: Sample, classes: dict[str, str]) -> Literal["labels", "probabilities"]:
    """Labels in one column, or probabilities in one column per class (named by value or name, in any order)."""
    columns = sample.columns[1:]
    if len(columns) == 1 and len(classes) != 1:
        return "labels"
    if any(set(columns) == set(known) for known in (classes.keys(), classes.values())):
        return "probabilities"
    strange = sorted(set(columns) ^ set(classes.values()))
    raise DataError(
        f"{sample.path} has the columns {','.join(sample.columns)[:300]}: expected an id and either one column of "
        f"labels or one per class: {','.join(classes.values())[:300]}; {', '.join(strange[:5])} has no counterpart"
    )


def make_report(
    listing: Listing, train: pd.DataFrame, test: pd.DataFrame, outcomes: list[Outcome], *, strict: bool
) -> dict[str, Any]:
    """What a person should know about the data, as plain values; raises DataError for contradictions if `strict`."""
    alike = train.loc[repeated(train["sha256"].str.slice(0, 16)), ["sha256", "image_id", "label"]].sort_values(
        "image_id"
    )
    alike = alike[alike.groupby("sha256")["label"].transform("nunique") > 1]
    contradictions = [", ".join(ids) for _, ids in alike.groupby("sha256")["image_id"]]
    if strict and contradictions:
        raise DataError(problems("equal pictures with different labels", contradictions))
    leaked = test["image_id"][among(test["sha256"], train["sha256"][among(train["sha256"], test["sha256"])])].tolist()
    names = list(listing.classes.values())
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.notes)
    warnings = list(listing.notes)
    if contradictions:
        warnings.append(f"{len(contradictions):,} pictures appear in train with two labels, first: {contradictions[0]}")
    if leaked:
        warnings.append(f"{len(leaked):,} test images equal a training image (leak), first: {leaked[0]}")
    return {
        "train_images": len(train),
        "test_images": len(test),
        "classes": {name: int((train["label"] == label).sum()) for label, name in enumerate(names)},
        "images": dict(sorted(counts.items())),
        "warnings": warnings,
        "contradictions": contradictions[:1000],
        "test_equal_to_train": leaked[:1000],
    }


def among(values: pd.Series[str], others: pd.Series[str]) -> NDArray[np.bool_]:
    """Where a text of one column appears in another.  # (n_rows,)"""
    found: NDArray[np.bool_] = pc.is_in(pa.array(values), value_set=pa.array(others)).to_numpy(zero_copy_only=False)
    return found


def place(shard: Path, folder: Path) -> None:
    """A finished shard into the index: a second name for the same file where the disk allows it, else a copy."""
    try:
        os.link(shard, folder / shard.name)
    except OSError:
        shutil.copyfile(shard, folder / shard.name)


def show(report: dict[str, Any], out: Path) -> None:
    """The report for a person."""
    sizes = report["classes"]
    lines = [
        f"prepare: {report['train_images']:,} training and {report['test_images']:,} test images, "
        f"{len(sizes)} classes of {min(sizes.values()):,} to {max(sizes.values()):,}, in {out}",
        *(f"  {count:,} images: {note}" for note, count in report["images"].items()),
        *(f"  {warning}" for warning in report["warnings"]),
    ]
    print(printable("\n".join(lines)))


if __name__ == "__main__":
    entry(main)
