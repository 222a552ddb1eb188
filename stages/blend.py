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
from typing import Annotated, Any, Literal

import numpy as np
import typer
from pydantic import Field, model_validator

from analysis.ensemble import Library, Options, Route
from analysis.judge import Plan
from analysis.scoreboard import Result, blend_and_score
from stages.entry import entry
from stages.params import run_lists, section
from stages.probabilities import (
    Member,
    Probabilities,
    canonical_order,
    read_member,
    read_probabilities,
    write_probabilities,
)
from stages.tables import (
    Folds,
    Index,
    read_folds,
    read_index,
)
from storage.atomic import replacing, write_json, write_text
from storage.errors import IntegrityError, ParamsError
from storage.names import nearest
from storage.section import Section

Method = Literal[
    "auto",
    "soft",
    "given",
    "geometric",
    "power",
    "rank",
    "hard",
    "weighted",
    "log_linear",
    "greedy",
    "greedy_bagged",
    "cma_es",
    "stacking",
    "choose",
    "best_member",
]
MOST_PLOTTED = 20_000  # rows of confusion.csv; a page with more does not open


class RouteParams(Section):
    """A pair of confusable classes and the member that decides between them."""

    classes: tuple[str, str] = Field(description="names of the two classes")
    member: str = Field(description="the member whose shares of the two are used where the blend hesitates")


class BlendParams(Section):
    """How the members become one."""

    method: Method = Field(
        "auto",
        description="auto: mean of the weighted linear and the log-linear pool, one temperature, labels by expected "
        "metric; soft: soft voting; given: `weights`; geometric, power, rank: other means; hard: one vote each; "
        "weighted: convex log-loss weights; log_linear: softmax(sum w log p + b); greedy: selection with replacement "
        "by the metric; greedy_bagged: its mean over bags of members and rows; cma_es: weights by evolution (needs "
        "the package cma); stacking: regularised logistic regression; choose: the best of four by nested score; "
        "best_member: no blend",
    )
    metric: Literal["macro_f1", "accuracy", "balanced_accuracy", "log_loss", "qwk"] = Field(
        "macro_f1", description="the contest's metric: labels maximise its expectation, scores are measured by it"
    )
    view: Literal["testlike", "clean", "both"] = Field(
        "testlike", description="the held-out rows that weights are fitted on; clean where there are no test-like ones"
    )
    decision: Literal["expected", "likeliest"] = Field(
        "expected", description="expected: labels that maximise the expected metric; likeliest: the top class"
    )
    calibration: Literal["auto", "none", "before", "after", "both"] = Field(
        "auto", description="one temperature per member before pooling, one after it, or both; auto: as the method asks"
    )
    bias: Literal["auto", "none", "loss", "metric", "priors"] = Field(
        "auto",
        description="bias per class after pooling: loss: by log-loss, held near 0; metric: by the metric (flatters "
        "the rows it was tuned on); auto: as the method asks (loss for auto, else none); priors: as auto, then toward "
        "the class shares estimated on the test set",
    )
    weights: dict[str, float] = Field({}, description="weights of method `given`: {member: weight}")
    limits: dict[str, tuple[float, float]] = Field(
        {}, description="share of each member: {name: [least, most]}; [0, 0] excludes, [0.1, 1] forces, [0, 0.3] caps"
    )
    routes: list[RouteParams] = Field([], description="pairs of classes that a specialist decides")
    others: dict[str, str] = Field(
        {},
        description="blends of blends: {name: folder}, each with oof.parquet and test.parquet from the same "
        "index and folds, for example a team-mate's data/blend; list the folder under blend's deps in dvc.yaml",
    )
    power: float = Field(0.5, gt=0, le=10, description="exponent of the power mean")
    shrink: float = Field(0.2, ge=0, le=10, description="pseudo-rows toward uniform weights, as a share of the rows")
    rounds: int = Field(50, ge=1, le=1000, description="rounds of greedy selection")
    bags: int = Field(20, ge=1, le=1000, description="bags of the bagged greedy selection")
    compare_with: list[Method] = Field(
        ["soft", "weighted", "greedy"], description="methods scored beside the chosen one, each nested"
    )
    ablation: bool = Field(True, description="score the blend without each member, and without each of its steps")
    draws: int = Field(1000, ge=100, le=100_000, description="bootstrap draws behind every error and interval")
    public_share: float = Field(0.5, ge=0, le=1, description="share of the test set on the public board")
    seed: int = Field(0, description="seed of bags and bootstrap")

    @model_validator(mode="after")
    def check_limits(self) -> BlendParams:
        """Limits are shares, weights are not negative."""
        wrong = [name for name, (low, high) in self.limits.items() if not 0 <= low <= high <= 1]
        if wrong:
            raise ValueError(f"limits of {wrong} must be [least, most] with 0 <= least <= most <= 1")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and sum(self.weights.values()) <= 0):
            raise ValueError("weights must be >= 0 and not sum to 0")
        if self.method == "given" and not self.weights:
            raise ValueError("method given needs weights: {member: weight}")
        return self


def options(chosen: BlendParams, members: list[str], class_names: list[str]) -> Options:
    """The methods' options; raises ParamsError where a name in them is no member or class."""
    named = [*chosen.weights, *chosen.limits, *(route.member for route in chosen.routes)]
    unknown = [f"{name!r}{nearest(name, members)}" for name in named if name not in members]
    classes = [name for route in chosen.routes for name in route.classes]
    unknown += [f"{name!r}{nearest(name, class_names)}" for name in classes if name not in class_names]
    if unknown:
        raise ParamsError(f"params.yaml: blend names what does not exist: {', '.join(unknown)}")
    return Options(
        metric=chosen.metric,
        power=chosen.power,
        shrink=chosen.shrink,
        rounds=chosen.rounds,
        bags=chosen.bags,
        calibration=chosen.calibration,
        bias="auto" if chosen.bias == "priors" else chosen.bias,
        limits=chosen.limits,
        weights=chosen.weights,
        routes=tuple(
            Route(
                (class_names.index(route.classes[0]), class_names.index(route.classes[1])), members.index(route.member)
            )
            for route in chosen.routes
        ),
        seed=chosen.seed,
    )


