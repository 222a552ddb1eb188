"""`podium diff`: what differs is shown, written and told by the exit code; no torch, no escape sequence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.label_table import names_of
from commands.main import run
from storage.errors import DataError
from tests.hostile import HOSTILE
from tests.small_index import digits, index_of

IDS = [f"{i}.jpg" for i in range(10)]
LABELS = {"a": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "b": [0, 1, 2, 3, 4, 5, 6, 7, 9, 9], "c": [0, 1, 2, 3, 4, 5, 6, 8, 3, 9]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    for name, labels in LABELS.items():
        pd.DataFrame({"ID": IDS, "target": labels}).to_csv(f"{name}.csv", index=False)
    return [f"{name}.csv" for name in LABELS]


def diff(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        run("diff", list(arguments))
    return int(ended.value.code or 0)


def test_exit_codes_are_those_of_diff(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert diff("a.csv", "a.csv") == 0
    assert "all say the same" in capsys.readouterr().out
    assert diff(*files) == 1
    with pytest.raises(DataError, match=r"nothing\.csv not found"):
        run("diff", ["a.csv", "nothing.csv"])
    with pytest.raises(DataError, match="two or more"):
        run("diff", ["a.csv"])


def test_the_terminal_shows_rows_pairs_and_majorities(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(*files) == 1
    text = capsys.readouterr().out
    for part in ("3 files, 10 rows", "2 rows differ (20.0%)", "1 of them without a majority", "7 ↔ 8", "8.jpg"):
        assert part in text


def test_a_file_whose_classes_look_permuted_is_said_with_its_remedy(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    turned = [4, 0, 1, 2, 3, 5, 6, 7, 8, 9]
    pd.DataFrame({"ID": IDS, "target": [turned[label] for label in LABELS["a"]]}).to_csv("odd.csv", index=False)
    assert diff("a.csv", "b.csv", "c.csv", "odd.csv") == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "odd: its classes look permuted" in text
    assert "set class_order" in text


def test_row_order_and_float_labels_are_no_difference(files: list[str]) -> None:
    pd.DataFrame({"ID": IDS[::-1], "target": [float(x) for x in LABELS["a"][::-1]]}).to_csv("d.csv", index=False)
    assert diff("a.csv", "d.csv") == 0


def test_the_csv_holds_the_differing_rows(files: list[str]) -> None:
    diff(*files, "--csv", "out.csv")
    table = pd.read_csv("out.csv")
    assert table["id"].tolist() == ["7.jpg", "8.jpg"]
    assert [table[name][0] for name in ("a", "b", "c", "most say", "votes")] == [7, 7, 8, 7, 2]


def test_a_tie_is_no_majority(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert diff("a.csv", "b.csv", "--csv", "out.csv") == 1
    assert "not with most" not in capsys.readouterr().out
    assert pd.read_csv("out.csv", dtype=str, keep_default_na=False)["most say"].tolist() == [""]
    assert diff(*files) == 1  # on 8.jpg each says something else, on 7.jpg two of three agree
    table = capsys.readouterr().out.partition("file by file")[2].partition("between")[0]
    assert [line.split()[-1] for line in table.splitlines() if line.strip()[:3] in ("1 a", "2 b", "3 c")] == list("001")


def test_the_page_shows_the_images_of_the_index_and_keeps_the_order(files: list[str]) -> None:
    pictures, labels = digits(30)
    index = index_of(Path(), pictures[:20], labels[:20], test=pictures[20:], names=[str(i) for i in range(10)])
    ids = index.test["image_id"].tolist()
    for name, moved in (("z", 0), ("m", 1), ("a", 2)):
        table = pd.DataFrame({"ID": ids, "target": [index.classes.values[(i + moved) % 10] for i in range(10)]})
        table.to_csv(f"{name}.csv", index=False)
    assert diff("z.csv", "m.csv", "a.csv", "--html", "out.html") == 1
    page = Path("out.html").read_text()
    assert page.count('<img src="data:image') == 10
    heat = page[page.index('class="heat') :]
    assert heat.index('<th scope="row" title="z"') < heat.index('<th scope="row" title="m"')
    assert heat.index('<th scope="row" title="m"') < heat.index('<th scope="row" title="a"')


def test_the_page_opens_and_escapes(files: list[str]) -> None:
    table = pd.DataFrame({"ID": HOSTILE, "target": HOSTILE[::-1]})
    table.to_csv("hostile.csv", index=False)
    pd.DataFrame({"ID": HOSTILE, "target": HOSTILE}).to_csv("mirror.csv", index=False)
    assert diff("hostile.csv", "mirror.csv", "--html", "out.html", "--csv", "out.csv") == 1
    page = Path("out.html").read_text()
    assert "<script>window" not in page
    assert "&lt;script&gt;window.__pwn=1&lt;/script&gt;" in page
    assert "\n=HYPERLINK" not in Path("out.csv").read_text()


def test_escape_sequences_do_not_reach_the_terminal(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame({"ID": HOSTILE, "target": HOSTILE[::-1]})
    table.to_csv("hostile.csv", index=False)
    pd.DataFrame({"ID": HOSTILE, "target": HOSTILE}).to_csv("mirror.csv", index=False)
    diff("hostile.csv", "mirror.csv", "--rows", "40")
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"\x1b" in text


def test_other_ids_are_refused(files: list[str]) -> None:
    pd.DataFrame({"ID": [*IDS[1:], "x.jpg"], "target": LABELS["a"]}).to_csv("d.csv", index=False)
    with pytest.raises(DataError, match=r"'x\.jpg' is not an id"):
        run("diff", ["a.csv", "d.csv"])


def test_it_starts_without_torch(files: list[str]) -> None:
    code = """
import sys
from commands.main import main
sys.argv = ["podium", "diff", "a.csv", "b.csv"]
try:
    main()
except SystemExit as end:
    heavy = {"torch", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
    sys.exit(f"imports {heavy}" if heavy else end.code)
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr


def test_files_of_the_same_name_are_told_apart_by_their_folders() -> None:
    paths = [Path("runs/cnn/0/test.csv"), Path("runs/resnet/0/test.csv"), Path("kim.csv"), Path("kim.csv")]
    assert names_of(paths) == ["cnn/0/test", "resnet/0/test", "kim", "kim (2)"]
