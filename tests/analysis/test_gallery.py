"""The gallery's data, what-if and charts on tables by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from analysis import gallery, plots, what_if
from analysis.sources import Array, Held, Source


def test_nearest_equals_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    points, others = generator.random((50, 6)), generator.random((200, 6))
    expected = NearestNeighbors(n_neighbors=4).fit(others).kneighbors(points, return_distance=False)
    np.testing.assert_array_equal(gallery.nearest(points, others, 4), expected)
    assert gallery.nearest(points, others[:2], 4).shape == (50, 2)


def test_top_shares_are_in_thousandths_and_leave_nothings_out() -> None:
    table = np.array([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7]])
    assert gallery.top_shares(table, np.array([0, 1])) == [[0, 700, 1, 300], [2, 700, 1, 200, 0, 100]]


def member(name: str, shares: Array) -> Source:
    return Source(name, "member", shares.argmax(1), shares, shares.argmax(1), shares)


def test_dropping_a_useless_member_changes_nothing_and_is_a_tie() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 60)
    good = np.eye(3)[truth] * 0.8 + 0.2 / 3
    held = Held(np.arange(60).astype(str), truth, "clean")
    found = what_if.changes([member("a", good), member("b", good), member("c", np.full((60, 3), 1 / 3))], held, 3)
    assert [change.action for change in found] == ["dropped"] * 3
    assert found[2].rows == 0
    assert found[2].gain is not None
    assert found[2].gain.difference == 0
    assert found[2].gain.tie


def test_a_label_file_is_added_without_a_score() -> None:
    truth = np.array([0, 1, 2, 0])
    sources = [member("a", np.eye(3)[truth]), Source("kim", "team", np.array([0, 1, 2, 1]))]
    found = what_if.changes(sources, Held(np.arange(4).astype(str), truth, "clean"), 3)
    assert [(change.name, change.action, change.gain) for change in found] == [("kim", "added", None)]


def test_heat_cells_run_from_pale_to_dark_and_leave_the_diagonal_out() -> None:
    rows = plots.heat_rows(np.array([[1.0, 0.2, np.nan], [0.2, 1.0, 0.8], [np.nan, 0.8, 1.0]]), [0, 1, 2])
    assert rows[0] == [None, (".20", 0.0), ("–", 0.0)]
    assert rows[1][2] == (".80", 1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_line_stays_inside_its_frame(values: list[float]) -> None:
    chart = plots.line_chart({"a": (np.arange(len(values), dtype=float), np.array(values))}, label="x")
    numbers = [float(part) for part in chart.lines[0].path.replace("M", " ").replace("L", " ").split()]
    assert min(numbers) >= 0
    assert max(numbers[::2]) <= plots.WIDTH
    assert max(numbers[1::2]) <= plots.HEIGHT


def test_a_chart_without_points_is_empty() -> None:
    assert plots.line_chart({"a": (np.array([1.0]), np.array([np.nan]))}, label="x").lines == []
    assert plots.density_chart({"a": np.array([])}, label="x").lines == []


def test_ticks_are_round() -> None:
    assert plots.ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
