"""The report: a static site about where sources disagree, from plain tables. Written by `stages/compare.py`.

index.html (who agrees with whom, what to do about it), gallery.html (the disputed images), classes.html (strengths and
confusions), training.html (suspicious labels, duplicates, noise), runs.html (curves, ledger); pictures beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import disagreement
from analysis.gallery import SLICE, nearest, roots, write_pictures, write_rows
from analysis.pages import write_page
from analysis.plots import heat_rows
from analysis.report_classes import write_classes
from analysis.report_material import Look, Material, frame, report_key
from analysis.report_overview import overview
from analysis.report_runs import write_runs
from analysis.report_training import write_training
from analysis.sources import Array, labels_of, mean_shares
from storage.atomic import building


def write_report(out: Path, material: Material, look: Look) -> None:
    """Write the whole site to `out`, which appears at once."""
    with building(out) as folder:
        disputed = write_gallery(folder, material, look)
        strip = [(row[0], row[1]) for row in disputed[:12]]
        write_page(
            folder / "index.html",
            "report.html",
            title="Where they disagree",
            **frame(material, "index.html"),
            **overview(material),
            **fold_agreement(material),
            strip=strip,
        )
        write_classes(folder, material, frame(material, "classes.html"))
        write_training(folder, material, look, frame(material, "training.html"))
        write_runs(folder, material, frame(material, "runs.html"))


def write_gallery(folder: Path, material: Material, look: Look) -> list[list[Any]]:
    """The page of disputed test images, the least certain first; returns its rows."""
    n_classes = len(material.class_names)
    labels, shares = labels_of(material.sources), mean_shares(material.sources, n_classes)
    found = disagreement.disputed(labels)
    order = np.argsort(-disagreement.entropy(shares[found]), kind="stable")
    found = found[order][: look.pictures]
    near, used = neighbours_of(material, found, look.neighbours)
    pictures = write_pictures(
        folder, material.test_pictures, found.tolist(), part="test", thumbnail=look.thumbnail, large=look.large
    )
    near_pictures = write_pictures(
        folder, material.train_pictures, used, part="train", thumbnail=look.thumbnail, large=None
    )
    known = [
        [material.train_ids[row], path, int(material.train_labels[row])]
        for row, path in zip(used, near_pictures, strict=True)
    ]
    rows = write_rows(
        folder,
        found,
        part="test",
        ids=material.test_ids,
        sources=material.sources,
        shares=shares,
        pictures=pictures,
        near=[[known[number] for number in numbers] for numbers in near.tolist()],
    )
    data = {
        "mode": "test",
        "key": report_key(material, "test"),
        "name": "overrides.csv",
        "classes": list(material.class_names),
        "values": list(material.class_values),
        "sources": [source.name for source in material.sources],
        "slice": SLICE,
        "rows": rows,
    }
    write_page(
        folder / "gallery.html",
        "gallery.html",
        scripts=["gallery.js"],
        lazy=True,
        title="Disputed images",
        **frame(material, "gallery.html"),
        lead="Test images on which not all sources say the same, the least certain first. Open one to see what each "
        "says, step with the arrow keys, decide with the number keys.",
        mode="test",
        total=len(rows),
        pairs=pair_options(labels, material.class_names),
        data=data,
        download_text="Download the override CSV",
        decisions_text="Kept in this browser only. The override CSV says who decided; podium vote --override applies "
        "it. Labels of test images made by hand taint a submission: most contests forbid them.",
        nothing_text="All sources say the same about every image.",
    )
    return rows


def pair_options(labels: Array, names: Sequence[str]) -> list[tuple[int, int, str]]:
    """The choices of the gallery's filter: (one class, other class, text), most rows first."""
    return [
        (pair.first, pair.second, f"{names[pair.first]} ↔ {names[pair.second]} ({pair.n_rows:,})")
        for pair in disagreement.class_pairs(labels)[:400]
    ]


def neighbours_of(material: Material, rows: Array, count: int) -> tuple[Array, list[int]]:
    """(numbers of the nearest training images in the list that is returned second, their rows).

    Near is what the members give similar probabilities to; training images by their out-of-fold ones.
    """
    members = [s for s in material.sources if s.name in material.train_shares and s.probabilities is not None]
    if not members or not count or not len(rows):
        return np.empty((len(rows), 0), dtype=np.int64), []
    points = roots([np.asarray(member.probabilities)[rows] for member in members])
    others = roots([material.train_shares[member.name] for member in members])
    found = nearest(points, others, count)
    used, places = np.unique(found, return_inverse=True)
    return places.reshape(found.shape), used.tolist()


def fold_agreement(material: Material) -> dict[str, Any]:
    """How far the folds of each member agree with each other on the test set."""
    n_classes = len(material.class_names)
    lines, columns, names = [], [], []
    for name, labels in material.fold_labels.items():
        if labels.shape[1] < 2:
            continue
        found = disagreement.agreement(labels, n_classes).agreement
        apart = found[~np.eye(len(found), dtype=bool)]
        lines.append(
            (name, labels.shape[1], float(apart.mean()), float(apart.min()), len(disagreement.disputed(labels)))
        )
        columns.append(labels)
        names += [f"{name} {fold}" for fold in range(labels.shape[1])]
    if not columns or len(names) > 60:
        return {"folds": lines, "fold_heat": None}
    every = disagreement.agreement(np.concatenate(columns, axis=1), n_classes).agreement
    order = disagreement.order_by_similarity(every)
    return {"folds": lines, "fold_heat": ([names[i] for i in order], heat_rows(every, order))}
