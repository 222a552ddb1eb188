"""The report's page of runs: learning curves of every member, and the ledger of submissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.pages import write_page
from analysis.plots import COLOURS, Chart, line_chart
from analysis.report_material import Material

SHOWN = 200  # lines of the ledger


def write_runs(folder: Path, material: Material, frame: dict[str, Any]) -> None:
    """Write runs.html."""
    curves = curve_charts(material)
    write_page(
        folder / "runs.html",
        "runs.html",
        title="Runs and submissions",
        **{**frame, "tainted": frame["tainted"] or tainted_rows(material.ledger)},
        curves=curves,
        folds=sorted({(line.name, line.colour) for _, charts in curves for found in charts for line in found.lines}),
        ledger=ledger_lines(material.ledger),
        honest=material.metrics.get("blend", {}),
    )


def curve_charts(material: Material) -> list[tuple[str, list[Chart]]]:
    """For each model: its score and its training loss over epochs, one line per fold."""
    models: dict[str, dict[str, pd.DataFrame]] = {}
    for name, table in material.curves.items():
        model, _, fold = name.rpartition("/")
        models.setdefault(model, {})[f"fold {fold}"] = table
    result = []
    for model, folds in models.items():
        charts = [chart(folds, column) for column in score_columns(folds)]
        result.append((model, [found for found in charts if found.lines]))
    return result


def score_columns(folds: dict[str, pd.DataFrame]) -> list[str]:
    """The columns worth a chart: macro-F1 of the test-like view (or clean), and the training loss."""
    columns = next(iter(folds.values())).columns
    scores = [name for name in ("testlike_macro_f1", "clean_macro_f1", "macro_f1") if name in columns][:1]
    return [*scores, *(name for name in ("train_loss", "loss") if name in columns)][:2]


def chart(folds: dict[str, pd.DataFrame], column: str) -> Chart:
    """One column over epochs."""
    series = {}
    for fold, table in folds.items():
        if column in table:
            epochs = table["epoch"] if "epoch" in table else pd.Series(np.arange(1, len(table) + 1))
            series[fold] = (numeric(epochs), numeric(table[column]))
    colours = {fold: number % COLOURS + 1 for number, fold in enumerate(folds)}  # the same in every chart
    label = column.replace("_", " ").replace("macro f1", "macro-F1").replace("testlike", "test-like")
    return line_chart(series, label=label, colours=colours)


def numeric(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Numbers; what is none becomes NaN."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def tainted_rows(ledger: pd.DataFrame | None) -> bool:
    """Whether something was submitted that hand-made test labels were in."""
    return ledger is not None and "tainted" in ledger and bool((ledger["tainted"] == "yes").any())


def ledger_lines(ledger: pd.DataFrame | None) -> dict[str, Any] | None:
    """The last lines of the ledger as text, the newest first."""
    if ledger is None or ledger.empty:
        return None
    rows = ledger.tail(SHOWN).iloc[::-1].astype(str).to_numpy().tolist()
    return {"columns": [str(name) for name in ledger.columns], "rows": rows}
