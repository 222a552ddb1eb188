"""Cut the training images into folds, on source images, before anything is augmented.

Reads   data/index/         the index with its images; params.yaml: `split`, and the list `folds`
        data/folds.given.csv  for method given: image_id,fold; fold -1 is train only; a column index_hash is checked
Writes  data/folds/         folds.parquet (image_id, fold, duplicate_group); balance.csv (classes x folds)
Run     python -m stages.split --index data/index --out data/folds/folds.parquet

Images of one group, and near duplicates of each other (also turned or mirrored), always share a fold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from pydantic import Field, model_validator

from analysis.duplicates import Duplicates, all_hashes, find_duplicates
from analysis.folds import balance, deal, parts_per_class
from analysis.frames import informative
from analysis.pictures import Pictures, Thumbnails
from stages.entry import entry
from stages.params import read_params, run_lists, section
from stages.tables import Index, read_index, write_folds
from storage.atomic import write_text
from storage.csvfile import read_csv
from storage.errors import DataError, IntegrityError, ParamsError, problems
from storage.section import Section
from storage.shards import Shards
from storage.spreadsheet import guarded_table

Integers = NDArray[np.int64]
TRAIN_ONLY, LEFT_OUT = -1, -2  # fold numbers that are never scored; images of the second are not trained on either


class SplitParams(Section):
    """How the training images are cut into folds."""

    method: Literal["stratified_group", "stratified", "group", "repeated", "hold_out", "given"] = Field(
        "stratified_group",
        description="stratified_group: classes balanced, groups whole; stratified: groups ignored; group: classes "
        "ignored; repeated: stratified_group, drawn anew for each `repeat`; hold_out: one part is held out, the rest "
        "is train only; given: read from data/folds.given.csv. All others keep near duplicates together",
    )
    folds: int = Field(3, ge=1, le=100, description="how many; must agree with the list `folds`; 1 for hold_out")
    seed: int = Field(0, ge=0, description="another seed, other folds")
    repeat: int = Field(
        0, ge=0, description="method repeated: which draw. Fold f of repeat r is fold r * folds + f of the whole series"
    )
    hold_out: float = Field(0.2, gt=0, lt=1, description="method hold_out: the fraction held out, as fold 0")
    rare: Literal["error", "train_only", "spread"] = Field(
        "error",
        description="a class with fewer separate images than folds. error: stop; train_only: trained on in every fold, "
        "never scored; spread: some folds score without it",
    )
    near_duplicates: bool = Field(True, description="look for near duplicates and keep them together")
    correlation: float = Field(
        0.95, ge=0.5, le=1, description="how far the pixels of two images must agree to count as near duplicates"
    )

    keep_per_group: int | None = Field(
        None, ge=1, description="of each group (a video) keep the so many most informative images; leave out the rest"
    )

    @model_validator(mode="after")
    def _agree(self) -> SplitParams:
        if (self.method == "hold_out") != (self.folds == 1) and self.method != "given":
            raise ValueError(f"method {self.method} with folds {self.folds}: hold_out takes 1, all others at least 2")
        return self


def main(
    index: Annotated[Path, typer.Option(help="folder of the index")],
    out: Annotated[Path, typer.Option(help="folds.parquet to write; balance.csv is put beside it")],
    *,
    given: Annotated[Path | None, typer.Option(help="method given: a CSV with the columns image_id and fold")] = None,
    params: Annotated[Path, typer.Option(help="the parameters")] = Path("params.yaml"),
) -> None:
    """Cut the training images into folds."""
    chosen = section("split", SplitParams, path=params)
    expect_folds(chosen.folds, run_lists(params)[1], params)
    data = read_index(index)
    labels = data.train["label"].to_numpy(np.int64)
    duplicates = find_parts(data, chosen)
    parts = duplicates.components
    if chosen.method == "given":
        fold = given_folds(given, data, chosen.folds)
        remarks = torn(fold, parts)
    else:
        fold, remarks = cut(labels, parts, data.classes.names, chosen)
    if chosen.keep_per_group is not None:
        fold = leave_out(fold, data, chosen.keep_per_group)
        remarks = [*remarks, f"{np.sum(fold == LEFT_OUT):,} images are left out by keep_per_group"]
    shown = balance(labels, fold, data.classes.names)
    table = pd.DataFrame({"image_id": data.train["image_id"], "fold": fold, "duplicate_group": parts})
    write_folds(out, table, data)
    write_text(out.with_name("balance.csv"), guarded_table(shown.reset_index()).to_csv(index=False))
    print(shown.to_string())
    print(f"{len(duplicates.pairs):,} near duplicates kept together; {len(set(parts.tolist())):,} separate parts.")
    for remark in remarks:
        print(f"note: {remark}")


def expect_folds(folds: int, listed: list[int], path: Path) -> None:
    """The stages after this one run once per entry of the list `folds`: it has to agree. Raises ParamsError."""
    if listed != list(range(folds)):
        wanted = list(range(folds)) if folds < 6 else f"[0, 1, ..., {folds - 1}]"
        line = read_params(path).line(("folds",))
        raise ParamsError(
            f"{path}:{line}: folds: split.folds is {folds}, but folds lists {listed}; set folds: {wanted}"
        )


def find_parts(data: Index, chosen: SplitParams) -> Duplicates:
    """What must share a fold: exact and near duplicates, also turned and mirrored, and the groups they tie together."""
    return find_duplicates(
        all_hashes(data.train["perceptual_hash"]),
        Thumbnails([Pictures(data.train, Shards(data.folder))]),
        exact=data.train["sha256"],
        joined=None if chosen.method == "stratified" else group_numbers(data.train["group"]),
        variants=range(8) if chosen.near_duplicates else (),
        correlation=chosen.correlation,
    )


def group_numbers(groups: pd.Series) -> Integers:
    """One number per group; an image without one is a group of its own."""
    numbers = np.asarray(pd.factorize(groups)[0], np.int64)
    alone = (groups == "").to_numpy(bool)
    numbers[alone] = numbers.max(initial=0) + 1 + np.arange(alone.sum())
    return np.asarray(np.unique(numbers, return_inverse=True)[1], np.int64)


def cut(labels: Integers, parts: Integers, names: list[str], chosen: SplitParams) -> tuple[Integers, list[str]]:
    """Fold numbers (n_images,) and remarks on what could not be balanced. Raises DataError by the policy `rare`."""
    n_sides = max(chosen.folds, 2)
    rare = {label: count for label, count in parts_per_class(labels, parts).items() if count < n_sides}
    told = [f"{names[label]!r} has {count} separate images, folds={n_sides}" for label, count in rare.items()]
    if rare and chosen.rare == "error":
        fewest = min(rare.values())
        fewer = f"split.folds and folds to at most {fewest}, or " if fewest > 1 else ""
        title = problems("classes too rare for the folds", told)
        raise DataError(f"{title}\nSet {fewer}split.rare to train_only or spread")
    kept = np.isin(labels, list(rare)) if chosen.rare == "train_only" else np.zeros(len(labels), bool)
    always = np.isin(parts, parts[kept])  # a part goes whole, or its other half would be scored by what it taught
    shares = [chosen.hold_out, 1 - chosen.hold_out] if chosen.method == "hold_out" else [1.0] * chosen.folds
    shown = np.zeros_like(labels) if chosen.method == "group" else labels
    fold = np.full(len(labels), TRAIN_ONLY, np.int64)
    seed = chosen.seed + (1_000_003 * chosen.repeat if chosen.method == "repeated" else 0)
    if not always.all():
        fold[~always] = deal(shown[~always], parts[~always], shares, seed=seed)
    if chosen.method == "hold_out":
        fold[fold == 1] = TRAIN_ONLY
    expect_filled(fold, chosen.folds)
    return fold, [f"{line}: {chosen.rare}" for line in told] + largest_part(parts, chosen.folds)


def leave_out(fold: Integers, data: Index, keep: int) -> Integers:
    """Put what adds nothing to its group and class into LEFT_OUT; images without a group stay."""
    groups, labels = data.train["group"], data.train["label"].to_numpy(np.int64)
    groups = group_numbers(groups) * (labels.max() + 1) + labels
    kept = informative(groups, Thumbnails([Pictures(data.train, Shards(data.folder))]), keep)
    return np.where(kept, fold, LEFT_OUT)


def expect_filled(fold: Integers, folds: int) -> None:
    """Every fold has to hold an image. Raises DataError."""
    empty = sorted(set(range(folds)) - set(fold.tolist()))
    if empty:
        raise DataError(
            f"folds {empty} would hold no image: there are fewer separate images than folds. Lower split.folds"
        )


def largest_part(parts: Integers, folds: int) -> list[str]:
    """A remark where one part is larger than a fold ought to be."""
    largest = int(np.bincount(parts).max())
    if largest * folds <= len(parts) or folds == 1:
        return []
    return [f"{largest:,} of {len(parts):,} images belong together, more than a fold of {folds}: the folds are uneven"]


def given_folds(path: Path | None, data: Index, folds: int) -> Integers:
    """The fold of each image as a CSV gives it; -1 is train only.

    Raises DataError where it does not fit the index, IntegrityError where its column `index_hash`, if it has one,
    names other data.
    """
    if path is None:
        raise ParamsError("split.method given needs --given, a CSV with the columns image_id and fold")
    table = read_csv(path, columns=["image_id", "fold"])
    other = set(table.get("index_hash", [])) - {data.hash}
    if other:
        raise IntegrityError(f"{path} was made for data {', '.join(sorted(other))}, now it is {data.hash}. Cut it anew")
    image_ids = data.train["image_id"].tolist()
    known, found, wrong = set(image_ids), set(table["image_id"]), []
    for line, image_id, fold in zip(table.index, table["image_id"], table["fold"], strict=True):
        if image_id not in known:
            wrong.append(f"line {line}: {image_id!r} is not a training image")
        if not fold.removeprefix("-").isdigit() or not -1 <= int(fold) < folds:
            wrong.append(f"line {line}: fold {fold!r} of {image_id!r}, expected -1 to {folds - 1}")
    wrong += [f"{image_id!r} has no row" for image_id in image_ids if image_id not in found]
    if not wrong and len(found) < len(table):
        twice = table[table["image_id"].duplicated()]
        wrong = [f"line {line}: {image_id!r} again" for line, image_id in twice["image_id"].items()]
    if wrong:
        raise DataError(problems(f"{path} does not fit the index", wrong))
    values = table.set_index("image_id")["fold"].astype(np.int64)
    fold = np.asarray(values.loc[image_ids].to_numpy(), np.int64)
    expect_filled(fold, folds)
    return fold


def torn(fold: Integers, parts: Integers) -> list[str]:
    """A remark on parts that given folds tear apart: their scores will be too good."""
    pairs = np.unique(np.column_stack([parts, fold]), axis=0)
    count = int((np.bincount(pairs[:, 0]) > 1).sum())
    return [
        f"{count:,} groups or sets of near duplicates lie in several of the given folds: scores will be too good"
    ] * (count > 0)


if __name__ == "__main__":
    entry(main)
