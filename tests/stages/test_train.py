"""The stage on real digits: what it trains on, what it leaves, how it refuses, and that it goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.schema import ModelParams
from models.weights import load_member
from stages.model_params import member_params
from stages.probabilities import (
    Probabilities,
    read_member,
    read_probabilities,
    write_probabilities,
)
from stages.rows import build_material, pictures, roles
from stages.tables import (
    Folds,
    Index,
    read_augmented,
    read_folds,
    read_index,
    write_augmented,
)
from stages.train import duration, main, online_copies
from storage.errors import DataError, IntegrityError, ParamsError, ResourceError
from tests.small_index import digits
from tests.small_training import PARAMS, TEST, N, lay_out


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("contest"))


def tables(folder: Path) -> tuple[Index, Folds]:
    index = read_index(folder / "data/index")
    return index, read_folds(folder / "data/folds/folds.parquet", index)


def options(folder: Path, model: str, fold: int) -> dict[str, Any]:
    return {
        "index": folder / "data/index",
        "folds": folder / "data/folds/folds.parquet",
        "augmented": folder / "data/augmented",
        "run": folder / f"data/runs/{model}/{fold}",
        "predictions": folder / f"data/predictions/{model}/{fold}",
        "params": folder / "params.yaml",
    }


def train(folder: Path, model: str, fold: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    main(model, fold, **options(folder, model, fold))
    return folder / f"data/runs/{model}/{fold}"


def test_three_folds_make_a_member_that_the_blend_can_read(contest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [train(contest, "cnn", fold, monkeypatch) for fold in range(3)]
    index, folds = tables(contest)
    member = read_member(contest / "data/predictions/cnn", [0, 1, 2], index, folds)
    assert len(member.oof) == 2 * N
    assert len(member.test) == TEST
    expected = {
        "model.json", "model.safetensors", "metrics.json", "curves.csv", "per_class.csv", "confusion.csv",
        "confused_pairs.csv", "worst.csv", "confused_pairs.png", "confusion.png", "curves.png",
        "roc_pr.png", "worst.png",
    }  # fmt: skip
    assert {path.name for path in runs[0].iterdir()} == expected
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    assert set(metrics) >= {"clean", "testlike", "epochs"}
    assert pd.read_csv(runs[0] / "confusion.csv").iloc[:, 1:].to_numpy().sum() == N // 3
    assert load_member(runs[0]).class_names == [str(i) for i in range(10)]


def test_nothing_of_the_held_out_fold_is_trained_on(contest: Path) -> None:
    index, folds = tables(contest)
    augmented = pd.read_parquet(contest / "data/augmented/index.parquet")
    for rows, expected in (("both", 120), ("augmented", 80), ("clean", 40)):
        params = ModelParams(backbone="simple_cnn", rows=rows)
        table = pd.concat(pictures(index, folds, [augmented]), ignore_index=True)
        split = roles(table, 1, params)
        held = set(folds.table["image_id"][folds.table["fold"] == 1])
        trained = table[split["train"]]
        assert len(trained) == expected
        assert not held & (set(trained["source"]) | set(trained["partner_id"].dropna()))
        assert set(table[split["valid"]]["source"]) == held
        assert split["test"].sum() == TEST
    first = ModelParams(backbone="simple_cnn", copies=1, rows="augmented")
    assert roles(table, 1, first)["train"].sum() == 40


def test_a_second_run_gives_the_same_tables_to_the_byte(contest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(contest, "two", 0, monkeypatch)
    paths = [run / "model.safetensors", run / "model-1.safetensors", contest / "data/predictions/two/0/test.parquet"]
    first = [path.read_bytes() for path in paths]
    assert first[0] != first[1]  # two seeds, two networks
    for folder in (contest / ".podium/checkpoints").glob("two-*"):
        for path in folder.rglob("*.safetensors"):
            path.unlink()
    train(contest, "two", 0, monkeypatch)
    assert [path.read_bytes() for path in paths] == first


def test_sigterm_ends_with_143_and_a_budget_later_gives_valid_tables(
    contest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [part for name, value in options(contest, "long", 0).items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "stages.train", "long", "0", *given]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, cwd=contest, env=environment, stderr=subprocess.PIPE, text=True)
    folder = contest / ".podium/checkpoints/long-0-0"
    deadline = time.monotonic() + 120
    while not list(folder.glob("*/step-*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    monkeypatch.chdir(contest)
    with pytest.raises(ResourceError, match=rf"training of long fold 0 is still running as pid {process.pid}"):
        main("long", 0, **options(contest, "long", 0))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the next run continues there" in said
    main("long", 0, **options(contest, "long", 0), time_budget="0.001s")
    index, folds = tables(contest)
    assert len(read_probabilities(contest / "data/predictions/long/0/test.parquet", index, folds)) == TEST
    metrics = json.loads((contest / "data/runs/long/0/metrics.json").read_text())
    assert metrics["stopped"].startswith("time budget, after step")


def test_fresh_copies_while_training_change_the_clean_sources_alone(contest: Path, tmp_path: Path) -> None:
    index, folds = tables(contest)
    params = ModelParams(backbone="simple_cnn", online="copies", size=28)
    material, _ = build_material(0, index=index, folds=folds, augmented=contest / "data/augmented", params=params)
    (tmp_path / "recipe.json").write_text('{"strength": "fitted", "operations": {"rotate": {"degrees": [20, 40]}}}')
    change = online_copies(params, material, index=index, augmented=tmp_path)
    assert change
    numbers = np.array([0, 0, 0, int(material.train.picture[-1])])
    assert [material.pictures.place(number).store for number in numbers] == ["index"] * 3 + ["augmented"]
    images = np.stack([np.asarray(digits(1)[0][0])] * 4)
    changed = change(images, numbers, [1, 1, 2, 3])
    assert (changed[0] == changed[1]).all()
    assert (changed[0] != changed[2]).any() and (changed[0] != images[0]).any()
    assert (changed[3] == images[3]).all()
    name = index.classes.names[index.train["label"][0]]
    weak = {"operations": {"rotate": {}}, "classes": {name: {"strength": 0}}}
    (tmp_path / "recipe.json").write_text(json.dumps(weak))
    change = online_copies(params, material, index=index, augmented=tmp_path)
    assert change
    assert (change(images, numbers, [1, 1, 2, 3]) == images).all()  # this class was to be left as it is
    none = params.model_copy(update={"online": "none"})
    assert online_copies(none, material, index=index, augmented=tmp_path) is None


def test_pseudo_labels_come_from_the_same_fold_alone(contest: Path, tmp_path: Path) -> None:
    index, folds = tables(contest)
    chances = np.full((TEST, 10), 0.01)
    chances[np.arange(TEST), np.arange(TEST) % 10] = 0.91
    ids = index.test["image_id"].to_numpy(object)
    shared = (np.log(chances).astype(np.float32), index.classes.names, index.hash, folds.hash)
    for folder, fold in ((0, 0), (1, 2)):
        numbers = np.full(TEST, fold)
        table = Probabilities(ids, np.full(TEST, "test", object), np.zeros(TEST, np.int64), numbers, *shared)
        write_probabilities(tmp_path / f"{folder}/test.parquet", table)

    def build(fold: int, threshold: float) -> Any:
        given = {"pseudo_labels": str(tmp_path), "pseudo_threshold": threshold}
        params = ModelParams(backbone="simple_cnn", rows="clean", **given)
        return build_material(fold, index=index, folds=folds, augmented=contest / "data/augmented", params=params)[0]

    sure, unsure = build(0, 0.9), build(0, 0.95)
    assert (len(sure.train), len(unsure.train)) == (40 + TEST, 40)
    assert sure.train.picture[40:].tolist() == sure.test.tolist()
    assert sure.train.label[40:].tolist() == [i % 10 for i in range(TEST)]
    with pytest.raises(IntegrityError, match=r"was predicted by folds \[2\]; models that saw fold 1 may not"):
        build(1, 0.9)
    with pytest.raises(DataError, match=r"2/test\.parquet not found"):
        build(2, 0.9)


@pytest.mark.slow
def test_two_processes_train_one_network_and_write_it_once(contest: Path) -> None:
    text = PARAMS + "  pair: {backbone: simple_cnn, devices: 2, accelerator: cpu, batch: 8, figures: false}\n"
    (contest / "pair.yaml").write_text(text)
    given = {**options(contest, "pair", 0), "params": contest / "pair.yaml"}
    command = [sys.executable, "-m", "stages.train", "pair", "0"]
    command += [part for name, value in given.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=contest, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2 of 2") == 1
    index, folds = tables(contest)
    assert len(read_probabilities(contest / "data/predictions/pair/0/test.parquet", index, folds)) == TEST


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("9h", 32400)])
def test_a_time_budget_reads_as_people_write_it(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    for wrong in (f"-{text}", f"{text}x", "", "nan", "s"):
        with pytest.raises(ParamsError, match="expected a time such as 90s"):
            duration(wrong)


def test_wrong_names_and_folds_are_refused_before_anything_is_read(contest: Path) -> None:
    with pytest.raises(ParamsError, match=r"models\.cn is missing; did you mean cnn"):
        member_params("cn", contest / "params.yaml")
    with pytest.raises(ParamsError, match="fold 7 does not exist"):
        main("cnn", 7, **options(contest, "cnn", 7))


def test_a_parameter_that_does_not_exist_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train:\n  epoch: 3\nmodels:\n  a: {backbone: simple_cnn, lr: -1}\n")
    with pytest.raises(ParamsError, match=r"params.yaml:2: train\.epoch: unknown; did you mean epochs"):
        member_params("a", tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("models:\n  a: {backbone: simple_cnn, lr: -1}\n")
    with pytest.raises(ParamsError, match=r"params.yaml:2: models\.a\.lr"):
        member_params("a", tmp_path / "params.yaml")


def test_a_fold_without_rows_is_refused(contest: Path, tmp_path: Path) -> None:
    index, folds = tables(contest)
    empty = read_augmented(contest / "data/augmented", index, folds).iloc[:0]
    write_augmented(tmp_path / "index.parquet", empty, index, folds)
    params = ModelParams(backbone="simple_cnn", rows="augmented")
    with pytest.raises(DataError, match="0 rows to train on"):
        build_material(0, index=index, folds=folds, augmented=tmp_path, params=params)
