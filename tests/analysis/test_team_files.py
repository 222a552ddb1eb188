"""Team-mates' files: what can be known is mended and said, what cannot is refused with a remedy, nothing runs code."""

from __future__ import annotations

import io
import json
import pickle
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from analysis.team_diagnosis import diagnose
from analysis.team_files import read_team, read_team_file
from analysis.team_formats import Competition, TeamOptions, steadily
from analysis.team_matching import match_classes, match_ids, text_order
from storage.errors import DataError
from tests.team_tables import our_parquet

N_CLASSES = 12
TEST_IDS = [f"IMG_{i:03d}.jpg" for i in (7, 3, 1, 0, 9, 4, 2, 8, 6, 5, 11, 10)]
NAMES = ["여권", *[f"paper {i}" for i in range(1, N_CLASSES)]]
VALUES = [str(i) for i in range(N_CLASSES)]
CONTEST = Competition(TEST_IDS, [f"train_{i}.jpg" for i in range(8)], NAMES, VALUES)
LABELS = np.array([3, 0, 11, 5, 5, 2, 10, 1, 7, 4, 6, 9])
SHARES = np.random.default_rng(0).dirichlet(np.ones(N_CLASSES) * 0.3, len(TEST_IDS))
Write = Callable[[Path], Path]


def labels_csv(ids: list[str] = TEST_IDS, labels: Any = LABELS) -> Write:
    return lambda folder: save(folder / "kim.csv", pd.DataFrame({"ID": ids, "target": labels}))


def shares_csv(columns: list[str], shares: Any = SHARES, ids: list[str] = TEST_IDS, **style: Any) -> Write:
    table = pd.DataFrame(shares, columns=columns)
    return lambda folder: save(folder / "kim.csv", pd.concat([pd.Series(ids, name="ID"), table], axis=1), **style)


def save(path: Path, table: pd.DataFrame, **style: Any) -> Path:
    table.to_csv(path, index=False, **style)
    return path


def array(values: Any) -> Write:
    def write(folder: Path) -> Path:
        np.save(folder / "kim.npy", values)
        return folder / "kim.npy"

    return write


def tensors(values: Any, **metadata: str) -> Write:
    def write(folder: Path) -> Path:
        save_file({"probabilities": np.ascontiguousarray(values)}, folder / "kim.safetensors", metadata)
        return folder / "kim.safetensors"

    return write


def parquet(table: pd.DataFrame) -> Write:
    def write(folder: Path) -> Path:
        table.to_parquet(folder / "kim.parquet", index=False)
        return folder / "kim.parquet"

    return write


def content(name: str, data: bytes) -> Write:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


