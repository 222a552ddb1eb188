"""blend and submit as stages: files on disk in, a checked CSV out; refusals before anything is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from analysis.ablation import Effect, from_csv, to_csv
from analysis.decision import decide
from commands import ablation
from commands.status import lines
from stages import blend, submit
from stages.probabilities import read_member, read_probabilities, write_probabilities
from stages.tables import read_folds, read_index
from storage.errors import DataError, IntegrityError, ParamsError
from tests.blend_tables import write_competition

Paths = dict[str, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition, blended and submitted."""
    folder = tmp_path_factory.mktemp("blend")
    np.save(folder / "answers.npy", write_competition(folder))
    run_blend(folder)
    run_submit(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def run_blend(folder: Path) -> None:
    data = folder / "data"
    blend.main(
        data / "index",
        data / "folds/folds.parquet",
        predictions=data / "predictions",
        out=data / "blend",
        metrics=data / "blend/metrics.json",
        params=folder / "params.yaml",
    )


def run_submit(folder: Path, *, partial: bool = False) -> None:
    data = folder / "data"
    submit.main(
        data / "index",
        data / "blend",
        submissions=folder / "submissions",
        partial=partial,
        predictions=data / "predictions",
        params=folder / "params.yaml",
    )


def set_params(folder: Path, text: str) -> None:
    kept = (folder / "params.yaml").read_text().split("blend:")[0]
    (folder / "params.yaml").write_text(f"{kept}{text}\n")


def submission(folder: Path, name: str = "blend") -> dict[str, str]:
    rows = (folder / f"submissions/{name}.csv").read_text().splitlines()[1:]
    return dict(row.split(",") for row in rows)


def test_what_test_time_augmentation_gains_stands_in_the_ablation(folder: Path) -> None:
    place = folder / "data/predictions/net1"
    for number in ("0", "2"):  # the views of fold 1 were not kept
        table = read_probabilities(place / number / "valid.parquet")
        worse = np.roll(table.log_probabilities, 1, axis=1)
        write_probabilities(place / number / "plain.parquet", replace(table, log_probabilities=worse))
    run_blend(folder)
    gains = {one.name: one.gain for one in from_csv((folder / "data/blend/ablation.csv").read_text())}
    assert gains["test-time augmentation, where members keep it"] > 1
    with pytest.raises(IntegrityError, match=r"plain\.parquet has other rows"):
        write_probabilities(place / "0/plain.parquet", read_probabilities(place / "1/valid.parquet"))
        run_blend(folder)


def test_the_blend_is_on_disk_and_beats_chance(made: Path) -> None:
    scores = json.loads((made / "data/blend/metrics.json").read_text())["blend"]
    assert scores["view"] == "testlike"
    assert scores["score"] > 0.5
    assert sum(scores["members"].values()) == pytest.approx(1)
    index = read_index(made / "data/index")
    folds = read_folds(made / "data/folds/folds.parquet", index)
    oof = read_probabilities(made / "data/blend/oof.parquet", index, folds)
    assert sorted(set(oof.view)) == ["clean", "testlike"]
    assert len(oof) == 3 * 90
    assert set(read_probabilities(made / "data/blend/test.parquet", index, folds).fold) == {-1}


def test_the_submission_is_the_samples_and_right(made: Path) -> None:
    cells = submission(made)
    assert list(cells) == [f"t{number:04}.png" for number in range(59, -1, -1)]
    answers = np.load(made / "answers.npy")
    right = np.mean([cells[f"t{number:04}.png"] == str(10 + answers[number]) for number in range(60)])
    assert right > 0.7
    side = json.loads((made / "submissions/blend.json").read_text())
    assert side["honest"]["low"] < side["honest"]["score"] < side["honest"]["high"]
    assert side["expected"]["low"] < side["expected"]["score"] < side["expected"]["high"]
    assert set(side["members"]) == {"net0", "net1", "net2"}


def test_twice_is_the_same_bytes_and_member_order_means_nothing(folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in [*folder.glob("data/blend/*"), *folder.glob("submissions/*.csv")]}
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("[net0, net1, net2]", "[net2, net0, net1]"))
    run_blend(folder)
    run_submit(folder)
    after = {p.name: p.read_bytes() for p in [*folder.glob("data/blend/*"), *folder.glob("submissions/*.csv")]}
    assert before == after


def test_a_single_member_is_submitted_as_it_is(folder: Path) -> None:
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("[net0, net1, net2]", "[net1]"))
    run_blend(folder)
    index = read_index(folder / "data/index")
    alone = read_probabilities(folder / "data/predictions/net1/0/test.parquet", index)
    blended = read_probabilities(folder / "data/blend/test.parquet", index)
    assert blended.image_id.tolist() == alone.image_id.tolist()
    np.testing.assert_allclose(blended.log_probabilities, alone.log_probabilities, atol=1e-5)


