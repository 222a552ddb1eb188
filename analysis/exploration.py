"""The exploration page: what a competition's images look like, train against test, and what to do about it.

Takes tables of statistics and duplicates with access to the pictures; gives the page's content and writes it.
Run through `python -m stages.explore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.adversarial import Adversarial
from analysis.duplicates import EXACT, VARIANTS, Duplicates
from analysis.pages import write_page
from analysis.pictures import Pictures, Pixels, data_uri
from analysis.statistics import MEASURES, telling
from analysis.suggestions import Suggestion

SECTIONS = [
    ("plan", "What to set"), ("look", "Side by side"), ("shift", "Train against test"), ("classes", "Classes"),
    ("sizes", "Sizes"), ("extremes", "Extremes"), ("duplicates", "Duplicates"),
]  # fmt: skip
WHERE = ["test", "train", "train-test"]  # in which table(s) both of a pair are
WIDTH, HEIGHT = 300, 84  # of a small chart, in its own units
MOST_CLASSES, MOST_PAIRS, MOST_POINTS = 60, 24, 1500
SHOWN = 28  # pictures of each side: four full rows


@dataclass(frozen=True)
class Side:
    """Training or test images: their index table, pictures by row, and statistics of some of them."""

    table: pd.DataFrame
    pictures: Pictures
    statistics: pd.DataFrame


@dataclass(frozen=True)
class Findings:
    """All that the page tells."""

    names: Sequence[str]
    train: Side
    test: Side
    duplicates: pd.DataFrame  # as made by `describe_duplicates`
    adversarial: Adversarial | None
    suggestions: Sequence[Suggestion]


def describe_duplicates(found: Duplicates, train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """One row per pair: both ids and classes, `where` (train, train-test, test), `kind`, `correlation`, rows."""
    ids = pd.concat([train["image_id"], test["image_id"]], ignore_index=True)
    labels = np.concatenate([train["label"].to_numpy(np.int64), np.full(len(test), -1)])
    first, second = np.sort(found.pairs, axis=1).T if len(found.pairs) else (found.pairs[:, 0], found.pairs[:, 1])
    both, none = second < len(train), first >= len(train)
    kinds = ["equal pixels", *(f"near, {name}" if i else "near" for i, name in enumerate(VARIANTS))]
    table = pd.DataFrame(
        {
            "first_id": ids.take(first).reset_index(drop=True),
            "second_id": ids.take(second).reset_index(drop=True),
            "where": pd.Categorical.from_codes(np.where(both, 1, np.where(none, 0, 2)), pd.Index(WHERE)),
            "kind": pd.Categorical.from_codes(found.variants - EXACT, pd.Index(kinds)),
            "correlation": found.correlations.astype(np.float64).round(4),
            "first_label": labels[first],
            "second_label": labels[second],
            "first_row": first,
            "second_row": second,
        }
    )
    table["conflict"] = both & (table["first_label"] != table["second_label"]).to_numpy()
    order = ["conflict", "where", "correlation", "first_row"]
    return table.sort_values(order, ascending=[False, False, False, True], ignore_index=True)


def summary(findings: Findings) -> dict[str, Any]:
    """The findings in numbers, for `statistics.json`."""
    adversarial = findings.adversarial
    return {
        "train_images": len(findings.train.table),
        "test_images": len(findings.test.table),
        "measured": {"train": len(findings.train.statistics), "test": len(findings.test.statistics)},
        "adversarial_auc": None if adversarial is None else round(adversarial.auc, 4),
        "adversarial_auc_error": None if adversarial is None else round(adversarial.standard_error, 4),
        "auc_alone": {} if adversarial is None else {name: round(v, 4) for name, v in adversarial.alone.items()},
        "duplicates": {
            "train": int((findings.duplicates["where"] == "train").sum()),
            "train-test": int((findings.duplicates["where"] == "train-test").sum()),
            "test": int((findings.duplicates["where"] == "test").sum()),
            "conflicts": int(findings.duplicates["conflict"].sum()),
        },
        "train": _quantiles(findings.train.statistics),
        "test": _quantiles(findings.test.statistics),
    }


def _quantiles(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    columns = ["width", "height", "aspect", *MEASURES] if len(table) else []
    levels = {"p05": 0.05, "median": 0.5, "p95": 0.95}
    return {c: {name: round(float(table[c].quantile(q)), 4) for name, q in levels.items()} for c in columns}


def write_exploration(
    folder: str | Path,
    findings: Findings,
    *,
    per_class: int = 8,
    seed: int = 0,
    fitted: tuple[float, float, Pixels] | None = None,
) -> None:
    """Write `folder/index.html`; `fitted` is the AUC before and after noise fitting with a picture of both."""
    random = np.random.default_rng(seed)
    write_page(
        Path(folder) / "index.html",
        "exploration.html",
        title="What the images look like",
        navigation=[(f"#{place}", text, False) for place, text in SECTIONS],
        note=f"{len(findings.train.table):,} training and {len(findings.test.table):,} test images",
        classes=class_rows(findings, per_class, random),
        n_classes=len(findings.names),
        imbalance=imbalance(findings),
        findings=findings,
        summary=summary(findings),
        histograms=histograms(findings),
        sizes=sizes(findings),
        strips=[
            ("Training images", strip(findings.train, SHOWN, random)),
            ("Test images", strip(findings.test, SHOWN, random)),
        ],
        extremes=extremes(findings),
        pairs=pair_rows(findings),
        chart=(WIDTH, HEIGHT),
        fitted=fitted and (*fitted[:2], data_uri(fitted[2], side=1200)),
    )


def class_rows(findings: Findings, per_class: int, random: np.random.Generator) -> list[dict[str, Any]]:
    """Classes, the most frequent first: name, count, share of the largest, some pictures of the first MOST_CLASSES."""
    labels = findings.train.table["label"].to_numpy(np.int64)
    counts = np.bincount(labels, minlength=len(findings.names))
    rows = []
    for place, label in enumerate(np.argsort(-counts, kind="stable")):
        members = np.flatnonzero(labels == label) if place < MOST_CLASSES else np.empty(0, np.int64)
        chosen = random.choice(members, min(per_class, len(members)), replace=False)
        rows.append(
            {
                "name": findings.names[label],
                "count": int(counts[label]),
                "share": round(float(counts[label] / max(counts.max(), 1)), 4),
                "pictures": [thumbnail(findings.train.pictures, int(row)) for row in np.sort(chosen)],
            }
        )
    return rows


def imbalance(findings: Findings) -> float:
    """How many times the images of the smallest class, among those with any, the largest one has."""
    counts = np.bincount(findings.train.table["label"].to_numpy(np.int64))
    return float(counts.max() / counts[counts > 0].min())


def thumbnail(pictures: Pictures, row: int, *, side: int = 112) -> dict[str, Any]:
    """A picture as text, and whether it is so small that its pixels should stay square when it is shown larger."""
    pixels = pictures[row]
    return {"uri": data_uri(pixels, side=side), "pixel": max(pixels.shape[:2]) <= 64}


def strip(side: Side, count: int, random: np.random.Generator) -> list[dict[str, Any]]:
    """Pictures drawn at random."""
    rows = random.permutation(len(side.table))[:count]
    return [thumbnail(side.pictures, int(row)) for row in np.sort(rows)]


def histograms(findings: Findings) -> list[dict[str, Any]]:
    """A small chart for each measure, those that tell train from test best first."""
    alone = findings.adversarial.alone if findings.adversarial else {}
    known = telling(findings.train.statistics, findings.test.statistics)
    charts = []
    for name in sorted(known, key=lambda name: -alone.get(name, 0.0)):
        sides = [side.statistics[name].to_numpy(np.float64) for side in (findings.train, findings.test)]
        low, high = _range(np.concatenate(sides))
        bins = int(np.clip(np.sqrt(min(len(values) for values in sides if len(values))) * 1.5, 10, 48))
        heights = [np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))[0] for values in sides]
        charts.append(
            {
                "name": name.replace("_", " "),
                "meaning": MEASURES[name],
                "outlines": [outline(height / height.max()) if height.any() else "" for height in heights],
                "medians": [float(np.median(values)) if len(values) else None for values in sides],
                "ends": (low, high),
                "alone": alone.get(name),
            }
        )
    return charts


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = (float(v) for v in np.quantile(values, [0.002, 0.998]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def outline(heights: NDArray[np.floating[Any]]) -> str:
    """An SVG path of a stepped area; heights 0 to 1 from left to right."""
    step = WIDTH / len(heights)
    tops = [f"{HEIGHT - height * (HEIGHT - 4):.1f}H{(i + 1) * step:.1f}" for i, height in enumerate(heights)]
    return f"M0 {HEIGHT}V" + "V".join(tops) + f"V{HEIGHT}Z"


def sizes(findings: Findings) -> dict[str, Any]:
    """Widths and heights: how many differ, the usual ones, and points for a chart if there are several."""
    both = [side.statistics for side in (findings.train, findings.test)]
    largest = max(float(max(table["width"].max(), table["height"].max())) for table in both if len(table))
    common = pd.concat(both).groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    points = []
    for table in both:
        some = table.iloc[:: max(1, len(table) // MOST_POINTS)]
        places = zip(some["width"] / largest * 280, 280 - some["height"] / largest * 280, strict=True)
        points.append("".join(f"M{x:.1f} {y:.1f}h0" for x, y in places))
    sizes_seen = [(int(place[0]), int(place[1])) for place in common.index[:8]]
    rows = [(*seen, int(n), n / int(common.sum())) for seen, n in zip(sizes_seen, common.iloc[:8], strict=True)]
    return {"distinct": len(common), "common": rows, "points": points, "largest": int(largest)}


def extremes(findings: Findings, *, count: int = 6) -> list[dict[str, Any]]:
    """The pictures at both ends of the most telling measures: outliers, and what a measure sees."""
    alone = list(findings.adversarial.alone) if findings.adversarial else []
    names = [name for name in [*alone, "sharpness", "brightness", "noise"] if name in MEASURES][:4]
    rows = []
    for name in dict.fromkeys(names):
        for side, title in ((findings.train, "training"), (findings.test, "test")):
            order = side.statistics.sort_values(name, kind="stable")["row"].to_numpy(np.int64)
            if len(order):
                ends = [
                    [thumbnail(side.pictures, int(row), side=80) for row in part]
                    for part in (order[:count], order[-count:])
                ]
                rows.append({"name": name.replace("_", " "), "side": title, "low": ends[0], "high": ends[1]})
    return rows


def pair_rows(findings: Findings) -> list[dict[str, Any]]:
    """The first MOST_PAIRS duplicates with their pictures: conflicts first, then those between train and test."""
    n_train = len(findings.train.table)
    rows: list[dict[str, Any]] = []
    for pair in findings.duplicates.head(MOST_PAIRS).to_dict("records"):
        pictures = []
        for row in (int(pair["first_row"]), int(pair["second_row"])):
            side, place = (findings.train, row) if row < n_train else (findings.test, row - n_train)
            pictures.append(thumbnail(side.pictures, place))
        labels = [findings.names[pair[key]] if pair[key] >= 0 else "test" for key in ("first_label", "second_label")]
        rows.append({**{str(key): value for key, value in pair.items()}, "pictures": pictures, "labels": labels})
    return rows
