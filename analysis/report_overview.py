"""The report's first page: sources, agreement, errors in common, what-if, bounds of the board."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from analysis import disagreement, voting
from analysis.metrics import confusion, from_counts
from analysis.plots import heat_rows
from analysis.report_material import Material
from analysis.sources import Array, Source, labels_of, oof_labels_of, scored
from analysis.what_if import changes


def overview(material: Material) -> dict[str, Any]:
    """The context of report.html."""
    n_classes = len(material.class_names)
    labels = labels_of(material.sources)
    found = disagreement.agreement(labels, n_classes)
    order = disagreement.order_by_similarity(found.agreement)
    names = [source.name for source in material.sources]
    n_disputed = len(disagreement.disputed(labels))
    return {
        "n_rows": len(labels),
        "n_disputed": n_disputed,
        "n_open": len(disagreement.without_majority(labels, n_classes)),
        "pairs": pair_lines(labels, material.class_names, n_disputed),
        "sources": source_lines(material, labels, n_classes),
        "refused": list(material.refused.items()),
        "honest": material.metrics.get("blend", {}),
        "names": [names[i] for i in order],
        "agreements": [
            ("Agreement", "share of images with the same label", heat_rows(found.agreement, order)),
            ("Cohen's kappa", "agreement beyond chance", heat_rows(found.kappa, order)),
        ],
        "copies": near_copies(material.sources, n_classes),
        "errors": common_errors(material),
        "changes": changes(material.sources, material.held, n_classes),
        "bounds": bounds(material.sources, found.agreement),
        "view": material.held.title,
    }


def near_copies(sources: Sequence[Source], n_classes: int) -> list[list[str]]:
    """Names of sources that nearly say the same; blends are left out, since they are made of the others."""
    plain = [source for source in sources if source.kind != "blend"]
    groups = voting.cliques(labels_of(plain), n_classes).groups if len(plain) > 1 else []
    return [[plain[i].name for i in group] for group in groups]


def pair_lines(labels: Array, names: Sequence[str], n_disputed: int) -> list[dict[str, Any]]:
    """The pairs of classes with most disputed images."""
    pairs = disagreement.class_pairs(labels)[:10]
    return [
        {
            "text": f"{names[pair.first]} ↔ {names[pair.second]}",
            "link": f"gallery.html#pair={pair.first}-{pair.second}",
            "rows": pair.n_rows,
            "share": pair.n_rows / n_disputed,
        }
        for pair in pairs
    ]


def score_of(labels: Array | None, truth: Array, n_classes: int) -> float | None:
    """Macro-F1 over all classes; none without out-of-fold labels."""
    if labels is None:
        return None
    return float(from_counts("macro_f1", confusion(truth, labels, n_classes=n_classes)))


def source_lines(material: Material, labels: Array, n_classes: int) -> list[dict[str, Any]]:
    """One line per source: scores, distance from the blend, rank without labels, remarks."""
    sources, truth = material.sources, material.held.truth
    blend = next((i for i, source in enumerate(sources) if source.kind == "blend"), None)
    rank = {column: place for place, (column, _) in enumerate(voting.ranking(labels, n_classes), start=1)}
    blended = sources[blend].oof_labels if blend is not None else None
    metrics = material.metrics.get("blend", {})  # of labels by expected metric, not of top classes
    same = metrics.get("metric") == "macro_f1" and metrics.get("view") == material.held.view
    told = {("blend", "blend"): metrics.get("score")} if same else {}
    told |= {("member", name): score for name, score in metrics.get("alone", {}).items()} if same else {}
    lines = []
    for column, source in enumerate(sources):
        held = source.oof_labels
        fixed = hurt = None
        if held is not None and blended is not None and source.kind != "blend":
            [(fixed, hurt)] = disagreement.fixes_and_hurts(held[:, None], blended, truth)
        apart = int((labels[:, column] != labels[:, blend]).sum()) if blend is not None and column != blend else None
        lines.append(
            {
                "name": source.name,
                "kind": source.kind,
                "score": told.get((source.kind, source.name)) or score_of(held, truth, n_classes),
                "board": source.board,
                "apart": apart,
                "fixed": fixed,
                "hurt": hurt,
                "rank": rank[column],
                "notes": source.notes,
            }
        )
    return lines


def first_of_each(image_id: Array) -> Array:
    """Positions of the first row of each image: rows of copies are not independent.  # (n_images,)"""
    _, first = np.unique(image_id.astype(str), return_index=True)
    return np.sort(first)


def common_errors(material: Material) -> dict[str, Any] | None:
    """Measures of errors in common, for the sources with out-of-fold rows; none for fewer than two."""
    sources, truth = scored(material.sources), material.held.truth
    if len(sources) < 2:
        return None
    labels = oof_labels_of(sources)
    found = disagreement.diversity(labels, truth)
    order = disagreement.order_by_similarity(np.nan_to_num(found.correlation))
    names = [source.name for source in sources]
    alone = [i for i, source in enumerate(sources) if source.kind != "blend"]
    rows = first_of_each(material.held.image_id)
    right = (labels == truth[:, None])[rows]
    return {
        "names": [names[i] for i in order],
        "n_rows": len(truth),
        "n_images": len(rows),
        "maps": [
            ("Correlation of errors", "of being right; low is a good partner", heat_rows(found.correlation, order)),
            ("Q-statistic", "Yule's Q; 1: the same rows are wrong", heat_rows(found.q_statistic, order)),
            ("Double fault", "share of rows both have wrong", heat_rows(found.double_fault, order, digits=3, low=0)),
            (
                "Same wrong",
                "both wrong with one label: a vote of the two is blind to it",
                heat_rows(found.same_wrong, order, digits=3, low=0),
            ),
        ],
        "same_wrong": disagreement.same_wrong_of_all(labels[:, alone], truth),
        "oracle": disagreement.oracle(labels[:, alone], truth),
        "cochran": disagreement.cochrans_q(right[:, alone]),
        "mcnemar": mcnemar_lines(names, right),
    }


def mcnemar_lines(names: Sequence[str], right: Array) -> list[dict[str, Any]]:
    """McNemar's test of all pairs, the smallest p-values first; at most 20 lines."""
    lines: list[dict[str, Any]] = []
    for i, j in combinations(range(len(names)), 2):
        first, second, p_value = disagreement.mcnemar(right[:, i], right[:, j])
        better, worse = (i, j) if first >= second else (j, i)
        lines.append(
            {
                "better": names[better],
                "worse": names[worse],
                "only_better": max(first, second),
                "only_worse": min(first, second),
                "p": p_value,
            }
        )
    return sorted(lines, key=lambda line: line["p"])[:20]


def bounds(sources: Sequence[Source], agreed: Array) -> list[dict[str, Any]]:
    """What any row-by-row choice between two files with board scores can reach."""
    known = [i for i, source in enumerate(sources) if source.board is not None]
    lines: list[dict[str, Any]] = []
    for i, j in combinations(known, 2):
        first, second = sources[i].board, sources[j].board
        assert first is not None and second is not None
        found = disagreement.reach(first, second, float(agreed[i, j]))
        lines.append(
            {
                "first": sources[i].name,
                "second": sources[j].name,
                "agreed": float(agreed[i, j]),
                "best": max(first, second),
                "reach": found,
            }
        )
    return sorted(lines, key=lambda line: -line["reach"].best_high)[:30]
