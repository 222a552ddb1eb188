"""The `podium` command: help for every verb, hints for wrong ones, one message for a refusal."""

import ast
import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands.main import WORDS, run
from commands.score import main as score_command
from commands.score import score
from stages.entry import guard
from storage.atomic import replacing
from storage.errors import DataError

ROOT = Path(__file__).parents[2]


def podium(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "commands.main", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, env=environment)


def test_help_names_every_verb() -> None:
    result = podium("--help")
    assert result.returncode == 0
    assert all(verb in result.stdout for verb in WORDS)


@pytest.mark.parametrize("verb", sorted(WORDS))
def test_every_verb_exists_and_says_what_it_does(verb: str) -> None:
    tree = ast.parse((ROOT / "commands" / f"{verb}.py").read_text())
    assert ast.get_docstring(tree), verb
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    assert names & {"main", "app"}, verb


def test_a_wrong_verb_gets_a_hint() -> None:
    result = podium("fitch")
    assert result.returncode == 2
    assert "did you mean fetch?" in result.stderr


def test_a_refusal_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    result = podium("score", cwd=tmp_path)
    assert result.returncode == DataError.exit_code
    assert result.stderr == (
        "podium: submissions/blend.csv not found. Give the CSV of a submission, or make one: dvc repro\n"
    )


def test_what_the_system_refuses_is_one_message_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        with replacing(tmp_path / "table.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemExit) as ended:
        guard(write)
    told = capsys.readouterr().err
    assert ended.value.code == 5
    assert told == f"podium: {tmp_path / 'table.csv'}: No space left on device; free some space, then run it again\n"
    assert not any(tmp_path.iterdir())
    with pytest.raises(OSError, match="too many levels"):
        guard(lambda: (_ for _ in ()).throw(OSError(errno.ELOOP, "too many levels")))


def test_score_counts_both_halves_and_refuses_other_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {"a": ("0", "public"), "b": ("1", "public"), "c": ("0", "private"), "d": ("1", "private")}
    scores = score({"a": "0", "b": "1", "c": "1", "d": "1"}, answers)
    assert scores["public"] == 1
    assert scores["private"] == pytest.approx(1 / 3)  # F1 of class 0 is 0, of class 1 it is 2/3
    with pytest.raises(DataError, match="d missing"):
        score({"a": "0", "b": "1", "c": "1"}, answers)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("file,kind\na,0\nb,1\n", {"all": 1.0}),
        ("id,kind,half\nb,1,public\na,1,private\n", {"public": 1.0, "private": 0.0, "all": 2 / 3}),
        ("year,kind,file,half\n1,0,a,public\n2,1,b,public\n", {"public": 1.0, "all": 1.0}),
        ("id,kind,year\na,0,1\nb,1,1\n", "has the columns id,kind,year; expected file,kind"),
        ("file,kind\nx,0\ny,1\n", "not one id is in the answers"),
    ],
)
def test_score_reads_answers_of_other_contests(
    tmp_path: Path, answers: str, expected: dict[str, float] | str, capsys: pytest.CaptureFixture[str]
) -> None:
    given, hidden = tmp_path / "mine.csv", tmp_path / "answers.csv"
    given.write_text("file,kind\na,0\nb,1\n")
    hidden.write_text(answers)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            score_command(given, hidden)
    else:
        score_command(given, hidden, as_json=True)
        assert json.loads(capsys.readouterr().out) == pytest.approx(expected)


def test_score_says_that_answers_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("submissions").mkdir()
    Path("submissions/wear.csv").write_text("file,kind\na,0\n")
    Path("params.yaml").write_text("prepare: {root: data/raw/wear}\nsubmit: {name: wear}\n")
    with pytest.raises(DataError, match=r"answers/wear\.csv not found: the answers of wear are not known here"):
        score_command()


def test_score_finds_the_answers_of_a_part_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("submissions", "data/index"):
        Path(folder).mkdir(parents=True)
    Path("submissions/wear.csv").write_text("ID,target\na.png,Bag\nb.png,Hat\n")
    Path("data/index/answers.csv").write_text("image_id,target\na.png,Bag\nb.png,Hat\n")
    Path("params.yaml").write_text("prepare: {root: data/raw/wear}\nsubmit: {name: wear}\n")
    score_command()
    assert "all      1.0000" in capsys.readouterr().out


def test_fetch_then_score_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run("fetch", ["digits"])
    sample = (tmp_path / "data/raw/digits/sample_submission.csv").read_text()
    assert sample.startswith("ID,target\n")
    result = podium("score", "data/raw/digits/sample_submission.csv", "--json", cwd=tmp_path)
    assert '"private"' in result.stdout


def test_a_message_cannot_steer_the_terminal(tmp_path: Path) -> None:
    result = podium("score", "\x1b[2Jevil.csv", cwd=tmp_path)
    assert "\x1b" not in result.stderr
    assert "evil.csv" in result.stderr


def test_in_a_sub_folder_a_refusal_says_where_to_go(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    inner = tmp_path / "data"
    inner.mkdir()
    told = {folder: podium("status", cwd=folder).stderr for folder in (tmp_path, inner)}
    assert f"cd '{tmp_path}'" in told[inner] and "cd '" not in told[tmp_path]
