"""Write the submission exactly like the sample, check it, and say what it is worth.

Reads the index and the blend; writes submissions/<name>.csv and its sidecar <name>.json (hash, commit, parameters,
members, the honest score and the one expected on the test, with intervals). `--partial` writes a valid file from
whatever folds exist so far.
Run: dvc repro submit, or python -m stages.submit --index data/index ... (the paths stand in dvc.yaml)
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import Field

from analysis.submission import Checked, checked, label_cells, probability_cells, render
from stages.entry import entry
from stages.params import read_params, run_lists, section
from stages.probabilities import Probabilities, read_probabilities
from stages.tables import Index, check_ids, read_index
from storage.atomic import sha256, write_bytes, write_json
from storage.errors import DataError, IntegrityError
from storage.section import Section


class SubmitParams(Section):
    """The submission's name and numbers."""

    name: str = Field(
        "blend", pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="name of the CSV and its sidecar in submissions/"
    )
    decimals: int = Field(6, ge=2, le=17, description="decimals of probabilities")
    smallest: float = Field(0.0, ge=0, lt=0.1, description="least probability written, e.g. 0.0001 under log-loss")
    max_megabytes: float = Field(0, ge=0, description="size that the contest takes; 0: no limit")
    competition: str = Field("", pattern=r"^([a-z0-9][a-z0-9-]*)?$", description="the contest's name at Kaggle")
    daily_limit: int = Field(5, ge=1, description="submissions a day that the contest takes")


def cells_of(index: Index, table: Probabilities, labels: np.ndarray, chosen: SubmitParams) -> dict[str, list[str]]:
    """The cells of each test image, labels or probabilities."""
    classes, ids = index.classes, table.image_id.tolist()
    if classes.submission.kind == "labels":
        return label_cells(ids, labels, values=classes.values)
    return probability_cells(
        ids,
        table.probabilities(),
        style=classes.submission,
        names=classes.names,
        values=classes.values,
        decimals=chosen.decimals,
        smallest=chosen.smallest,
    )


def read_labels(path: Path, table: Probabilities) -> np.ndarray:
    """The blend's chosen labels in the order of its table."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro blend")
    chosen = pq.read_table(path)
    ids = chosen.column("image_id").to_pylist()
    check_ids(path, ids, table.image_id, complete=True)
    label = dict(zip(ids, chosen.column("label").to_pylist(), strict=True))
    return np.array([label[image_id] for image_id in table.image_id], dtype=np.int64)


def partial_table(
    predictions: Path, index: Index, *, members: list[str], folds: list[int]
) -> tuple[Probabilities, dict[str, list[int]]]:
    """Soft voting over whichever of the listed folds exist: the mean of the members, each the mean of its folds."""
    found: dict[str, list[int]] = {}
    means = []
    example: Probabilities | None = None
    position = {image_id: place for place, image_id in enumerate(index.test["image_id"])}
    for name in members:
        tables = []
        for number in folds:
            path = predictions / name / str(number) / "test.parquet"
            if not path.is_file():
                continue
            part = read_probabilities(path, index)
            check_ids(path, part.image_id, index.test["image_id"], complete=True)
            part = part.take(np.argsort([position[image_id] for image_id in part.image_id]))
            tables.append(part.probabilities())
            found.setdefault(name, []).append(number)
            example = part
        if tables:
            means.append(np.mean(tables, axis=0))
    if example is None:
        raise DataError(f"{predictions} holds no finished fold yet (*/<fold>/test.parquet). Run: dvc repro")
    mean = np.mean(means, axis=0)
    logs = np.log(np.maximum(mean, 1e-38)).astype(np.float32)
    none = np.full(len(example), -1, dtype=np.int64)
    table = Probabilities(
        example.image_id, example.view, example.copy, none, logs, example.class_names, example.index_hash, ""
    )
    return table, found


def git_state(submissions: Path) -> dict[str, Any]:
    """The commit that made the file, and whether the tree has other changes; empty outside a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}
    ours = [
        line for line in changes.stdout.splitlines() if not line[3:].startswith((f"{submissions.name}/", "dvc.lock"))
    ]
    return {"commit": commit.stdout.strip(), "changed": bool(ours)}


