"""Pictures of a fold's held-out rows, drawn the same for three classes and for a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.preprocessing import Image
from storage.atomic import replacing

LEGIBLE = 30  # more classes than this get numbers instead of names on the axes


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


def draw_roc_pr(
    path: Path,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    named: dict[str, int],
    *,
    title: str,
) -> None:
    """ROC and precision-recall: all classes pooled, and the few `named` ones with their number."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    truth = labels[:, None] == np.arange(probabilities.shape[1])  # (n_rows, n_classes)
    shown = [("all classes pooled", truth.ravel(), probabilities.ravel())]
    shown += [(name, truth[:, number], probabilities[:, number]) for name, number in named.items()]
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


def draw_sheet(
    path: Path, images: Sequence[Image | None], captions: Sequence[str], *, columns: int, title: str
) -> None:
    """Small images of one size in lines of `columns`, each with its caption of two lines; None leaves a gap."""
    lines = -(-len(images) // columns)
    side = next(image.shape[0] for image in images if image is not None)
    caption = side // 3
    sheet = np.full((lines * (side + caption), columns * side, 3), 255, np.uint8)
    figure, axes = canvas(1.25 * columns, 1.25 * lines * (side + caption) / side + 0.4, title=title)
    for position, (image, text) in enumerate(zip(images, captions, strict=True)):
        top, left = position // columns * (side + caption), position % columns * side
        if image is not None:
            sheet[top : top + side, left : left + side] = image
        axes.text(left + side / 2, top + side + 2, text, ha="center", va="top", fontsize=6, parse_math=False)
    axes.imshow(sheet)
    axes.axis("off")
    save_figure(figure, path)