ORDER = np.random.default_rng(5).permutation(N_CLASSES)
MENDED: dict[str, tuple[Write, str]] = {
    "labels": (labels_csv(), ""),
    "rows in another order": (labels_csv(TEST_IDS[::-1], LABELS[::-1]), ""),
    "labels as names": (labels_csv(labels=[NAMES[i] for i in LABELS]), "class names"),
    "labels as 3.0": (labels_csv(labels=LABELS.astype(float)), ""),
    "ids without extension": (labels_csv([i[:-4] for i in TEST_IDS]), "file endings"),
    "ids with folder": (labels_csv([f"test/{i}" for i in TEST_IDS]), "folders"),
    "ids in upper case": (labels_csv([i.lower() for i in TEST_IDS]), "upper case"),
    "probabilities by value": (shares_csv(VALUES), ""),
    "probabilities by name": (shares_csv(NAMES), ""),
    "class_0 ...": (shares_csv([f"class_{i}" for i in range(N_CLASSES)]), ""),
    "permuted columns": (shares_csv([VALUES[i] for i in ORDER], SHARES[:, ORDER]), "another order"),
    "columns sorted as text": (
        shares_csv([f"p{VALUES[i]}" for i in text_order(VALUES)], SHARES[:, text_order(VALUES)]),
        "sorted as text",
    ),
    "decimal commas": (shares_csv(VALUES, sep=";", decimal=","), "decimal commas"),
    "two decimals": (shares_csv(VALUES, float_format="%.2f"), "rounded to 2 decimals"),
    "logarithms": (shares_csv(VALUES, np.log(SHARES)), "log-probabilities"),
    "npy": (array(SHARES.astype(np.float32)), "sample's order"),
    "npy in half precision": (array(SHARES.astype(np.float16)), "sample's order"),
    "npy of labels": (array(LABELS), "sample's order"),
    "safetensors": (tensors(SHARES), "sample's order"),
    "safetensors with names": (
        tensors(SHARES[:, ORDER], class_names=json.dumps([NAMES[i] for i in ORDER])),
        "matched by name",
    ),
    "parquet of shares": (
        parquet(pd.concat([pd.Series(TEST_IDS, name="ID"), pd.DataFrame(SHARES, columns=VALUES)], axis=1)),
        "",
    ),
    "parquet of labels": (parquet(pd.DataFrame({"ID": TEST_IDS, "target": LABELS})), ""),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_can_be_known_is_read_and_said(case: str, tmp_path: Path) -> None:
    write, note = MENDED[case]
    file = read_team_file(write(tmp_path), CONTEST)
    assert file.part == "test"
    assert note in " ".join(file.notes)
    if file.probabilities is None:
        assert file.labels.tolist() == LABELS.tolist()
    else:
        np.testing.assert_allclose(file.probabilities.sum(axis=1), 1)
        np.testing.assert_allclose(file.probabilities, SHARES, atol=0.04 if "decimals" in case else 2e-3)


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("canary"),))


def object_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    return file.getvalue()


def lying_header() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 17)})
    return file.getvalue() + bytes(80)