def plan(chosen: BlendParams, told: Options) -> Plan:
    """The parameters as the analysis takes them."""
    return Plan(
        method=chosen.method,
        options=told,
        fit_view=chosen.view,
        decision=chosen.decision,
        to_test_priors=chosen.bias == "priors",
        compare_with=chosen.compare_with,
        with_ablation=chosen.ablation,
        draws=chosen.draws,
        public_share=chosen.public_share,
    )


def read_other(name: str, folder: Path, like_this: Member, index: Index, folds: Folds) -> Member:
    """A blend, ours or a team-mate's, as a member; refused where its rows are not the members' rows."""
    train_ids, test_ids = index.train["image_id"].tolist(), index.test["image_id"].tolist()
    oof = canonical_order(read_probabilities(folder / "oof.parquet", index, folds), train_ids)
    test = canonical_order(read_probabilities(folder / "test.parquet", index, folds), test_ids)
    for path, own, theirs in (("oof", like_this.oof, oof), ("test", like_this.test, test)):
        same = len(own) == len(theirs) and all(
            (getattr(own, key) == getattr(theirs, key)).all() for key in ("image_id", "view", "copy")
        )
        if not same:
            raise IntegrityError(f"{folder / path}.parquet has other rows (image, view, copy) than {like_this.name}")
    return Member(name, oof, test, like_this.folds)


def suspicious(library: Library) -> list[str]:
    """Members without one wrong row: they were probably trained on the rows that they are scored on."""
    right = [(table.argmax(axis=1) == library.labels).all() for table in library.log_probabilities]
    found = [name for name, perfect in zip(library.members, right, strict=True) if perfect]
    return [f"{name}: out-of-fold accuracy 1.0000: leak?" for name in found] if len(library.labels) >= 100 else []


def library_of(members: list[Member], index: Index, folds: Folds) -> Library:
    """The members' out-of-fold tables, stacked; a group is what the folds kept together."""
    oof = members[0].oof
    label = dict(zip(index.train["image_id"], index.train["label"], strict=True))
    group = dict(zip(folds.table["image_id"], folds.table["duplicate_group"], strict=True))
    return Library(
        tuple(member.name for member in members),
        np.stack([member.oof.log_probabilities for member in members]),
        np.array([label[image_id] for image_id in oof.image_id], dtype=np.int64),
        np.array([group[image_id] for image_id in oof.image_id], dtype=np.int64),
        oof.fold,
    )


def fold_tests(predictions: Path, members: list[Member], index: Index) -> list[np.ndarray]:
    """The members' test tables of each fold, (n_members, n_test, n_classes), rows as in `Member.test`."""
    place = {image_id: position for position, image_id in enumerate(index.test["image_id"])}

    def table(member: Member, number: int) -> np.ndarray:
        path = predictions / member.name / str(number) / "test.parquet"
        if not path.is_file():  # a blend has no folds of its own
            return member.test.log_probabilities
        part = read_probabilities(path)
        return part.log_probabilities[np.argsort([place[image_id] for image_id in part.image_id])]

    return [np.stack([table(member, number) for member in members]) for number in members[0].folds]


def write_results(out: Path, metrics: Path, result: Result, members: list[Member], *, truth: np.ndarray) -> None:
    """Everything that the stage leaves; the metrics last. `truth` (n_rows,) are the classes of the held-out rows."""
    oof, test = members[0].oof, members[0].test
    write_json(out / "weights.json", result.weights)
    write_probabilities(out / "oof.parquet", like(oof, result.oof, fold=oof.fold))
    write_probabilities(out / "test.parquet", like(test, result.test, fold=np.full(len(test), -1, dtype=np.int64)))
    write_labels(out / "labels.parquet", test.image_id.tolist(), result.labels)
    write_text(out / "confusion.csv", confusion_csv(oof, truth, result.oof.argmax(axis=1)))
    write_text(out / "methods.csv", result.methods_csv)
    write_text(out / "ablation.csv", result.ablation_csv)
    write_text(out / "ablation.svg", result.ablation_svg)
    write_json(out / "summary.json", summary(result.metrics))
    write_json(metrics, {"blend": result.metrics})


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` and `dvc metrics diff` are for."""
    best = metrics["best_member"]
    short = {"honest": metrics["score"], "standard_error": metrics["error"]}  # DVC takes a key `error` for a failure
    short |= {"best_member": best["score"], "which": best["name"]}
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
    members = [read_member(predictions / name, numbers, data, cut) for name in names]
    others = [read_other(name, Path(folder), members[0], data, cut) for name, folder in chosen.others.items()]
    members = sorted(members + others, key=lambda member: member.name)  # their order carries no meaning
    library = library_of(members, data, cut)
    for warning in suspicious(library):
        print(f"warning: {warning}")
    try:
        result = blend_and_score(
            library,
            np.stack([member.test.log_probabilities for member in members]),
            views=members[0].oof.view,
            plan=plan(chosen, told),
            fold_tests=fold_tests(predictions, members, data),
        )
    except ValueError as error:
        raise ParamsError(f"params.yaml: {error}") from None
    write_results(out, metrics, result, members, truth=library.labels)
    print(result.text)


if __name__ == "__main__":
    entry(main)
