"""The submission: byte for byte in the sample's style; everything the contest would refuse is refused here, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.submission import Checked, checked, column_order, label_cells, probability_cells, render
from stages.tables import SubmissionFormat
from storage.errors import DataError

IDS = [f"{number}.jpg" for number in range(30)]
VALUES = ["0", "1", "2"]
LABELS = SubmissionFormat(["ID", "target"], "labels", IDS)
SHARES = SubmissionFormat(["ID", "0", "1", "2"], "probabilities", IDS)


def lines(style: SubmissionFormat = LABELS) -> list[str]:
    """A valid file."""
    cells = [f"{place % 3}" if style.kind == "labels" else "0.2,0.3,0.5" for place in range(30)]
    return [",".join(style.columns), *(f"{row_id},{cell}" for row_id, cell in zip(IDS, cells, strict=True))]


def check(tmp_path: Path, text: str | bytes, style: SubmissionFormat = LABELS, **settings: Any) -> Checked:
    path = tmp_path / "mine.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return checked(path, style, values=VALUES, **settings)


def edited(place: int, line: str | None, style: SubmissionFormat = LABELS) -> str:
    """A valid file with one line replaced, or left out."""
    rows = lines(style)
    rows[place : place + 1] = [] if line is None else [line]
    return "\n".join(rows) + "\n"


REFUSED = [
    ("C01 empty", "", LABELS, "is empty"),
    ("C02 extra column", edited(0, "ID,target,prob").replace(".jpg,", ".jpg,0,"), LABELS, "sample has ID,target"),
    ("C02 order", edited(0, "target,ID"), LABELS, "columns target,ID; sample has ID,target"),
    ("C03 fewer", edited(5, None), LABELS, "29 rows, sample has 30; missing: 4.jpg"),
    ("C03 more", edited(5, "4.jpg,1\nextra.jpg,1"), LABELS, "1 ids that the sample does not have: extra.jpg"),
    ("C05 twice", edited(5, "3.jpg,1"), LABELS, "1 ids twice: 3.jpg"),
    ("C07 empty", edited(3, "2.jpg,"), LABELS, "1 rows without value: line 4, 2.jpg"),
    ("C07 nan", edited(3, "2.jpg,nan"), LABELS, "1 rows without value: line 4, 2.jpg"),
    ("C07 inf", edited(3, "2.jpg,inf,0,0", SHARES), SHARES, "1 rows without value: line 4, 2.jpg"),
    ("unknown label", edited(3, "2.jpg,7"), LABELS, "1 labels that no class has"),
    ("label as float", edited(3, "2.jpg,1.0"), LABELS, "line 4, 2.jpg: '1.0'"),
    ("C09 sum", edited(3, "2.jpg,0.2,0.2,0.21", SHARES), SHARES, "line 4, 2.jpg sums to 0.61"),
    ("C09 negative", edited(3, "2.jpg,-0.2,0.7,0.5", SHARES), SHARES, "values from -0.2"),
    ("C09 percent", edited(3, "2.jpg,20,30,50", SHARES), SHARES, "percent?"),
    ("C09 text", edited(3, "2.jpg,a,0.5,0.5", SHARES), SHARES, "could not convert"),
]


@pytest.mark.parametrize(
    ("text", "style", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_the_contest_would_refuse_is_refused(
    tmp_path: Path, text: str, style: SubmissionFormat, message: str
) -> None:
    with pytest.raises(DataError) as refused:
        check(tmp_path, text, style)
    assert message in str(refused.value)
    assert "mine.csv" in str(refused.value)


def test_a_missing_file_and_one_over_the_limit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        checked(tmp_path / "none.csv", LABELS, values=VALUES)
    with pytest.raises(DataError, match="the contest takes 100"):
        check(tmp_path, edited(0, "ID,target"), max_bytes=100)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    rows = lines()
    rows[3], rows[5] = "2.jpg,", "2.jpg,1"
    with pytest.raises(DataError) as refused:
        check(tmp_path, "\n".join(rows))
    for part in ("missing: 4.jpg", "1 ids twice", "1 rows without value"):
        assert part in str(refused.value)


def test_another_order_is_mended_and_said(tmp_path: Path) -> None:
    rows = lines()
    result = check(tmp_path, "\n".join([rows[0], *rows[:0:-1]]) + "\n")
    assert list(result.cells) == IDS
    assert any("another order" in warning for warning in result.warnings)
    assert check(tmp_path, "\n".join(rows) + "\n").warnings == []


def test_one_class_everywhere_is_suspicious(tmp_path: Path) -> None:
    result = check(tmp_path, "ID,target\n" + "".join(f"{row_id},2\n" for row_id in IDS))
    assert result.warnings == ["100% of rows are class 2: preprocessing or label order?"]


STYLES: list[dict[str, Any]] = [
    {},
    {"newline": "\r\n"},
    {"bom": True},
    {"quote": "all"},
    {"final_newline": False},
    {"delimiter": ";"},
    {"delimiter": "\t", "newline": "\r\n", "bom": True, "quote": "all", "final_newline": False},
]


@pytest.mark.parametrize("change", STYLES, ids=str)
@pytest.mark.parametrize("base", [LABELS, SHARES], ids=["labels", "probabilities"])
def test_the_bytes_are_in_the_samples_style(tmp_path: Path, change: dict[str, Any], base: SubmissionFormat) -> None:
    ids = ["a,b;.jpg", 'quote".jpg', "한글.jpg", *IDS[3:]]
    style = SubmissionFormat(**{**base.__dict__, "row_ids": ids, **change})
    if style.kind == "labels":
        cells = label_cells(ids, np.arange(30) % 3, values=VALUES)
    else:
        shares = np.random.default_rng(0).dirichlet(np.ones(3), size=30)
        cells = probability_cells(ids, shares, style=style, names=["x", "y", "z"], values=VALUES)
    content = render(style, cells)
    assert content.startswith(b"\xef\xbb\xbf") == style.bom
    assert content.endswith(style.newline.encode()) == style.final_newline
    assert content.count(b"\r") == (content.count(b"\n") if style.newline == "\r\n" else 0)
    assert (content.removeprefix(b"\xef\xbb\xbf")[:1] == b'"') == (style.quote == "all")
    path = tmp_path / "sample.csv"
    path.write_bytes(content)
    again = checked(path, style, values=VALUES)
    assert again.cells == cells
    assert again.warnings == []


def test_columns_are_matched_by_name_or_value_never_by_place() -> None:
    def order(columns: list[str]) -> list[int]:
        return column_order(SubmissionFormat(["ID", *columns], "probabilities", []), ["cat", "dog"], ["0", "1"])

    assert order(["dog", "cat"]) == [1, 0]
    assert order(["1", "0"]) == [1, 0]
    assert order(["class_1", "class_0"]) == [1, 0]
    with pytest.raises(DataError, match="cannot tell which column"):
        order(["first", "second"])


def test_probabilities_keep_their_decimals_their_floor_and_their_sum() -> None:
    table = np.array([[0.0, 0.25, 0.75]])
    cells = probability_cells(["a"], table, style=SHARES, names=VALUES, values=VALUES, decimals=3, smallest=0.01)
    assert cells == {"a": ["0.010", "0.248", "0.743"]}