TRAIN_ROWS = pd.DataFrame({"ID": CONTEST.train_ids, "target": [0] * 8}).to_csv(index=False).encode()
REFUSED: dict[str, tuple[Write, list[str]]] = {
    "pickle": (content("kim.pkl", pickle.dumps(Bomb())), ["refusing a pickle", "safetensors"]),
    "pickle called csv": (content("kim.csv", pickle.dumps(Bomb())), ["refusing a pickle"]),
    "torch": (content("kim.pt", b"PK\3\4"), ["refusing a pickle"]),
    "npz": (content("kim.npz", b"PK\3\4"), ["refusing a pickle"]),
    "npy of objects": (content("kim.npy", object_array()), ["Python objects"]),
    "npy that lies": (content("kim.npy", lying_header()), ["not a readable .npy"]),
    "broken safetensors": (content("kim.safetensors", b"\xff" * 40), ["not a readable safetensors"]),
    "broken parquet": (content("kim.parquet", b"PAR1" + bytes(20)), ["not a readable Parquet"]),
    "a picture": (content("kim.png", b"\x89PNG"), ["not a table"]),
    "empty": (content("kim.csv", b""), ["empty"]),
    "web page": (content("kim.csv", b"<!doctype html><p>login"), ["HTML page"]),
    "zip": (content("kim.csv", b"PK\x03\x04"), ["ZIP archive"]),
    "header only": (content("kim.csv", b"ID,target\n"), ["no rows"]),
    "percent": (shares_csv(VALUES, SHARES * 100), ["percent?", "kind: percent"]),
    "logits": (shares_csv(VALUES, np.log(SHARES) + 9), ["logits", "kind: logits"]),
    "sums": (shares_csv(VALUES, SHARES * 0.61), ["IMG_007.jpg sums to 0.61"]),
    "a missing value": (shares_csv(VALUES, np.where(SHARES.max() == SHARES, np.nan, SHARES)), ["is not a number"]),
    "infinite": (shares_csv(VALUES, np.where(SHARES.max() == SHARES, np.inf, SHARES)), ["infinite"]),
    "unnamed columns": (
        shares_csv([f"c{i}x{i * i}" for i in range(N_CLASSES)]),
        ["cannot tell which column", "class_order"],
    ),
    "too few columns": (shares_csv(VALUES[:5], SHARES[:, :5]), ["12 probabilities"]),
    "no header, labels": (content("kim.csv", f"{TEST_IDS[0]},3\n{TEST_IDS[1]},4\n".encode()), ["no header"]),
    "no header, shares": (shares_csv(VALUES, header=False), ["no header"]),
    "fewer rows": (labels_csv(TEST_IDS[1:], LABELS[1:]), ["11 rows, the sample has 12", "'IMG_007.jpg' is missing"]),
    "an id twice": (labels_csv([TEST_IDS[1], *TEST_IDS[1:]]), ["appears twice", "is missing"]),
    "ids of elsewhere": (labels_csv([f"x{i}" for i in range(12)]), ["is not an id of the test set"]),
    "unknown label": (labels_csv(labels=[99, *LABELS[1:]]), ["line 2: label '99'"]),
    "full-width digit": (labels_csv(labels=["１", *LABELS[1:].astype(str)]), ["full-width digit?"]),
    "npy of another length": (array(SHARES[:5]), ["5 rows; the test set has 12"]),
    "npy of other classes": (array(SHARES[:, :7]), ["7 columns", "12 classes"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_known_is_refused_with_a_remedy(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write, words = REFUSED[case]
    path = write(tmp_path)
    with pytest.raises(DataError) as refusal:
        read_team_file(path, CONTEST)
    for word in [*words, path.name]:
        assert word in str(refusal.value)
    assert not (tmp_path / "canary").exists()


def shares(path: Path, options: TeamOptions) -> Any:
    return read_team_file(path, CONTEST, options).probabilities


def test_percent_and_class_order_are_accepted_when_said(tmp_path: Path) -> None:
    percent = shares_csv(VALUES, SHARES * 100)(tmp_path)
    np.testing.assert_allclose(shares(percent, TeamOptions(kind="percent")), SHARES, atol=1e-6)
    by_text = array(SHARES[:, text_order(VALUES)])(tmp_path)
    np.testing.assert_allclose(shares(by_text, TeamOptions(class_order="text")), SHARES)
    positions = [text_order(VALUES).index(label) for label in LABELS]
    counted = labels_csv(labels=positions)(tmp_path)
    assert read_team_file(counted, CONTEST, TeamOptions(class_order="text")).labels.tolist() == LABELS.tolist()


def test_a_team_folder_pairs_out_of_fold_tables_and_says_equals(tmp_path: Path) -> None:
    labels_csv()(tmp_path)
    save(tmp_path / "kim_copy.csv", pd.DataFrame({"ID": TEST_IDS, "target": LABELS}))
    (tmp_path / "kim.oof.csv").write_bytes(TRAIN_ROWS)
    (tmp_path / "lee.csv").write_bytes(TRAIN_ROWS)
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "README.md").write_text("how we share files")
    team = read_team(tmp_path, CONTEST)
    assert [file.name for file in team.files] == ["kim", "kim_copy"]
    assert team.files[1].notes == ("equal to kim",)
    assert list(team.held) == ["kim"]
    assert "out-of-fold" in team.refused["lee.csv"]
    assert "pickle" in team.refused["old.pkl"]


def test_a_file_that_grows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kim.csv"
    path.write_text("ID,target\n")

    def read() -> Any:
        with path.open("a") as file:
            file.write("more\n")

    with pytest.raises(DataError, match="still changes"):
        steadily(path, read, pause=0.0)


def test_permuted_classes_and_rows_are_diagnosed() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, N_CLASSES, 600)
    labels = np.where(generator.random(600) < 0.05, generator.integers(0, N_CLASSES, 600), truth)
    ids = [f"{i:04d}" for i in generator.permutation(600)]
    as_text = np.argsort(text_order(VALUES))[labels]
    by_name = labels[np.argsort(ids)]
    assert "class_order: text" in str(diagnose(as_text, truth, values=VALUES, ids=ids))
    assert "permuted" in str(diagnose(ORDER[labels], truth, values=VALUES, ids=ids))
    assert "sorted by id" in str(diagnose(by_name, truth, values=VALUES, ids=ids))
    assert diagnose(labels, truth, values=VALUES, ids=ids) is None
    assert diagnose(generator.integers(0, N_CLASSES, 600), truth, values=VALUES, ids=ids) is None


CHANGES: dict[str, Callable[[str], str]] = {
    "": str,
    ".jpg": lambda text: f"{text}.jpg",
    "upper": str.upper,
    "test/": lambda text: f"test/{text}",
}
SAFE = st.text(string.ascii_letters + string.digits + "_-. /가é", min_size=1, max_size=8)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SAFE, min_size=1, max_size=8, unique=True), st.randoms(), st.sampled_from(sorted(CHANGES)))
def test_ids_are_matched_rightly_or_not_at_all(known: list[str], random: Any, change: str) -> None:
    order = list(range(len(known)))
    random.shuffle(order)
    change_id: Callable[[str], str] = CHANGES[change]
    found = match_ids([change_id(known[i]) for i in order], known)
    assert found is None or found.positions.tolist() == order
    assert found is not None or change != ""


