"""Blend the members: fit on out-of-fold tables, score honestly, choose the labels that maximise the expected metric.

Reads the index, the folds and the members' predictions; writes weights.json (the blend itself, for `podium predict`),
oof.parquet (nested: no row chose its own weights), test.parquet, labels.parquet, confusion.csv, methods.csv,
ablation.csv, ablation.svg, metrics.json and the few numbers of it for `dvc metrics show`, summary.json.
Run: dvc repro blend, or python -m stages.blend --index data/index ... (the paths stand in dvc.yaml)
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from analysis import ablation
from analysis.library import Library
from analysis.scoreboard import Result, blend_and_score
from stages.blend_params import BlendParams, options, plan
from stages.entry import entry
from stages.params import run_lists, section
from stages.probabilities import Probabilities, write_probabilities
from stages.stack import Place, Stack, read_stack
from stages.tables import read_folds, read_index
from storage.atomic import replacing, write_json, write_text
from storage.errors import ParamsError

MOST_PLOTTED = 20_000  # rows of confusion.csv; a page with more does not open


def suspicious(library: Library) -> list[str]:
    """Members without one wrong row: they were probably trained on the rows that they are scored on."""
    right = [(table.argmax(axis=1) == library.labels).all() for table in library.log_probabilities]
    found = [name for name, perfect in zip(library.members, right, strict=True) if perfect]
    return [f"{name}: out-of-fold accuracy 1.0000: leak?" for name in found] if len(library.labels) >= 100 else []


def write_results(out: Path, metrics: Path, result: Result, stack: Stack) -> None:
    """Everything that the stage leaves; the metrics last."""
    oof, test = stack.oof_rows, stack.test_rows
    write_json(out / "weights.json", result.weights)
    write_probabilities(out / "oof.parquet", like(oof, result.oof, fold=oof.fold))
    write_probabilities(out / "test.parquet", like(test, result.test, fold=np.full(len(test), -1, dtype=np.int64)))
    write_labels(out / "labels.parquet", test.image_id.tolist(), result.labels)
    write_text(out / "confusion.csv", confusion_csv(oof, stack.library.labels, result.oof.argmax(axis=1)))
    write_text(out / "methods.csv", result.methods_csv)
    write_text(out / "ablation.csv", result.ablation_csv)
    write_text(out / "ablation.svg", result.ablation_svg)
    write_json(out / "summary.json", summary(result.metrics))
    write_json(metrics, {"blend": result.metrics})


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` and `dvc metrics diff` are for."""
    short = {"honest": metrics["score"], "standard_error": metrics["error"]}  # DVC takes a key `error` for a failure
    if test := metrics["board"].get("test"):
        short["expected_on_the_test"] = test["score"]
    short |= {"best_member": metrics["best_member"]["score"], "alone": metrics["alone"]}
    return short | {view: found["score"] for view, found in metrics["views"].items()}


def confusion_csv(oof: Probabilities, truth: np.ndarray, predicted: np.ndarray) -> str:
    """What is taken for what on the held-out rows of the hardest view there is, one row each: for `dvc plots show`."""
    rows = np.flatnonzero(oof.view == ("testlike" if (oof.view == "testlike").any() else "clean"))
    rows = rows[:: 1 + len(rows) // MOST_PLOTTED]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["truth", "predicted"])
    writer.writerows((oof.class_names[truth[row]], oof.class_names[predicted[row]]) for row in rows)
    return text.getvalue()


def like(model: Probabilities, log_probabilities: np.ndarray, *, fold: np.ndarray) -> Probabilities:
    """The rows of `model` with other probabilities."""
    values = np.maximum(log_probabilities, -87.0).astype(np.float32)
    return Probabilities(
        model.image_id, model.view, model.copy, fold, values, model.class_names, model.index_hash, model.folds_hash
    )


def write_labels(path: Path, image_ids: list[str], labels: np.ndarray) -> None:
    """Write the chosen labels, positions in the list of classes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image_id": pa.array(image_ids, pa.string()), "label": pa.array(labels, pa.int64())})
    with replacing(path) as file:
        pq.write_table(table, file)


def main(
    index: Annotated[Path, typer.Option(help="folder of the index")],
    folds: Annotated[Path, typer.Option(help="table of the folds")],
    *,
    predictions: Annotated[Path, typer.Option(help="folder of the members' predictions")],
    out: Annotated[Path, typer.Option(help="folder to write the blend to")],
    metrics: Annotated[Path, typer.Option(help="file to write the scores to")],
    params: Annotated[Path, typer.Option(help="parameters")] = Path("params.yaml"),
) -> None:
    """Blend the members and score the blend honestly."""
    chosen = section("blend", BlendParams, path=params)
    names, numbers = run_lists(params)
    data = read_index(index)
    cut = read_folds(folds, data)
    twice = set(names) & set(chosen.others)
    if twice:
        raise ParamsError(f"{params}: blend.others: {sorted(twice)} are members already; choose other names")
    told = options(chosen, sorted([*names, *chosen.others]), data.classes.names)
    stack = read_stack(Place(predictions, data, cut, out.parent), names, numbers, chosen.others)
    for warning in suspicious(stack.library):
        print(f"warning: {warning}")
    try:
        result = blend_and_score(
            stack.library,
            stack.test,
            views=stack.oof_rows.view,
            plan=plan(chosen, told),
            fold_tests=stack.fold_tests,
            plain=stack.plain,
        )
    except ValueError as error:
        raise ParamsError(f"params.yaml: {error}") from None
    write_results(out, metrics, result, stack)
    print(result.text)
    if chosen.ablation:
        print(f"what made the difference: {out / 'ablation.csv'}, {out / 'ablation.svg'}; {ablation.MORE}")


if __name__ == "__main__":
    entry(main)