def params_hash(path: Path) -> str:
    """A hash of the parameters' values; comments and order of keys don't matter."""
    values = json.dumps(read_params(path).values, sort_keys=True, default=str)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def competition_of(index: Index) -> str:
    """A name for the competition of an index that no correction of labels or sizes changes: ids, columns, classes."""
    form = index.classes.submission
    told = json.dumps([form.columns, form.row_ids, index.classes.names], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def write_submission(folder: Path, chosen: SubmitParams, index: Index, cells: dict[str, list[str]]) -> Checked:
    """Check a draft of the CSV like anybody's file, then write it."""
    style = index.classes.submission
    missing = [row_id for row_id in style.row_ids if row_id not in cells]
    if missing:
        raise IntegrityError(f"The sample has {len(missing):,} ids without a prediction: {', '.join(missing[:5])}")
    content, name = render(style, cells), f"{chosen.name}.csv"
    limit = int(chosen.max_megabytes * 1_000_000)
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / name
        draft.write_bytes(content)
        result = checked(draft, style, values=index.classes.values, max_bytes=limit)
    write_bytes(folder / name, content)
    return result


def write_sidecar(path: Path, index: Index, *, params: Path, content: dict[str, Any]) -> None:
    """Write what the CSV is and where it comes from beside it."""
    head = {
        "file": path.name,
        "sha256": sha256(path),
        "competition": competition_of(index),
        "git": git_state(path.parent),
        "params": params_hash(params) if params.is_file() else None,
    }
    write_json(path.with_suffix(".json"), {**head, **content})


def main(
    index: Annotated[Path, typer.Option(help="folder of the index")],
    blend: Annotated[Path, typer.Option(help="folder of the blend")],
    *,
    submissions: Annotated[Path, typer.Option(help="folder to write the submission to")],
    partial: Annotated[bool, typer.Option(help="from whatever folds exist, without a blend")] = False,
    predictions: Annotated[
        Path | None, typer.Option(help="with --partial: the predictions; default: beside the blend")
    ] = None,
    params: Annotated[Path, typer.Option(help="parameters")] = Path("params.yaml"),
) -> None:
    """Write the submission exactly like the sample, and check it."""
    chosen = section("submit", SubmitParams, path=params)
    data = read_index(index)
    if partial:
        members, folds = run_lists(params)
        table, found = partial_table(predictions or blend.parent / "predictions", data, members=members, folds=folds)
        labels = table.log_probabilities.argmax(axis=1)
        content: dict[str, Any] = {"method": "soft, partial", "members": found, "honest": None}
        chosen = chosen.model_copy(update={"name": f"{chosen.name}-partial"})
    else:
        table = read_probabilities(blend / "test.parquet", data)
        labels = read_labels(blend / "labels.parquet", table)
        weights = json.loads((blend / "weights.json").read_text(encoding="utf-8"))
        content = {
            "method": weights["method"],
            "metric": weights["metric"],
            "members": weights["weights"],
            "honest": weights["nested"],
            "expected": weights["expected"],
        }
    check_ids(blend, data.classes.submission.row_ids, table.image_id.tolist(), complete=True)
    result = write_submission(submissions, chosen, data, cells_of(data, table, labels, chosen))
    path = submissions / f"{chosen.name}.csv"
    write_sidecar(path, data, params=params, content={**content, "tainted": False, "warnings": result.warnings})
    for warning in result.warnings:
        print(f"warning: {warning}")
    source = f" from {sum(map(len, content['members'].values()))} folds" if partial else ""
    print(f"{path}: {len(data.classes.submission.row_ids):,} rows{source}, exactly like the sample")


if __name__ == "__main__":
    entry(main)