@settings(max_examples=300, deadline=None)
@given(st.lists(SAFE, min_size=1, max_size=8, unique=True), st.randoms(), st.sampled_from(["", "class_", "p "]))
def test_columns_are_matched_rightly_or_not_at_all(names: list[str], random: Any, prefix: str) -> None:
    order = list(range(len(names)))
    random.shuffle(order)
    found = match_classes([f"{prefix}{names[i]}" for i in order], names, [str(i) for i in range(len(names))])
    assert found is None or found.tolist() == order
    assert found is not None or prefix != ""


def test_a_table_of_ours_is_read_and_other_folds_are_refused(tmp_path: Path) -> None:
    path = our_parquet(tmp_path, ids=CONTEST.train_ids, class_names=NAMES, folds_hash="folds")
    contest = replace(CONTEST, index_hash="other", folds_hash="folds")
    file = read_team_file(path, contest)
    assert file.part == "train"
    assert file.labels.shape == (8,)
    assert "made with other data" in file.notes[0]
    with pytest.raises(DataError, match="made with folds folds, ours are mine"):
        read_team_file(path, replace(contest, folds_hash="mine"))


def test_the_sidecar_tells_of_taint_and_of_other_bytes(tmp_path: Path) -> None:
    path = labels_csv()(tmp_path)
    (tmp_path / "kim.json").write_text(json.dumps({"tainted": True, "sha256": "0" * 64}))
    notes = " ".join(read_team_file(path, CONTEST).notes)
    assert "tainted" in notes
    assert "other bytes" in notes


def damaged(data: bytes, random: Any) -> bytes:
    """The bytes of a file with a few of them changed, removed, repeated or cut off."""
    result = bytearray(data)
    for _ in range(random.choice([1, 2, 8])):
        place = random.randrange(len(result) + 1)
        change = random.randrange(4)
        if change == 0 and place < len(result):
            result[place] ^= 1 << random.randrange(8)
        elif change == 1:
            del result[place : place + random.randrange(1, 30)]
        elif change == 2:
            result[place:place] = bytes(random.choice(b',;"\n\r\t 0.eE-\x00\xff') for _ in range(3))
        elif random.random() < 0.3:
            del result[place:]
    return bytes(result)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=st.sampled_from(sorted(MENDED)), random=st.randoms())
def test_a_damaged_file_is_read_or_refused_but_never_breaks(case: str, random: Any, tmp_path: Path) -> None:
    path = MENDED[case][0](tmp_path)
    path.write_bytes(damaged(path.read_bytes(), random))
    try:
        file = read_team_file(path, CONTEST)
    except DataError as refusal:
        assert str(path) in str(refusal)
    else:
        assert file.labels.shape == (12 if file.part == "test" else 8,)
        assert ((file.labels >= 0) & (file.labels < N_CLASSES)).all()
