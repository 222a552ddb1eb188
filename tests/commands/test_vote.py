"""`podium vote`: one checked submission out of many files, weights shown, hand-made labels marked as tainted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands.main import run
from storage.errors import DataError, ParamsError
from tests.contest import Contest, build


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    return build(tmp_path_factory.mktemp("vote"), n_train=120, n_test=150)


@pytest.fixture
def files(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(contest.folder)
    return [f"submissions/team/{name}.csv" for name in ("kim", "kim_v2", "lee")]


def vote(*arguments: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """The submission and its sidecar."""
    with pytest.raises(SystemExit) as ended:
        run("vote", [*arguments, "--name", "voted"])
    assert not ended.value.code
    return pd.read_csv("submissions/voted.csv"), json.loads(Path("submissions/voted.json").read_text())


def test_majority_is_written_like_the_sample(contest: Contest, files: list[str]) -> None:
    table, sidecar = vote(*files, "--method", "majority")
    labels = np.stack([pd.read_csv(file)["target"] for file in files], axis=1)
    most = [np.bincount(row).argmax() if len(set(row)) < 3 else row[0] for row in labels]
    agreed = np.array([len(set(row)) < 3 for row in labels])
    assert table["ID"].tolist() == contest.index.test["image_id"].tolist()
    assert (table["target"].to_numpy() == most)[agreed].all()
    assert sidecar["tainted"] is False
    assert sidecar["honest"] is None


def test_scores_and_near_copies_shape_the_weights(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    scores = [
        part for name, value in (("kim", 0.9), ("kim_v2", 0.9), ("lee", 0.6)) for part in ("--score", f"{name}={value}")
    ]
    _, sidecar = vote(*files, *scores)
    weights = sidecar["members"]
    assert isinstance(weights, dict)
    assert weights["kim"] == pytest.approx(weights["kim_v2"], rel=0.2)
    assert "ranking only" in capsys.readouterr().out


def test_labels_and_probabilities_blend(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tables = [f"data/predictions/{name}/0/test.parquet" for name in ("trees", "logistic")]
    table, sidecar = vote(tables[0], *files[:1], "--method", "soft")
    assert sidecar["method"] == "vote, soft"
    assert "kim: labels only: smoothed, weight capped" in capsys.readouterr().out
    assert len(table) == 150
    alone, _ = vote(tables[0], tables[0], "--method", "soft")
    pd.testing.assert_frame_equal(alone, vote(tables[0], tables[0])[0])


def test_hand_made_labels_win_and_taint(contest: Contest, files: list[str]) -> None:
    first = contest.index.test["image_id"][0]
    before, _ = vote(*files)
    other = (int(before["target"][0]) + 1) % 10
    Path("overrides.csv").write_text(f"image_id,label,decided_by,decided_at,tainted\n{first},{other},kim,now,yes\n")
    table, sidecar = vote(*files, "--override", "overrides.csv")
    assert table["target"][0] == other
    assert sidecar["tainted"] is True
    assert sidecar["overrides"] == {"file": "overrides.csv", "rows": 1, "decided_by": ["kim"]}


def test_what_does_not_fit_is_refused_before_anything_is_written(files: list[str]) -> None:
    Path("overrides.csv").write_text("image_id,label,decided_by\nnobody.png,3,kim\n")
    for arguments, kind, words in (
        (["--score", "kim=0.9"], ParamsError, "missing"),
        (["--score", "kim=high"], ParamsError, "expected name=0.93"),
        (["--override", "overrides.csv"], DataError, "nobody.png"),
        (["--index", "nowhere"], DataError, "no index"),
    ):
        with pytest.raises(kind, match=words):
            run("vote", [*files, *arguments, "--name", "refused"])
    assert not Path("submissions/refused.csv").exists()


def test_a_dry_run_writes_nothing(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("vote", [*files, "--dry-run", "--name", "dry"])
    assert "weight" in capsys.readouterr().out
    assert not Path("submissions/dry.csv").exists()


def test_params_say_what_files_hold_and_what_they_scored(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shares = pd.DataFrame(np.eye(10)[pd.read_csv(files[0])["target"]] * 90 + 1, columns=[str(i) for i in range(10)])
    shares.insert(0, "ID", pd.read_csv(files[0])["ID"])
    shares.to_csv("percent.csv", index=False)
    params = Path("params.yaml").read_text()
    said = "compare: {team: {percent: {kind: percent}}, board: {percent: 0.9, lee: 0.7}}"
    Path("said.yaml").write_text(params.replace("compare: {}", said))
    _, sidecar = vote("percent.csv", files[2], "--params", "said.yaml")
    assert sidecar["board"] == {"percent": 0.9, "lee": 0.7}
    with pytest.raises(DataError, match="kind: percent"):
        run("vote", ["percent.csv", files[2]])
