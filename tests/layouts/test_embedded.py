"""The embedded competition looks like any other on disk, and its answers lie elsewhere."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from layouts.embedded import SCARCE, lay_out_digits


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    lay_out_digits(folder / "raw", folder / "answers.csv")
    return folder


def test_it_has_the_form_of_a_contest(digits: Path) -> None:
    train, sample = rows(digits / "raw/train.csv"), rows(digits / "raw/sample_submission.csv")
    answers = rows(digits / "answers.csv")
    assert (len(train), len(sample), len(answers)) == (1570, 3140, 3140)
    assert {row["ID"] for row in train} == {path.name for path in (digits / "raw/train").iterdir()}
    assert {row["ID"] for row in sample} == {path.name for path in (digits / "raw/test").iterdir()}
    assert [row["ID"] for row in sample] == [row["ID"] for row in answers]
    assert not {row["ID"] for row in train} & {row["ID"] for row in sample}
    assert len(rows(digits / "raw/meta.csv")) == 10


def test_three_classes_are_scarce_and_the_board_is_cut_in_halves(digits: Path) -> None:
    counts = Counter(int(row["target"]) for row in rows(digits / "raw/train.csv"))
    assert {c: counts[c] for c in SCARCE} == SCARCE
    assert min(count for c, count in counts.items() if c not in SCARCE) >= 195
    assert Counter(row["half"] for row in rows(digits / "answers.csv")) == {"public": 1570, "private": 1570}


def test_training_images_are_clean_and_test_images_noisy(digits: Path) -> None:
    def colours(folder: str) -> list[int]:
        paths = sorted((digits / "raw" / folder).iterdir())[:50]
        return [len(Image.open(path).convert("RGB").getcolors(784) or []) for path in paths]

    assert max(colours("train")) < min(colours("test"))


def test_it_is_the_same_every_time(digits: Path, tmp_path: Path) -> None:
    lay_out_digits(tmp_path / "raw", tmp_path / "answers.csv")
    for path in sorted((digits / "raw").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "raw" / path.relative_to(digits / "raw")).read_bytes(), path.name
