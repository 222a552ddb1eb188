"""compare: the report of a real small contest holds its numbers, its pictures and its warnings."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from stages.compare import main
from storage.atomic import sha256
from tests.contest import CLASSIFIERS, Contest, build


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    found = build(tmp_path_factory.mktemp("compare"), n_train=150, n_test=120)
    (found.folder / "submissions/team/old.pkl").write_bytes(b"\x80\x04.")
    ids, labels = found.index.test["image_id"], found.truth
    shuffled = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])[labels]
    pd.DataFrame({"ID": ids, "target": shuffled}).to_csv(found.folder / "submissions/team/odd.csv", index=False)
    params = found.folder / "params.yaml"
    params.write_text(params.read_text().replace("compare: {}", "compare: {board: {kim: 0.9, lee: 0.7}}"))
    run(found)
    return found


def run(contest: Contest) -> None:
    options = dict(zip(contest.arguments()[::2], contest.arguments()[1::2], strict=True))
    main(**{name.removeprefix("--"): Path(value) for name, value in options.items()})


def page(contest: Contest, name: str) -> str:
    return html.unescape((contest.folder / "analysis/report" / name).read_text())


def data_of(contest: Contest, name: str, key: str) -> Any:
    text = (contest.folder / "analysis/report" / name).read_text()
    found = re.search(rf'<script type="application/json" id="{key}">(.*?)</script>', text, flags=re.DOTALL)
    assert found
    return json.loads(found[1])


def details_of(path: Path) -> Any:
    """The rows that one slice hands over: one call, whose arguments are JSON."""
    found = re.fullmatch(r"podiumDetails\(\d+,(.*)\);\n", path.read_text(encoding="ascii"))
    assert found
    return json.loads(found[1])


def test_scores_equal_scikit_learn(contest: Contest) -> None:
    from stages.probabilities import canonical_order, read_probabilities

    oof = canonical_order(
        read_probabilities(contest.folder / "data/blend/oof.parquet"), contest.index.train["image_id"]
    )
    truth = contest.index.train["label"]
    score = f1_score(truth, oof.log_probabilities.argmax(1), labels=range(10), average="macro", zero_division=0)
    assert f"{score:.4f}" in page(contest, "index.html")


def test_disputed_images_are_those_on_which_sources_differ(contest: Contest) -> None:
    data = data_of(contest, "gallery.html", "gallery-data")
    assert data["sources"][-4:] == ["kim", "kim_v2", "lee", "odd"]
    said = {row[0]: row[2] for row in data["rows"]}
    kim = pd.read_csv(contest.folder / "submissions/team/kim.csv").set_index("ID")["target"]
    assert all(labels[-4] == kim[image_id] for image_id, labels in said.items())
    assert all(len(set(labels)) > 1 for labels in said.values())
    uncertain = [row[3] for row in data["rows"]]
    assert uncertain == sorted(uncertain, reverse=True)


def test_every_picture_on_a_page_is_there(contest: Contest) -> None:
    folder = contest.folder / "analysis/report"
    data = data_of(contest, "gallery.html", "gallery-data")
    details = [row for path in sorted(folder.glob("details/test-*.js")) for row in details_of(path)]
    assert len(details) == len(data["rows"])
    near = [picture for _, nearest in details for picture in nearest]
    paths = [row[1] for row in data["rows"]] + [path for _, path, _ in near]
    assert near
    assert all((folder / path).is_file() for path in paths)
    assert {label for _, _, label in near} <= set(range(10))
    assert all(len(shares) == len(data["sources"]) for shares, _ in details)


def test_refused_and_odd_files_are_said_with_a_remedy(contest: Contest) -> None:
    text = page(contest, "index.html")
    assert "refusing a pickle" in text
    assert "its classes look permuted" in text
    assert "class_order: [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]" in text or "class_order: [" in text
    assert "What the board allows" in text


def test_the_ledger_marks_a_file_as_tainted_and_the_pages_link_to_the_exploration(
    contest: Contest, tmp_path: Path
) -> None:
    path = contest.folder / "submissions/team/kim.csv"
    row = {"file": "v1.csv", "sha256": sha256(path), "tainted": "yes"}
    pd.DataFrame([row]).to_csv(tmp_path / "ledger.csv", index=False)
    (tmp_path / "exploration").mkdir()
    (tmp_path / "exploration/index.html").touch()
    options = dict(zip(contest.arguments()[::2], contest.arguments()[1::2], strict=True))
    paths = {name.removeprefix("--"): Path(value) for name, value in options.items()}
    more = {"ledger": tmp_path / "ledger.csv", "exploration": tmp_path / "exploration/index.html"}
    main(**{**paths, **more, "out": tmp_path / "report"})
    index, runs = ((tmp_path / f"report/{name}.html").read_text() for name in ("index", "runs"))
    assert "tainted: the ledger says" in html.unescape(index)
    assert all('class="taint"' in text and "../exploration/index.html" in text for text in (index, runs))
    assert 'class="taint"' not in (contest.folder / "analysis/report/index.html").read_text()


def test_large_pictures_get_a_small_one_beside_them(tmp_path: Path) -> None:
    contest = build(tmp_path, n_train=60, n_test=30, size=(320, 240))
    run(contest)
    folder = contest.folder / "analysis/report"
    small = sorted(path.name for path in (folder / "thumbnails").glob("test-*"))
    assert small
    assert small == sorted(path.name for path in (folder / "images").glob("test-*"))


def test_the_same_inputs_give_the_same_report(contest: Contest) -> None:
    before = {path.name: path.read_bytes() for path in (contest.folder / "analysis/report").glob("*.html")}
    run(contest)
    assert before == {path.name: path.read_bytes() for path in (contest.folder / "analysis/report").glob("*.html")}


def test_it_starts_without_torch() -> None:
    code = "import sys, stages.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_a_name_that_nothing_has_is_told(contest: Contest, capsys: pytest.CaptureFixture[str]) -> None:
    params = contest.folder / "params.yaml"
    before = params.read_text()
    board = "board: {kim: 0.9, lee: 0.7, kimm: 0.8, blend: 0.9}, team: {leo: {kind: percent}}"
    try:
        params.write_text(before.replace("board: {kim: 0.9, lee: 0.7}", board))
        run(contest)
    finally:
        params.write_text(before)
    told = [line.split("compare.")[1] for line in capsys.readouterr().err.splitlines() if "compare." in line]
    assert [line[: line.index("; did")] for line in told] == [
        "board: nothing here is called 'kimm'",
        "team: nothing here is called 'leo'",
    ]


def test_the_report_says_the_scores_that_the_blend_said(contest: Contest) -> None:
    path = contest.folder / "data/blend/metrics.json"
    found = {"metric": "macro_f1", "view": "clean", "score": 0.9181, "alone": {next(iter(CLASSIFIERS)): 0.8273}}
    path.write_text(json.dumps({"blend": found}))
    try:
        run(contest)
        told = page(contest, "index.html")
    finally:
        path.unlink()
        run(contest)
    assert all(f'<td class="number">{score}</td>' in told for score in ("0.9181", "0.8273"))
