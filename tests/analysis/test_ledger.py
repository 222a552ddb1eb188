"""The ledger keeps every submission once, draws what the board said; the finals come from validation."""

from __future__ import annotations

from analysis.finals import Candidate, propose, remarks
from analysis.ledger import Row, added, from_sidecar, parse, picture, rank_correlation, render

SIDE = {
    "file": "blend.csv",
    "sha256": "abc",
    "git": {"commit": "1234"},
    "params": "p1",
    "method": "auto",
    "metric": "macro_f1",
    "members": {"a": 0.5, "b": 0.5},
    "honest": {"score": 0.9, "error": 0.01, "low": 0.88, "high": 0.92},
}


def row(name: str, honest: str = "", public: str = "", private: str = "", note: str = "") -> Row:
    return Row("2026-01-01", name, name, honest=honest, public=public, private=private, error="0.01", note=note)


def test_a_sidecar_becomes_a_row_and_the_row_survives_the_file() -> None:
    first = from_sidecar(SIDE, time="2026-01-01T00:00:00Z")
    assert (first.members, first.honest, first.commit) == ("a+b", "0.900000", "1234")
    rows = [first, row("x.csv", note='with "quotes", commas\nand lines')]
    assert parse(render(rows)) == rows
    assert from_sidecar({"file": "p.csv", "sha256": "d", "honest": None, "git": None}, time="").honest == ""


def test_a_log_loss_is_told_as_the_board_tells_it() -> None:
    honest = {"score": -0.8, "error": 0.05, "low": -0.9, "high": -0.7}  # a sidecar's: greater is better
    found = from_sidecar(SIDE | {"metric": "log_loss", "honest": honest}, time="")
    assert (found.honest, found.low, found.high) == ("0.800000", "0.700000", "0.900000")
    better = Candidate("a.csv", -0.8, 0.01, {"1": "x"}, loss=True)
    worse = Candidate("b.csv", -0.9, 0.01, {"1": "y"}, -0.7, loss=True)
    proposals = propose([worse, better])
    assert proposals[0].why == "the best honest score, 0.8000 ± 0.0100"
    assert "likes b.csv best (0.7000)" in remarks([worse, better], proposals[:1])[0]


def test_the_same_bytes_update_their_row() -> None:
    first = from_sidecar(SIDE, time="monday")
    rows = added([first], Row("tuesday", "blend.csv", "abc", public="0.91"))
    assert len(rows) == 1
    assert (rows[0].time, rows[0].honest, rows[0].public) == ("monday", "0.900000", "0.91")
    assert len(added(rows, row("other.csv"))) == 2


def test_a_note_is_no_formula() -> None:
    assert ",'=HYPERLINK" in render([row("a.csv", note="=HYPERLINK(1)")])


def test_rank_correlation_needs_three_scores() -> None:
    rows = [row("a", "0.90", "0.80"), row("b", "0.91", "0.82"), row("c", "0.92", "0.81")]
    assert rank_correlation(rows[:2]) is None
    assert rank_correlation(rows) == 0.5
    assert rank_correlation([row(n, "0.9", "0.8") for n in "abc"]) is None


def test_the_picture_shows_each_score_and_escapes_names() -> None:
    drawn = picture([row("<b>.csv", "0.9", "0.88", "0.87"), row("c.csv", "0.91")])
    assert drawn.count("<circle") == 2
    assert "&lt;b&gt;.csv" in drawn
    assert picture([]).startswith("<svg")


def candidate(
    name: str, score: float, answers: str, public: float | None = None, *, tainted: bool = False
) -> Candidate:
    return Candidate(name, score, 0.01, dict(enumerate(answers)), public, tainted)  # type: ignore[arg-type]


def test_finals_are_the_strongest_and_its_most_different_tie() -> None:
    found = [
        candidate("best", 0.95, "aaaa"),
        candidate("twin", 0.949, "aaab"),
        candidate("other", 0.945, "abbb"),
        candidate("weak", 0.90, "cccc", 0.99),
        candidate("by hand", 0.99, "zzzz", tainted=True),
        candidate("copy", 0.95, "aaaa"),
    ]
    chosen = propose(found)
    assert [proposal.candidate.name for proposal in chosen] == ["copy", "other"]
    assert "75.0% of the rows" in chosen[1].why
    said = remarks(found, chosen)
    assert any("by hand is tainted" in remark for remark in said)
    assert any("the public board likes weak best" in remark for remark in said)


def test_finals_without_a_tie_or_without_choice() -> None:
    chosen = propose([candidate("a", 0.95, "aa"), candidate("b", 0.90, "ab")])
    assert "no other ties" in chosen[1].why
    assert len(propose([candidate("a", 0.95, "aa")])) == 1
    assert propose([candidate("a", 0.95, "aa", tainted=True)]) == []
