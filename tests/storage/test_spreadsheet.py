"""Texts that a spreadsheet would run, in tables that people open."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from storage.spreadsheet import guarded, guarded_table


@pytest.mark.parametrize("text", ["=HYPERLINK(0)", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_begins_as_a_formula(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "cat", "a=b", "3-4", "'quoted"])
def test_other_texts_stay(text: str) -> None:
    assert guarded(text) == text


def test_a_table_keeps_its_numbers_and_loses_its_formulas() -> None:
    table = pd.DataFrame({"=name": ["cat", "=1+1"], "change": [-0.5, 2.0]})
    read = pd.read_csv(io.StringIO(guarded_table(table).to_csv(index=False)))
    assert read.columns.tolist() == ["'=name", "change"]
    assert read["'=name"].tolist() == ["cat", "'=1+1"]
    assert read["change"].tolist() == [-0.5, 2.0]


def test_a_table_without_rows_is_only_its_header() -> None:
    assert guarded_table(pd.DataFrame(columns=["a", "b"])).to_csv(index=False) == "a,b\n"
