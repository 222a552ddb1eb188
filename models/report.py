"""What a fold leaves for people: tables and pictures of its held-out rows, readable with three classes or a hundred.

per_class.csv        precision, recall, F1, support, area under ROC, average precision of each class, worst F1 first
confusion.csv        rows: true class, columns: predicted class
confused_pairs.csv   the pairs of classes that are mixed up most, with some of their images
worst.csv            the images with the largest loss
curves.csv           loss, learning rate and scores, epoch by epoch
confusion.png, curves.png, roc_pr.png, confused_pairs.png, worst.png   the same, drawn; the last two with their images
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.drawing import draw_confusion, draw_curves, draw_roc_pr, draw_sheet
from models.preprocessing import Image
from storage.atomic import write_text
from storage.spreadsheet import guarded_table

DRAWN_CURVES, DRAWN_PAIRS, DRAWN_IMAGES = 5, 8, 6


@dataclass(frozen=True)
class HeldOut:
    """The rows of one view, with what was predicted for them."""

    image_id: npt.NDArray[np.object_]  # (n_rows,)
    copy: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]  # (n_rows, n_classes)
    class_names: list[str]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable class of each row."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """-log p of the true class."""
        chosen = self.probabilities[np.arange(len(self.labels)), self.labels]
        losses: npt.NDArray[np.float64] = -np.log(np.maximum(chosen, 1e-38))
        return losses


def confusion(rows: HeldOut) -> npt.NDArray[np.int64]:
    """Counts by true and predicted class.  # (n_classes, n_classes)"""
    from sklearn.metrics import confusion_matrix

    return np.asarray(confusion_matrix(rows.labels, rows.predicted, labels=range(len(rows.class_names))))


def per_class(rows: HeldOut) -> pd.DataFrame:
    """One line per class, the worst F1 first; areas are empty for a class without positive or negative rows."""
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    numbers = range(len(rows.class_names))
    precision, recall, f1, support = precision_recall_fscore_support(
        rows.labels, rows.predicted, labels=numbers, zero_division=0
    )
    areas: list[tuple[float, float]] = []
    for number in numbers:
        truth, p = rows.labels == number, rows.probabilities[:, number]
        both = truth.any() and not truth.all()
        areas.append((roc_auc_score(truth, p), average_precision_score(truth, p)) if both else (np.nan, np.nan))
    table = pd.DataFrame({"class": rows.class_names, "support": support, "precision": precision, "recall": recall})
    table["f1"] = f1
    table[["roc_auc", "average_precision"]] = areas
    return table.sort_values(["f1", "class"], kind="stable", ignore_index=True)


def confused_pairs(rows: HeldOut, *, images: int = 5) -> pd.DataFrame:
    """Pairs of true and predicted class, most frequent first, with the images of the largest loss."""
    wrong = rows.predicted != rows.labels
    table = pd.DataFrame(
        {"true": rows.labels[wrong], "predicted": rows.predicted[wrong], "image_id": rows.image_id[wrong]}
    )
    table["loss"] = rows.losses[wrong]
    table = table.sort_values("loss", ascending=False, kind="stable")
    support = np.bincount(rows.labels, minlength=len(rows.class_names))
    lines = []
    for key, part in table.groupby(["true", "predicted"]):
        true, predicted = (int(number) for number in cast(tuple[int, int], key))
        ids = list(dict.fromkeys(part["image_id"]))[:images]
        names = {"true": rows.class_names[true], "predicted": rows.class_names[predicted]}
        lines.append({**names, "count": len(part), "share_of_true": len(part) / support[true], "images": " ".join(ids)})
    columns = ["true", "predicted", "count", "share_of_true", "images"]
    found = pd.DataFrame(lines, columns=columns)
    return found.sort_values(["count", "true", "predicted"], ascending=[False, True, True], ignore_index=True)


def worst(rows: HeldOut, *, count: int) -> pd.DataFrame:
    """The rows with the largest loss; `row` is the position in `rows`."""
    order = np.argsort(-rows.losses, kind="stable")[:count]
    names = np.asarray(rows.class_names, dtype=object)
    return pd.DataFrame(
        {
            "image_id": rows.image_id[order],
            "copy": rows.copy[order],
            "true": names[rows.labels[order]],
            "predicted": names[rows.predicted[order]],
            "loss": rows.losses[order],
            "row": order,
        }
    )


def write_report(
    folder: Path,
    rows: HeldOut,
    *,
    curves: pd.DataFrame,
    picture: Callable[[int], Image],
    worst_count: int,
    figures: bool,
    title: str,
) -> None:
    """Write all tables, and the pictures if asked for; `picture` gives the small RGB image of a row of `rows`."""
    matrix, worst_rows = confusion(rows), worst(rows, count=worst_count)
    table = pd.DataFrame(matrix, index=pd.Index(rows.class_names, name="true"), columns=rows.class_names)
    write_csv(folder / "confusion.csv", table.reset_index())
    write_csv(folder / "per_class.csv", per_class(rows))
    write_csv(folder / "confused_pairs.csv", confused_pairs(rows))
    write_csv(folder / "worst.csv", worst_rows.drop(columns="row"))
    write_csv(folder / "curves.csv", curves)
    if figures:
        draw_confusion(folder / "confusion.png", matrix, rows.class_names, title=title)
        draw_curves(folder / "curves.png", curves, title=title)
        named = {name: rows.class_names.index(name) for name in weakest(rows)}
        draw_roc_pr(folder / "roc_pr.png", rows.labels, rows.probabilities, named, title=title)
        pairs = pair_rows(rows)
        sheets = {"worst": (list(worst_rows["row"]), 8), "confused_pairs": (pairs, DRAWN_IMAGES)}
        for name, (chosen, columns) in sheets.items():
            if chosen:
                images = [None if row is None else picture(int(row)) for row in chosen]
                captions = ["" if row is None else caption(rows, int(row)) for row in chosen]
                about = "largest losses" if name == "worst" else "most confused pairs, one a line"
                draw_sheet(folder / f"{name}.png", images, captions, columns=columns, title=f"{title}: {about}")


def weakest(rows: HeldOut) -> list[str]:
    """The few classes with the least average precision."""
    table = per_class(rows).dropna().sort_values("average_precision", kind="stable")
    return list(table["class"][:DRAWN_CURVES])


def pair_rows(rows: HeldOut) -> list[int | None]:
    """Of each of the most confused pairs, rows of different images with the largest loss; None fills its line."""
    found: list[int | None] = []
    order = np.argsort(-rows.losses, kind="stable")
    names = np.asarray(rows.class_names, dtype=object)
    for pair in confused_pairs(rows)[:DRAWN_PAIRS].itertuples():
        mixed = (names[rows.labels[order]] == pair.true) & (names[rows.predicted[order]] == pair.predicted)
        first = {rows.image_id[row]: int(row) for row in order[mixed][::-1]}  # of each image, that of the largest loss
        line: list[int | None] = sorted(first.values(), key=lambda row: -rows.losses[row])[:DRAWN_IMAGES]  # type: ignore[assignment]
        found += line + [None] * (DRAWN_IMAGES - len(line))
    return found


def caption(rows: HeldOut, row: int) -> str:
    """What a held-out row is and is not."""
    true, predicted = rows.class_names[rows.labels[row]], rows.class_names[rows.predicted[row]]
    return f"{true[:16]}\nnot {predicted[:16]}"


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table for people."""
    write_text(path, guarded_table(table).to_csv(index=False, lineterminator="\n", float_format="%.6g"))