def test_partial_needs_one_fold_of_one_member(folder: Path) -> None:
    for extra in ("net0/1", "net0/2", "net1", "net2"):
        shutil.rmtree(folder / "data/predictions" / extra)
    shutil.rmtree(folder / "data/blend")
    run_submit(folder, partial=True)
    assert len(submission(folder, "blend-partial")) == 60
    side = json.loads((folder / "submissions/blend-partial.json").read_text())
    assert (side["members"], side["honest"]) == ({"net0": [0]}, None)
    shutil.rmtree(folder / "data/predictions/net0")
    with pytest.raises(DataError, match="no finished fold"):
        run_submit(folder, partial=True)


def test_probabilities_in_the_samples_columns(tmp_path: Path) -> None:
    columns = ["image", "kind 3", "kind 1", "kind 0", "kind 2"]
    write_competition(tmp_path, style={"columns": columns, "kind": "probabilities", "newline": "\r\n", "bom": True})
    set_params(tmp_path, "blend: {method: soft, draws: 100, ablation: false}\nsubmit: {decimals: 4}")
    run_blend(tmp_path)
    run_submit(tmp_path)
    content = (tmp_path / "submissions/blend.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfimage,kind 3,kind 1,kind 0,kind 2\r\n")
    rows = [line.split(",") for line in content.decode("utf-8-sig").splitlines()[1:]]
    shares = np.array([[float(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=2e-4)
    labels = pq.read_table(tmp_path / "data/blend/test.parquet").column("log_probabilities").to_pylist()
    first = np.exp(np.array(labels[59]))  # the sample lists the test backwards
    np.testing.assert_allclose(shares[0], first[[3, 1, 0, 2]], atol=1e-3)


REFUSED = [
    ("blend: {method: given}", "needs weights"),
    ("blend: {method: given, weights: {net9: 1}}", "'net9'"),
    ("blend: {limits: {net0: [0.6, 0.2]}}", "least <= most"),
    ("blend: {limits: {net0: [0.6, 1], net1: [0.6, 1]}}", "sum to 1"),
    ("blend: {routes: [{classes: [kind 0, kind 9], member: net0}]}", "'kind 9'"),
    ("blend: {metod: auto}", "did you mean method"),
    ("blend: {power: 0}", "greater than 0"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text for text, _ in REFUSED])
def test_wrong_parameters_are_refused_before_anything_is_written(folder: Path, text: str, message: str) -> None:
    shutil.rmtree(folder / "data/blend")
    set_params(folder, text)
    with pytest.raises(ParamsError, match=message):
        run_blend(folder)
    assert not (folder / "data/blend").exists()


def test_names_of_submissions_stay_in_their_folder(folder: Path) -> None:
    for name in ("../x", "-f", "A b", ""):
        set_params(folder, f"blend: {{}}\nsubmit: {{name: {json.dumps(name)}}}")
        with pytest.raises(ParamsError, match=r"submit\.name"):
            run_submit(folder)


def test_tables_of_other_folds_and_missing_folds_are_refused(folder: Path, tmp_path: Path) -> None:
    write_competition(tmp_path / "other", n_train=100)
    target = folder / "data/predictions/net1/0/valid.parquet"
    shutil.copy(tmp_path / "other/data/predictions/net1/0/valid.parquet", target)
    with pytest.raises(IntegrityError, match="net1"):
        run_blend(folder)
    target.unlink()
    with pytest.raises(DataError, match="not found"):
        run_blend(folder)


def test_status_says_what_it_is_worth(folder: Path) -> None:
    paths = (folder / "data/blend/metrics.json", folder / "submissions", folder / "none", folder / "params.yaml")
    text = "\n".join(lines(*paths))
    scores = json.loads(paths[0].read_text())["blend"]
    assert f"{scores['score']:.4f}" in text
    assert (
        f"{scores['best_member']['score']:.4f} ± {scores['best_member']['error']:.4f}   chosen in the nesting" in text
    )
    assert all(f"{name} {value:.4f}" in text for name, value in scores["alone"].items())
    assert "blend.csv" in text
    assert "What to try next" in text
    with pytest.raises(DataError, match="dvc repro"):
        lines(folder / "nothing.json", *paths[1:])


def test_status_names_what_is_ahead_and_what_hurts(folder: Path) -> None:
    paths = (folder / "data/blend/metrics.json", folder / "submissions", folder / "none", folder / "params.yaml")
    head = "method,score,error,gain_of_chosen,error_of_difference,verdict\n"
    rows = "auto,.76,.01,0,0,chosen\nweighted,.768,.01,-.005,.002,ahead\ngreedy,.772,.01,-.009,.004,ahead\n"
    (folder / "data/blend/methods.csv").write_text(head + rows)
    found = [Effect("member", "net0", -0.85, 0.4, False), Effect("member", "net1", -0.1, 0.4, True)]
    (folder / "data/blend/ablation.csv").write_text(to_csv(found))
    text = "\n".join(lines(*paths))
    assert "greedy is ahead of auto by 0.9 ± 0.4 points" in text
    assert "the blend is better without net0 (-0.8 ± 0.4 points): take" in text


def test_each_member_alone_is_scored_as_scikit_learn_does(folder: Path) -> None:
    scores = json.loads((folder / "data/blend/metrics.json").read_text())["blend"]
    index = read_index(folder / "data/index")
    cut = read_folds(folder / "data/folds/folds.parquet", index)
    truth = dict(zip(index.train["image_id"], index.train["label"], strict=True))
    for name, value in scores["alone"].items():
        table = read_member(folder / "data/predictions" / name, cut.numbers, index, cut).oof
        rows = np.flatnonzero(table.view == "testlike")
        labels = decide("macro_f1", table.log_probabilities[rows])
        assert value == pytest.approx(f1_score([truth[i] for i in table.image_id[rows]], labels, average="macro"))


def test_a_blend_is_a_member_of_another_blend(folder: Path) -> None:
    shutil.copytree(folder / "data/blend", folder / "kim")
    set_params(folder, f"blend: {{draws: 100, ablation: false, others: {{kim: {json.dumps(str(folder / 'kim'))}}}}}")
    run_blend(folder)
    weights = json.loads((folder / "data/blend/weights.json").read_text())["weights"]
    assert set(weights) == {"kim", "net0", "net1", "net2"}
    set_params(folder, f"blend: {{others: {{net0: {json.dumps(str(folder / 'kim'))}}}}}")
    with pytest.raises(ParamsError, match="members already"):
        run_blend(folder)


def test_stacks_on_disk_give_the_same_blend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("data/blend/*")}
    monkeypatch.setattr("stages.stack.IN_MEMORY", 0)
    run_blend(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("data/blend/*")} == before
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["blend", "folds", "index", "predictions"]


def test_a_fit_reads_no_more_than_it_may(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.loads((folder / "data/blend/metrics.json").read_text())["blend"]["score"]
    monkeypatch.setattr("analysis.library.MOST_CELLS", 60 * 3 * 4)  # 60 rows of three members and four classes
    run_blend(folder)
    assert json.loads((folder / "data/blend/metrics.json").read_text())["blend"]["score"] > whole - 0.1


def test_what_is_expected_on_the_test_adds_up(made: Path) -> None:
    board = json.loads((made / "data/blend/metrics.json").read_text())["blend"]["board"]
    for part, rows in (("test", 60), ("public", 30), ("private", 30)):
        found = board[part]
        sum_of_parts = board["honest"] + board["gain_of_averaging_folds"] + found["gain_of_size"]
        assert found["score"] == pytest.approx(sum_of_parts)
        assert (found["rows"], found["low"] < found["score"] < found["high"]) == (rows, True)


def test_members_and_steps_are_ablated(made: Path) -> None:
    found = from_csv((made / "data/blend/ablation.csv").read_text())
    assert [one.name for one in found if one.kind == "member"] == ["net0", "net1", "net2"]
    steps = [one.name.split(" (")[0] for one in found if one.kind == "step"]
    assert steps[:3] == ["blending", "weights", "calibration"]


def test_ablation_against_other_predictions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, other = folder / "data", folder / "other"
    shutil.copytree(data / "predictions", other)
    index = read_index(data / "index")
    for path in other.glob("*/*/valid.parquet"):
        table = read_probabilities(path, index)
        rows = np.arange(len(table))
        logs = table.log_probabilities.copy()
        logs[rows % 3 == 0] = logs[rows % 3 == 0][:, ::-1]
        write_probabilities(path, replace(table, log_probabilities=logs))
    ablation.main(
        [f"same={data / 'predictions'}", f"care={other}"],
        index=data / "index",
        folds=data / "folds/folds.parquet",
        predictions=data / "predictions",
        blend=data / "blend",
        out=folder / "out",
        params=folder / "params.yaml",
    )
    rows_written = {one.name: one for one in from_csv((folder / "out/ablation.csv").read_text())}
    assert rows_written["same"].gain == 0.0
    assert rows_written["same"].tie
    assert rows_written["care"].gain > 5
    assert "net0" in rows_written
    assert "step care" in capsys.readouterr().out
    with pytest.raises(ParamsError, match="NAME=FOLDER"):
        ablation.main(["care"], params=folder / "params.yaml")
