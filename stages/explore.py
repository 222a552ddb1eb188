"""Look at the images before anything is trained: classes, sizes, statistics of train against test, duplicates.

Reads   data/index/             the index with its images; params.yaml: `explore`
Writes  data/noise/             statistics.parquet (a row per measured image), statistics.json, duplicates.csv;
                                fitted.yaml and fitted.png with explore.fit_noise
        analysis/exploration/   index.html, a page that opens from disk
Run     python -m stages.explore --index data/index --noise data/noise --out analysis/exploration
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from pydantic import Field

from analysis.adversarial import tell_apart
from analysis.duplicates import all_hashes, find_duplicates
from analysis.exploration import Findings, Side, describe_duplicates, summary, write_exploration
from analysis.pictures import Pictures, Thumbnails
from analysis.statistics import statistics, telling
from analysis.suggestions import about_classes, about_duplicates, about_shift, about_sizes
from augmentation.fitting import Fit, fit_noise, write_fit
from augmentation.recipe import AugmentParams
from augmentation.search import Images
from stages.entry import entry
from stages.params import section
from stages.tables import Index, read_index
from storage.atomic import building, replacing, write_json
from storage.section import Section
from storage.shards import Shards


class ExploreParams(Section):
    """How closely the images are looked at."""

    sample: int = Field(20_000, ge=100, description="at most so many training, and so many test images are measured")
    per_class: int = Field(8, ge=1, le=40, description="pictures of each class on the page")
    near_duplicates: bool = Field(True, description="look for near duplicates too, also turned and mirrored")
    correlation: float = Field(
        0.95, ge=0.5, le=1, description="how far the pixels of two images must agree to count as near duplicates"
    )
    fit_noise: bool = Field(
        False, description="fit the augmentation to the test images: writes fitted.yaml for augment.strength: fitted"
    )
    fit_budget: int = Field(60_000, ge=6_000, description="fit_noise: about so many copies are rendered for it")
    seed: int = Field(0, ge=0, description="another seed, another sample")


def main(
    index: Annotated[Path, typer.Option(help="folder of the index")],
    noise: Annotated[Path, typer.Option(help="folder for the statistics")],
    out: Annotated[Path, typer.Option(help="folder for the page")],
    params: Annotated[Path, typer.Option(help="the parameters")] = Path("params.yaml"),
) -> None:
    """Describe the images of a competition."""
    chosen = section("explore", ExploreParams, path=params)
    findings = explore(read_index(index), chosen)
    recipe = section("augment", AugmentParams, path=params)
    fit = fitted(findings, recipe, chosen) if chosen.fit_noise else None
    measured = pd.concat([findings.train.statistics, findings.test.statistics], keys=["train", "test"], names=["split"])
    with building(noise) as folder:
        with replacing(folder / "statistics.parquet") as file:
            measured.reset_index("split").to_parquet(file, index=False)
        write_json(folder / "statistics.json", summary(findings))
        if fit:
            write_fit(folder, fit)
        with replacing(folder / "duplicates.csv") as file:
            findings.duplicates.to_csv(file, index=False, quoting=csv.QUOTE_ALL)
    shown = (fit.auc_before, fit.auc_after, fit.pictures) if fit else None
    write_exploration(out, findings, per_class=chosen.per_class, seed=chosen.seed, fitted=shown)
    report(findings, out)
    if fit:
        print(f"Noise fitted: AUC against the test {fit.auc_before:.3f} before, {fit.auc_after:.3f} after.")
        if fit.size and fit.size != recipe.height_width:
            size = "{} x {}".format(*fit.size)
            print(
                f"Compared at {size} pixels, as the test images are: with augment.size {list(fit.size)} copies are too."
            )


def explore(data: Index, chosen: ExploreParams) -> Findings:
    """Measure, search and suggest."""
    shards = Shards(data.folder)
    train = side(data.train, Pictures(data.train, shards), sample=chosen.sample, seed=chosen.seed)
    test = side(data.test, Pictures(data.test, shards), sample=chosen.sample, seed=chosen.seed)
    alike, same = (
        pd.concat([data.train[name], data.test[name]], ignore_index=True) for name in ("perceptual_hash", "sha256")
    )
    found = find_duplicates(
        all_hashes(alike),
        Thumbnails([train.pictures, test.pictures]),
        exact=same,
        variants=range(8) if chosen.near_duplicates else (),
        correlation=chosen.correlation,
    )
    measures = [*telling(train.statistics, test.statistics), "aspect"]
    adversarial = tell_apart(train.statistics, test.statistics, columns=measures, seed=chosen.seed)
    counts = np.bincount(data.train["label"], minlength=len(data.classes.names)).tolist()
    duplicates = describe_duplicates(found, data.train, data.test)
    suggestions = [
        *about_classes(counts, data.classes.names),
        *about_sizes(train.statistics, test.statistics),
        *about_shift(train.statistics, test.statistics, adversarial),
        *about_duplicates(
            train=int((duplicates["where"] == "train").sum()),
            conflicts=int(duplicates["conflict"].sum()),
            across=int((duplicates["where"] == "train-test").sum()),
        ),
    ]
    return Findings(data.classes.names, train, test, duplicates, adversarial, suggestions)


def side(table: pd.DataFrame, pictures: Pictures, *, sample: int, seed: int) -> Side:
    """One half of the index with the statistics of at most `sample` of its images, drawn at random."""
    rows = np.arange(len(table))
    if len(rows) > sample:
        rows = np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
    measured = statistics(table["image_id"].iloc[rows], pictures.stream(rows))
    measured["row"] = rows
    return Side(table, pictures, measured)


def fitted(findings: Findings, recipe: AugmentParams, chosen: ExploreParams) -> Fit:
    """The strengths of the augmentation that make training images look like the test images."""
    images = [
        Images(lambda place, side=side: side.pictures[place], len(side.table))  # type: ignore[misc]
        for side in (findings.train, findings.test)
    ]
    return fit_noise(recipe, images[0], images[1], budget=chosen.fit_budget, seed=chosen.seed)


def report(findings: Findings, out: Path) -> None:
    """Say the most important on the terminal."""
    if findings.adversarial:
        strongest = ", ".join(list(findings.adversarial.alone)[:3])
        print(f"Train against test: AUC {findings.adversarial.auc:.3f}; they differ most in {strongest}.")
    numbers = summary(findings)["duplicates"]
    print(
        f"Duplicates: {numbers['train']:,} in train ({numbers['conflicts']:,} with two labels), "
        f"{numbers['train-test']:,} between train and test."
    )
    for said in findings.suggestions:
        print(f"{said.subject}: {said.advice}. {said.reason}")
    print(f"Page: {out / 'index.html'}")


if __name__ == "__main__":
    entry(main)
