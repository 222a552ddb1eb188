"""The report's page of training data: suspicious labels to decide on, duplicates, noise before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.adversarial import tell_apart
from analysis.gallery import SLICE, write_pictures, write_rows
from analysis.label_errors import suspects
from analysis.pages import write_page
from analysis.pictures import Pictures, fit
from analysis.plots import density_chart
from analysis.report_material import Look, Material, report_key
from analysis.sources import Array, Source
from analysis.statistics import MEASURES, statistics, telling

SAMPLE = 300  # images of each kind that are measured
COLOURS = {"train": 1, "test-like copies": 3, "test": 2}


def write_training(folder: Path, material: Material, look: Look, frame: dict[str, Any]) -> None:
    """Write training.html and its pictures."""
    rows = suspect_rows(folder, material, look)
    data = {
        "mode": "train",
        "key": report_key(material, "train"),
        "name": "labels.patch.csv",
        "classes": list(material.class_names),
        "values": list(material.class_values),
        "sources": ["given label", *material.train_shares, "all members"],
        "slice": SLICE,
        "rows": rows,
    }
    write_page(
        folder / "training.html",
        "training.html",
        scripts=["gallery.js"],
        lazy=True,
        title="Training data",
        **frame,
        lead="Labels that the members contradict, judged only by folds that did not train on the image. A suspicion "
        "is no proof: look before you correct.",
        mode="train",
        total=len(rows),
        data=data,
        download_text="Download the label patch",
        decisions_text="Kept in this browser only. Save the patch as data/labels.patch.csv: prepare applies it, and "
        "reports every label that it changed.",
        nothing_text="No label looks suspicious.",
        duplicates=duplicate_lines(material),
        noise=noise(material),
    )


def suspect_rows(folder: Path, material: Material, look: Look) -> list[list[Any]]:
    """Rows of the gallery for suspicious labels, the most suspicious first."""
    if not material.train_shares:
        return []
    mean = np.mean(list(material.train_shares.values()), axis=0)  # (n_train, n_classes)
    found = suspects(material.train_labels, mean)["row"].to_numpy(np.int64)[: look.suspects]
    if not len(found):
        return []
    paths = write_pictures(
        folder, material.train_pictures, found.tolist(), part="train", thumbnail=look.thumbnail, large=look.large
    )
    given = Source("given label", "team", material.train_labels)
    members = [as_source(name, shares) for name, shares in material.train_shares.items()]
    sources = [given, *members, as_source("all members", mean)]
    return write_rows(
        folder,
        found,
        part="train",
        ids=material.train_ids,
        sources=sources,
        shares=mean,
        pictures=paths,
        near=[[] for _ in found],
    )


def as_source(name: str, shares: Array) -> Source:
    """Out-of-fold probabilities of training images as a source."""
    return Source(name, "member", shares.argmax(axis=1), shares)


def duplicate_lines(material: Material) -> list[dict[str, str]] | None:
    """The pairs of duplicates as text, the worrying ones first; none where nobody looked."""
    found = material.duplicates
    if found is None:
        return None
    shown = found.sort_values("conflict", ascending=False, kind="stable") if "conflict" in found else found
    return [{str(name): str(value) for name, value in row.items()} for row in shown.head(100).to_dict("records")]


def noise(material: Material) -> dict[str, Any] | None:
    """How far training images, and their test-like copies, can be told from test images; charts of each measure."""
    if not len(material.copies):
        return None
    copies = list(material.copies)[:SAMPLE]
    side = int(np.median([max(pixels.shape[:2]) for pixels in copies]))
    tables = {
        "train": measured(material.train_pictures, side),
        "test-like copies": statistics([str(i) for i in range(len(copies))], copies),
        "test": measured(material.test_pictures, side),
    }
    columns = telling(*tables.values())
    before = tell_apart(tables["train"], tables["test"], columns=columns)
    after = tell_apart(tables["test-like copies"], tables["test"], columns=columns)
    shown = list(before.alone) if before else columns
    charts = [
        (name.replace("_", " "), MEASURES[name], density_chart(values_of(tables, name), label=name, colours=COLOURS))
        for name in shown[:6]
    ]
    return {"before": before, "after": after, "charts": charts, "legend": list(COLOURS.items())}


def values_of(tables: dict[str, pd.DataFrame], name: str) -> dict[str, Array]:
    """One measure of each kind of image."""
    return {kind: table[name].to_numpy(np.float64) for kind, table in tables.items()}


def measured(pictures: Pictures, side: int) -> pd.DataFrame:
    """Statistics of a spread sample, shrunk to the size of the copies."""
    rows = np.unique(np.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures))).astype(int)).tolist()
    return statistics([pictures.image_id(row) for row in rows], (fit(pictures[row], side) for row in rows))
