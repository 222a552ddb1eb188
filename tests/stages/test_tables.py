"""The contracts: what is written comes back; tables of other data, folds or classes are refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.probabilities import (
    Probabilities,
    read_member,
    read_probabilities,
    write_probabilities,
)
from stages.tables import (
    Classes,
    Folds,
    Index,
    SubmissionFormat,
    read_augmented,
    read_folds,
    read_index,
    write_augmented,
    write_folds,
    write_index,
)
from storage.errors import DataError, IntegrityError

N_TRAIN, N_TEST, N_CLASSES = 12, 5, 3


def images(prefix: str, count: int) -> pd.DataFrame:
    rows = range(count)
    return pd.DataFrame(
        {
            "image_id": [f"{prefix}{i}.png" for i in rows],
            "shard": "images-00000.tar",
            "offset": [512 * i for i in rows],
            "size": 100,
            "label": [i % N_CLASSES if prefix == "a" else -1 for i in rows],
            "group": "",
            "width": 28,
            "height": 28,
            "sha256": [f"{prefix}{i}" for i in rows],
            "perceptual_hash": "0",
        }
    )


@pytest.fixture
def index(tmp_path: Path) -> Index:
    sample = SubmissionFormat(["ID", "target"], "labels", [f"t{i}.png" for i in range(N_TEST)])
    classes = Classes(["zero", "one", "two"], ["0", "1", "2"], sample)
    write_index(tmp_path / "index", images("a", N_TRAIN), images("t", N_TEST), classes)
    return read_index(tmp_path / "index")


@pytest.fixture
def folds(tmp_path: Path, index: Index) -> Folds:
    ids = index.train["image_id"]
    table = pd.DataFrame({"image_id": ids, "fold": np.arange(N_TRAIN) % 2, "duplicate_group": np.arange(N_TRAIN)})
    write_folds(tmp_path / "folds.parquet", table.sample(frac=1, random_state=0), index)
    return read_folds(tmp_path / "folds.parquet", index)


def predict(ids: list[str], views: list[str], fold: int, index: Index, folds: Folds) -> Probabilities:
    random = np.random.default_rng(fold)
    rows = [(image_id, view) for view in views for image_id in ids]
    values = random.dirichlet(np.ones(N_CLASSES), len(rows))
    return Probabilities(
        np.array([row[0] for row in rows], dtype=object),
        np.array([row[1] for row in rows], dtype=object),
        np.zeros(len(rows), dtype=np.int64),
        np.full(len(rows), fold),
        np.log(values).astype(np.float32),
        index.classes.names,
        index.hash,
        folds.hash,
    )


def write_runs(folder: Path, index: Index, folds: Folds) -> None:
    for fold in (0, 1):
        held_out = folds.table["image_id"][folds.table["fold"] == fold].tolist()[::-1]
        valid = predict(held_out, ["clean", "testlike"], fold, index, folds)
        write_probabilities(folder / str(fold) / "valid.parquet", valid)
        test = predict(index.test["image_id"].tolist()[::-1], ["test"], fold, index, folds)
        write_probabilities(folder / str(fold) / "test.parquet", test)


def test_folds_come_back_in_the_order_of_the_index(index: Index, folds: Folds) -> None:
    assert folds.table["image_id"].tolist() == index.train["image_id"].tolist()
    assert folds.table["fold"].tolist() == [i % 2 for i in range(N_TRAIN)]
    assert folds.numbers == [0, 1]


def test_folds_cut_on_other_data_are_refused(tmp_path: Path, index: Index, folds: Folds) -> None:
    with pytest.raises(IntegrityError, match=r"folds\.parquet was cut on data .*dvc repro split"):
        read_folds(tmp_path / "folds.parquet", replace(index, hash="other"))


@pytest.mark.parametrize("column", ["label", "sha256", "group"])
def test_the_hash_of_the_index_follows_its_content(tmp_path: Path, index: Index, column: str) -> None:
    changed = index.train.copy()
    changed.loc[0, column] = {"label": 2, "sha256": "x", "group": "g"}[column]
    write_index(tmp_path / "other", changed, index.test, index.classes)
    assert read_index(tmp_path / "other").hash != index.hash


def test_a_member_is_one_column_whatever_the_order_of_rows(tmp_path: Path, index: Index, folds: Folds) -> None:
    write_runs(tmp_path / "cnn", index, folds)
    member = read_member(tmp_path / "cnn", [0, 1], index, folds)
    assert member.oof.image_id.tolist() == index.train["image_id"].tolist() * 2
    assert member.oof.view.tolist() == ["clean"] * N_TRAIN + ["testlike"] * N_TRAIN
    assert member.oof.fold.tolist() == [i % 2 for i in range(N_TRAIN)] * 2
    assert member.test.image_id.tolist() == index.test["image_id"].tolist()
    parts = [read_probabilities(tmp_path / "cnn" / str(k) / "test.parquet") for k in (0, 1)]
    mean = (parts[0].probabilities() + parts[1].probabilities())[::-1] / 2
    np.testing.assert_allclose(member.test.probabilities(), mean, rtol=1e-6)


def test_a_held_out_row_that_another_fold_predicted_is_refused(tmp_path: Path, index: Index, folds: Folds) -> None:
    write_runs(tmp_path / "cnn", index, folds)
    leaked = predict(index.train["image_id"].tolist(), ["clean"], 0, index, folds)
    write_probabilities(tmp_path / "cnn" / "0" / "valid.parquet", leaked)
    with pytest.raises(IntegrityError, match=r"unknown ids.*\n.*a1\.png"):
        read_member(tmp_path / "cnn", [0, 1], index, folds)


def test_a_lost_row_is_named(tmp_path: Path, index: Index, folds: Folds) -> None:
    write_runs(tmp_path / "cnn", index, folds)
    path = tmp_path / "cnn" / "1" / "test.parquet"
    write_probabilities(path, read_probabilities(path).take(np.arange(N_TEST - 1)))
    with pytest.raises(IntegrityError, match=r"ids without a row:\n  t0\.png"):
        read_member(tmp_path / "cnn", [0, 1], index, folds)


@pytest.mark.parametrize("field", ["index_hash", "folds_hash"])
def test_predictions_made_on_other_data_are_refused(tmp_path: Path, index: Index, folds: Folds, field: str) -> None:
    part = predict(["a0.png"], ["clean"], 0, index, folds)
    write_probabilities(tmp_path / "p.parquet", replace(part, **{field: "other"}))  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=r"p\.parquet was made (from data|with folds) other"):
        read_probabilities(tmp_path / "p.parquet", index, folds)


def test_rows_that_are_no_distribution_are_never_written(tmp_path: Path, index: Index, folds: Folds) -> None:
    part = predict(["a0.png", "a1.png"], ["clean"], 0, index, folds)
    part.log_probabilities[1, 0] = np.nan
    with pytest.raises(IntegrityError, match=r"a1\.png sums to nan"):
        write_probabilities(tmp_path / "p.parquet", part)
    assert not (tmp_path / "p.parquet").exists()


def copies(index: Index) -> pd.DataFrame:
    train = index.train
    return pd.DataFrame(
        {
            "copy_id": train["image_id"] + "#0",
            "source_id": train["image_id"],
            "partner_id": "",
            "weight": 1.0,
            "fold": np.arange(N_TRAIN) % 2,
            "view": "train",
            "copy": 0,
            "label": train["label"],
            "partner_label": -1,
            "shard": "shard-00000.tar",
            "offset": 0,
            "size": 1,
            "width": 28,
            "height": 28,
            "encoding": "raw",
        }
    )


def test_a_copy_or_partner_from_another_fold_is_refused(tmp_path: Path, index: Index, folds: Folds) -> None:
    table = copies(index)
    write_augmented(tmp_path / "index.parquet", table, index, folds)
    assert len(read_augmented(tmp_path, index, folds)) == N_TRAIN
    table.loc[4, "partner_id"] = "a1.png"  # row 4 lies in fold 0, a1.png in fold 1
    write_augmented(tmp_path / "index.parquet", table, index, folds)
    with pytest.raises(IntegrityError, match=r"another fold:\n  a4\.png#0"):
        read_augmented(tmp_path, index, folds)


def test_a_cut_or_missing_table_says_what_to_run(tmp_path: Path, index: Index) -> None:
    path = index.folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match=r"train\.parquet is not a readable Parquet file"):
        read_index(index.folder)
    with pytest.raises(DataError, match=r"folds\.parquet not found\. Run: dvc repro"):
        read_folds(tmp_path / "nowhere" / "folds.parquet", index)
