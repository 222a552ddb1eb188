"""podium submit, ledger and pick, against a stand-in for the Kaggle CLI that keeps its entries in a file."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.submission import label_cells, render
from commands import ledger, pick, submit
from stages.tables import read_index
from storage.atomic import sha256
from storage.errors import DataError, IntegrityError, ParamsError, PodiumError, ResourceError
from tests.blend_tables import write_competition

KAGGLE = """#!/bin/sh
echo "$@" >> calls.txt
case "$2" in
  submissions) echo "Warning: looks like you're using an outdated API"; cat entries.csv ;;
  submit) [ -e refuse ] && { echo "403 - Forbidden" >&2; exit 1; }
          [ -e lose ] || echo "blend.csv,$(date -u +%Y-%m-%d) 10:00:00,$8,complete,0.91," >> entries.csv
          echo "Successfully submitted" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A competition with one submission, and a kaggle on the path."""
    write_competition(tmp_path)
    with (tmp_path / "params.yaml").open("a") as params:
        params.write("submit: {competition: digits-2026, daily_limit: 2}\n")
    save(tmp_path, "blend", 0.90, shift=0)
    program = tmp_path / "bin/kaggle"
    program.parent.mkdir()
    program.write_text(KAGGLE)
    program.chmod(0o755)
    (tmp_path / "entries.csv").write_text("fileName,date,description,status,publicScore,privateScore\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def save(folder: Path, name: str, score: float, *, shift: int) -> Path:
    """A submission with its sidecar; `shift` moves the answers."""
    classes = read_index(folder / "data/index").classes
    ids = classes.submission.row_ids
    labels = [(place // 3 + (shift if place < 20 else 0)) % 4 for place in range(len(ids))]
    path = folder / f"submissions/{name}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(render(classes.submission, label_cells(ids, labels, values=classes.values)))  # type: ignore[arg-type]
    honest = {"view": "testlike", "score": score, "error": 0.01, "low": score - 0.02, "high": score + 0.02}
    side = {"file": path.name, "sha256": sha256(path), "method": "auto", "honest": honest, "members": {"net0": 1.0}}
    path.with_suffix(".json").write_text(json.dumps(side))
    return path


def send(folder: Path, name: str = "blend", *, wait: float = 0.0) -> None:
    submit.main(folder / f"submissions/{name}.csv", wait=wait, pause=0.01)


def calls(folder: Path) -> list[str]:
    return (folder / "calls.txt").read_text().splitlines()


def test_it_is_sent_once_seen_and_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    send(folder)
    sent = [call for call in calls(folder) if call.startswith("competitions submit ")]
    assert len(sent) == 1
    assert f"-c digits-2026 -f {folder / 'submissions/blend.csv'}" in sent[0]
    assert "arrived: complete, 0.91; 1 of 2 left today" in capsys.readouterr().out
    rows = ledger.read_book(folder / "submissions/ledger.csv")
    assert [(row.file, row.honest) for row in rows] == [("blend.csv", "0.900000")]


def test_without_room_nothing_is_sent(folder: Path) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    with (folder / "entries.csv").open("a") as file:
        file.write(f"a.csv,{today} 01:00:00,x,complete,0.9,\nb.csv,{today} 02:00:00,y,complete,0.9,\n")
    with pytest.raises(PodiumError, match="0 of 2 left, resets 00:00 UTC"):
        send(folder)
    assert not any(call.startswith("competitions submit ") for call in calls(folder))


def test_an_upload_that_leaves_no_entry_is_an_error(folder: Path) -> None:
    (folder / "lose").touch()
    with pytest.raises(PodiumError, match="no entry appeared"):
        send(folder, wait=0.05)
    assert ledger.read_book(folder / "submissions/ledger.csv") == []


def test_a_refusal_of_the_site_is_passed_on(folder: Path) -> None:
    (folder / "refuse").touch()
    with pytest.raises(PodiumError, match="403 - Forbidden"):
        send(folder)


def test_what_does_not_fit_is_never_sent(folder: Path) -> None:
    path = folder / "submissions/blend.csv"
    path.write_text(path.read_text().replace(",11\n", ",99\n"))
    with pytest.raises(DataError, match="labels that no class has"):
        send(folder)
    save(folder, "crlf", 0.9, shift=1).write_bytes(path.read_bytes().replace(b",99", b",11").replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match="byte style"):
        send(folder, "crlf")
    assert not (folder / "calls.txt").exists()


def test_a_file_changed_by_hand_is_not_what_its_sidecar_says(folder: Path) -> None:
    path = folder / "submissions/blend.csv"
    text = path.read_text()
    path.write_text(text.replace(",11\n", ",12\n"))
    with pytest.raises(IntegrityError, match="was changed"):
        send(folder)


def test_without_the_contests_name_or_the_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParamsError, match=r"submit\.competition"):
        submit.main(folder / "submissions/blend.csv", competition="-x")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ResourceError, match="kaggle"):
        send(folder)


def test_the_ledger_gathers_the_boards_scores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = folder / "submissions/ledger.csv"
    for place, (name, score, public) in enumerate((("blend", 0.90, 0.88), ("b", 0.91, 0.90), ("c", 0.92, 0.91))):
        path = save(folder, name, score, shift=place)
        ledger.add(path, book=book)
        ledger.add(path, public=public, note="=1+1", book=book)
    rows = ledger.read_book(book)
    assert [row.public for row in rows] == ["0.880000", "0.900000", "0.910000"]
    assert (folder / "submissions/ledger.svg").read_text().count("<circle") == 3
    ledger.show(book)
    shown = capsys.readouterr().out
    assert "0.9100" in shown
    assert "rank correlation of validation and public board: 1.00" in shown


def test_a_score_has_to_be_possible_and_is_not_replaced_in_silence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book, path = folder / "submissions/ledger.csv", folder / "submissions/blend.csv"
    for metric, public, refused in (
        ("accuracy", 1.5, "accuracy lies between 0 and 1"),
        ("accuracy", 93.7, "93.7% as 0.937"),
        ("log_loss", -0.1, "between 0 and inf"),
        ("qwk", -0.5, ""),
        ("log_loss", 2.5, ""),
        ("", float("nan"), "a score lies"),
    ):
        change_sidecar(path, metric=metric)
        if refused:
            with pytest.raises(ParamsError, match=refused):
                ledger.add(path, public=public, book=book)
        else:
            ledger.add(path, public=public, book=book)
    assert "blend.csv: public -0.5 is replaced by 2.5" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"nope\.csv not found\. In .*submissions there are: blend\.csv"):
        ledger.add(folder / "submissions/nope.csv", book=book)


def change_sidecar(path: Path, **changes: object) -> None:
    side = path.with_suffix(".json")
    side.write_text(json.dumps({**json.loads(side.read_text()), **changes}))


def test_competitions_are_kept_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = folder / "submissions/ledger.csv"
    for place, name in enumerate(("blend", "hedge", "digits")):
        path = save(folder, name, 0.9, shift=place)
        change_sidecar(path, competition="other" if name == "digits" else ledger.competition_here(ledger.INDEX))
        ledger.add(path, public=0.5, note="a note that is long enough to need a second line of the table", book=book)
    assert len(ledger.read_book(book)) == 3
    assert book.with_suffix(".svg").read_text().count("<circle") == 1  # of the competition that was noted last
    capsys.readouterr()
    ledger.show(book)
    shown = capsys.readouterr().out
    assert "hedge.csv" in shown
    assert "digits.csv" not in shown
    assert "1 of another competition left out" in shown
    assert "…" not in shown
    (folder / "submissions/vote.csv").write_text("ID,target\n")
    pick.main(folder / "submissions", book=book)
    shown = capsys.readouterr().out
    assert "digits.csv is left out: another competition's" in shown
    assert "vote.csv is left out: no sidecar" in shown


def test_pick_proposes_two_and_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(folder, "hedge", 0.895, shift=1)
    weak = save(folder, "weak", 0.80, shift=2)
    ledger.add(weak, public=0.99)
    pick.main(folder / "submissions")
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "1. blend.csv" in shown
    assert "2. hedge.csv  ties with the first" in shown
    assert "the public board likes weak.csv best" in shown


def test_pick_without_submissions_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro submit"):
        pick.main(tmp_path, book=tmp_path / "ledger.csv")
