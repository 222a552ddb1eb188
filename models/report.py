"""What a fold leaves for people: tables and pictures of its held-out rows, readable with three classes or a hundred.

per_class.csv        precision, recall, F1, support, area under ROC, average precision of each class, worst F1 first
confusion.csv        rows: true class, columns: predicted class
confused_pairs.csv   the pairs of classes that are mixed up most, with some of their images
worst.csv            the images with the largest loss
curves.csv           loss, learning rate and scores, epoch by epoch
confusion.png, curves.png, roc_pr.png, worst.png   the same, drawn
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.preprocessing import Image
from storage.atomic import replacing, write_text

LEGIBLE = 30  # more classes than this get numbers instead of names on the axes
DRAWN_CURVES = 5


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
        draw_roc_pr(folder / "roc_pr.png", rows, title=title)
        if len(worst_rows):
            draw_worst(folder / "worst.png", worst_rows, [picture(int(row)) for row in worst_rows["row"]], title=title)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table for people; a leading = + - @ in a name cannot become a formula in a spreadsheet."""
    safe = table.copy()
    for name in safe.columns[[isinstance(value, str) for value in safe.iloc[0]]] if len(safe) else []:
        safe[name] = [f"'{value}" if str(value)[:1] in "=+-@\t\r" else value for value in safe[name]]
    write_text(path, safe.to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def canvas(width: float, height: float, *, title: str) -> tuple[Any, Any]:
    """A matplotlib figure without a window, and its one axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    return figure, axes


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, without dates, so that the same numbers give the same file."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})


def draw_confusion(path: Path, matrix: npt.NDArray[np.int64], names: Sequence[str], *, title: str) -> None:
    """Shares of each true class; counts are written in while they are legible."""
    n = len(names)
    side = min(14.0, 3 + 0.35 * n)
    figure, axes = canvas(side, side, title=f"{title}: share of each true class")
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if n <= LEGIBLE:
        short = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
        axes.set_xticks(range(n), short, rotation=90, parse_math=False)
        axes.set_yticks(range(n), short, parse_math=False)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=7, color=colour)
    save_figure(figure, path)


def draw_curves(path: Path, curves: pd.DataFrame, *, title: str) -> None:
    """Macro-F1 of both views and the training loss over the epochs."""
    figure, axes = canvas(7, 4, title=title)
    for number, part in curves.groupby("seed"):
        for name in ("clean_macro_f1", "testlike_macro_f1"):
            if name in part:
                axes.plot(part["epoch"], part[name], marker="o", label=f"{name.replace('_', ' ')} (seed {number})")
    axes.set(xlabel="epoch", ylabel="macro F1")
    axes.grid(alpha=0.3)
    losses = axes.twinx()
    for number, part in curves.groupby("seed"):
        losses.plot(part["epoch"], part["train_loss"], color="grey", linestyle=":", label=f"train loss (seed {number})")
    losses.set_ylabel("train loss")
    lines = [*axes.get_legend_handles_labels()[0], *losses.get_legend_handles_labels()[0]]
    axes.legend(lines, [line.get_label() for line in lines], fontsize=7, loc="center right")
    save_figure(figure, path)


def draw_roc_pr(path: Path, rows: HeldOut, *, title: str) -> None:
    """ROC and precision-recall: all classes pooled, and by name only the few classes with the least area."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    truth = rows.labels[:, None] == np.arange(len(rows.class_names))  # (n_rows, n_classes)
    ranked = per_class(rows).dropna().sort_values("average_precision", kind="stable")["class"][:DRAWN_CURVES]
    numbers = [rows.class_names.index(name) for name in ranked]
    shown = [("all classes pooled", truth.ravel(), rows.probabilities.ravel())]
    shown += [(rows.class_names[number], truth[:, number], rows.probabilities[:, number]) for number in numbers]
    for name, positive, p in shown:
        if positive.any() and not positive.all():
            false, true, _ = roc_curve(positive, p)
            precision, recall, _ = precision_recall_curve(positive, p)
            style = {"color": "black", "linewidth": 2} if name == "all classes pooled" else {}
            left.plot(false, true, label=name, **style)
            right.plot(recall, precision, **style)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title=f"{title}: ROC")
    right.set(xlabel="recall", ylabel="precision", title="precision and recall")
    for text in left.legend(fontsize=7, title="pooled and the weakest classes", title_fontsize=7).get_texts():
        text.set_parse_math(False)
    save_figure(figure, path)


def draw_worst(path: Path, table: pd.DataFrame, images: list[Image], *, title: str) -> None:
    """A sheet of the images with the largest loss; under each its true and predicted class."""
    columns = min(8, len(images))
    lines = -(-len(images) // columns)
    side, caption = images[0].shape[0], images[0].shape[0] // 3
    sheet = np.full((lines * (side + caption), columns * side, 3), 255, np.uint8)
    figure, axes = canvas(
        1.25 * columns, 1.25 * lines * (side + caption) / side + 0.4, title=f"{title}: largest losses"
    )
    for position, (image, row) in enumerate(zip(images, table.itertuples(), strict=True)):
        top, left = position // columns * (side + caption), position % columns * side
        sheet[top : top + side, left : left + side] = image
        text = f"{str(row.true)[:16]}\nnot {str(row.predicted)[:16]}"
        axes.text(left + side / 2, top + side + 2, text, ha="center", va="top", fontsize=6, parse_math=False)
    axes.imshow(sheet)
    axes.axis("off")
    save_figure(figure, path)
