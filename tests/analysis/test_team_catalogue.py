"""The catalogue of team-mates' files, row by row: what each does, with the file and the remedy in the message.

T01 as any CSV. T02 labels where probabilities are needed. T03 T04 columns. T06 percent. T07 ids. T09 out of fold.
T10 equal files. T12 decimal commas. T13 rounding. T14 pickles. T15 other folds. T16 growing. T17 huge.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from analysis import team_formats
from analysis.label_table import read_label_table
from analysis.sources import Held
from analysis.team_files import TeamFile, read_team, read_team_file
from analysis.team_formats import Competition
from analysis.voting_cast import cast_soft
from stages.compare import held_of
from storage.errors import DataError
from tests.team_tables import our_parquet

N_ROWS, N_CLASSES = 40, 17
IDS = [f"IMG_{row:04d}.jpg" for row in range(N_ROWS)]
NAMES = ["여권", "주민등록증", *[f"paper {label}" for label in range(2, N_CLASSES)]]
VALUES = [str(label) for label in range(N_CLASSES)]
CONTEST = Competition(IDS, [f"t{row}.jpg" for row in range(30)], NAMES, VALUES, folds_hash="ours")
SHARES = np.random.default_rng(0).dirichlet(np.ones(N_CLASSES) * 0.3, N_ROWS)
LABELS = SHARES.argmax(axis=1)


def written(folder: Path, columns: list[str], shares: Any = SHARES, ids: list[str] = IDS, **style: Any) -> Path:
    path = folder / "kim.csv"
    table = pd.concat([pd.Series(ids, name="ID"), pd.DataFrame(shares, columns=columns)], axis=1)
    table.to_csv(path, index=False, **style)
    return path


def labelled(path: Path, ids: list[str] = IDS, labels: Any = LABELS) -> Path:
    pd.DataFrame({"ID": ids, "target": labels}).to_csv(path, index=False)
    return path


def refusal(path: Path, contest: Competition = CONTEST) -> str:
    with pytest.raises(DataError) as caught:
        read_team_file(path, contest)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ID,target\nIMG_0000.jpg\n", "line 2"),
        ('ID,target\n"IMG_0000.jpg,1\n', "line 2"),
        ("ID,ID\nIMG_0000.jpg,1\n", "ID"),
        ("<html>please log in</html>", "HTML page"),
        ("version https://git-lfs.github.com/spec/v1\n", "LFS"),
    ],
)
def test_t01_what_is_wrong_with_any_csv_is_wrong_with_theirs(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "kim.csv"
    path.write_text(content)
    assert words in refusal(path)


def test_t02_labels_enter_a_mean_of_probabilities_smoothed_and_capped(tmp_path: Path) -> None:
    files = [
        read_team_file(labelled(tmp_path / "lee.csv"), CONTEST),
        TeamFile("kim", tmp_path, "test", LABELS, SHARES, ()),
        TeamFile("park", tmp_path, "test", np.roll(LABELS, 1), np.roll(SHARES, 1, axis=0), ()),
    ]
    cast = cast_soft(files, N_CLASSES, scores=[0.99, 0.5, 0.5], smooth=0.1)
    assert cast.weights[0] <= 1 / 3 + 1e-9
    assert cast.shares.min() > 0
    np.testing.assert_allclose(cast.shares.sum(axis=1), 1)


ORDER = np.random.default_rng(5).permutation(N_CLASSES)


@pytest.mark.parametrize(
    ("columns", "shares"),
    [
        ([f"class_{label}" for label in range(N_CLASSES)], SHARES),
        (NAMES, SHARES),
        ([NAMES[label] for label in ORDER], SHARES[:, ORDER]),
        ([f"p_{label}" for label in ORDER], SHARES[:, ORDER]),
    ],
)
def test_t03_columns_are_matched_by_name(columns: list[str], shares: Any, tmp_path: Path) -> None:
    found = read_team_file(written(tmp_path, columns, shares), CONTEST)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, SHARES, atol=1e-9)


def test_t03_else_it_is_said_which_class_was_looked_for(tmp_path: Path) -> None:
    said = refusal(written(tmp_path, [f"x{label}y{label**2}" for label in range(N_CLASSES)]))
    assert "cannot tell which column is class '0'" in said
    assert "class_order" in said


def test_t04_no_header_is_refused(tmp_path: Path) -> None:
    assert "no header" in refusal(written(tmp_path, VALUES, header=False))


def test_t06_percent_is_asked_for(tmp_path: Path) -> None:
    said = refusal(written(tmp_path, VALUES, 100 * SHARES))
    assert "percent? Set kind: percent" in said


IDS_OF: dict[str, Callable[[str], str]] = {
    "file endings": lambda name: name[:-4],
    "folders": lambda name: f"./test/{name}",
    "upper case": str.lower,
}


@pytest.mark.parametrize("dropped", IDS_OF)
def test_t07_ids_are_matched_and_it_is_said_how_many(dropped: str, tmp_path: Path) -> None:
    ids = [IDS_OF[dropped](name) for name in IDS]
    found = read_team_file(written(tmp_path, VALUES, ids=ids), CONTEST)
    assert dropped in found.notes[0]
    assert f"{N_ROWS} of {N_ROWS}" in found.notes[0]


def test_t09_out_of_fold_rows_that_were_trained_on_are_left_aside(tmp_path: Path) -> None:
    truth = np.arange(30) % N_CLASSES
    index: Any = type("Index", (), {"train": pd.DataFrame({"image_id": CONTEST.train_ids, "label": truth})})
    held = Held(np.array(CONTEST.train_ids, dtype=object), truth, "clean")
    leaked = TeamFile("kim", tmp_path, "train", truth, None, ())
    labels, shares, notes = held_of(leaked, held, index)
    assert labels is None
    assert shares is None
    assert "1.0000" in notes[0]
    honest = replace(leaked, labels=np.roll(truth, 1))
    assert held_of(honest, held, index)[0] is not None
    assert held_of(None, held, index) == (None, None, ())


def test_t10_a_file_given_twice_is_said_in_a_folder_and_on_the_command_line(tmp_path: Path) -> None:
    paths = [labelled(tmp_path / "kim_v2.csv"), labelled(tmp_path / "kim_v3.csv")]
    assert read_team(tmp_path, CONTEST).files[1].notes == ("equal to kim_v2",)
    assert read_label_table(paths, CONTEST).files[1].notes == ("equal to kim_v2",)


def test_t12_decimal_commas_are_read(tmp_path: Path) -> None:
    found = read_team_file(written(tmp_path, VALUES, sep=";", decimal=","), CONTEST)
    assert "decimal commas" in " ".join(found.notes)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, SHARES, atol=1e-9)


@pytest.mark.parametrize("case", ["float16", "2 decimals"])
def test_t13_rounding_is_made_good(case: str, tmp_path: Path) -> None:
    if case == "float16":
        path = tmp_path / "kim.npy"
        np.save(path, SHARES.astype(np.float16))
    else:
        path = written(tmp_path, VALUES, float_format="%.2f")
    found = read_team_file(path, CONTEST)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert case == "float16" or "2 decimals" in " ".join(found.notes)


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("canary"),))


@pytest.mark.parametrize("name", ["kim.pkl", "kim.joblib", "kim.npy", "kim.pt", "kim.csv"])
def test_t14_a_pickle_is_refused_under_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if name == "kim.npy":
        np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    said = refusal(path)
    assert "pickle" in said
    assert "safetensors" in said
    assert not (tmp_path / "canary").exists()


def test_t15_tables_of_other_folds_and_files_of_other_bytes(tmp_path: Path) -> None:
    path = our_parquet(tmp_path, ids=CONTEST.train_ids, class_names=NAMES, folds_hash="theirs")
    assert "made with folds theirs, ours are ours" in refusal(path)
    other = labelled(tmp_path / "lee.csv")
    (tmp_path / "lee.json").write_text(json.dumps({"sha256": "0" * 64}))
    assert "other bytes" in " ".join(read_team_file(other, CONTEST).notes)


def test_t16_a_file_that_grows_is_read_again_and_then_refused(tmp_path: Path) -> None:
    path = labelled(tmp_path / "kim.csv")
    reads: list[int] = []

    def read() -> Any:
        reads.append(1)
        if len(reads) < 3:
            with path.open("a") as file:
                file.write("IMG_9.jpg,1\n")

    team_formats.steadily(path, read, pause=0.0)
    assert len(reads) == 3, "it settled, and was read once more"
    reads.clear()

    def grow() -> Any:
        reads.append(1)
        with path.open("a") as file:
            file.write("IMG_9.jpg,1\n")

    with pytest.raises(DataError, match="still changes"):
        team_formats.steadily(path, grow, pause=0.0)
    assert len(reads) == 3


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy", "safetensors"])
def test_t17_a_million_rows_are_refused_before_they_are_read(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was read as a whole")

    monkeypatch.setattr(team_formats, "read_csv", never)
    monkeypatch.setattr(team_formats, "their_table", never)
    monkeypatch.setattr(team_formats, "from_array", never)
    path = tmp_path / f"kim.{ending}"
    n_rows = 1_000_000
    if ending == "csv":
        path.write_text("ID,target\n" + "IMG_0000000.jpg,1\n" * n_rows)
    elif ending == "parquet":
        pd.DataFrame({"ID": "a", "target": np.zeros(n_rows, np.int64)}).to_parquet(path, index=False)
    elif ending == "npy":
        np.save(path, np.zeros((n_rows, N_CLASSES), np.float16))
    else:
        save_file({"probabilities": np.zeros((n_rows, N_CLASSES), np.float16)}, path)
    said = refusal(path)
    assert "the test set has 40, the training set 30" in said
