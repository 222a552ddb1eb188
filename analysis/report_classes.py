"""The report's page of classes: strengths of each source, and confusion matrices that can be read with 100 classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import disagreement
from analysis.metrics import confusion
from analysis.pages import write_page
from analysis.plots import heat_cell
from analysis.report_material import Material
from analysis.sources import Array, Source, labels_of, oof_labels_of, scored
from analysis.voting import agreement_by_class


def write_classes(folder: Path, material: Material, frame: dict[str, Any]) -> None:
    """Write classes.html."""
    n_classes = len(material.class_names)
    sources = scored(material.sources)
    tables = [confusion(material.held.truth, np.asarray(source.oof_labels), n_classes=n_classes) for source in sources]
    order = class_order(tables, n_classes)
    data = {
        "classes": list(material.class_names),
        "order": order,
        "sources": [source.name for source in sources],
        "counts": [sparse(table) for table in tables],
    }
    write_page(
        folder / "classes.html",
        "classes.html",
        scripts=["confusion.js"],
        title="Who is good at what",
        **frame,
        class_names=material.class_names,
        names=[source.name for source in sources],
        strengths=strengths(material, sources),
        team=team_strengths(material),
        view=material.held.title,
        data=data,
    )


def class_order(tables: Sequence[Array], n_classes: int) -> list[int]:
    """The classes so that those mixed up most are neighbours."""
    if not tables:
        return list(range(n_classes))
    total = np.sum(tables, axis=0).astype(float)
    shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    mixed = shares + shares.T
    np.fill_diagonal(mixed, 0)
    return disagreement.order_by_similarity(np.minimum(mixed / max(float(mixed.max()), 1e-9), 1))


def sparse(table: Array) -> list[list[int]]:
    """The cells of a confusion matrix that are not empty: [truth, said, count]."""
    truth, said = np.nonzero(table)
    return np.stack([truth, said, table[truth, said]], axis=1).tolist()  # type: ignore[no-any-return]


def strengths(material: Material, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """F1 of each class for each source with out-of-fold rows; the best source stands out, hardest classes first."""
    if not sources:
        return []
    n_classes = len(material.class_names)
    truth = material.held.truth
    table = disagreement.per_class_f1(oof_labels_of(sources), truth, n_classes)  # (n_sources, n_classes)
    support = np.bincount(truth, minlength=n_classes)
    lines = []
    for label in np.argsort(table.mean(axis=0), kind="stable").tolist():
        best = int(table[:, label].argmax()) if np.ptp(table[:, label]) > 0 else -1
        cells = [heat_cell(value, 0.0, 1.0, 3) for value in table[:, label]]
        lines.append(
            {"class": material.class_names[label], "support": int(support[label]), "cells": cells, "best": best}
        )
    return lines


def team_strengths(material: Material) -> dict[str, Any] | None:
    """Label-only files: how often each is with the vote of the others, class by class; agreement, not accuracy."""
    n_classes = len(material.class_names)
    labels = labels_of(material.sources)
    team = [i for i, source in enumerate(material.sources) if source.oof_labels is None]
    if not team:
        return None
    table = agreement_by_class(labels, n_classes)[team].T  # (n_classes, n_team)
    order = np.argsort(np.nan_to_num(table.mean(axis=1), nan=2.0), kind="stable").tolist()
    lines = [
        (material.class_names[label], [heat_cell(value, 0.0, 1.0, 3) for value in table[label]]) for label in order
    ]
    return {"names": [material.sources[i].name for i in team], "lines": lines}
