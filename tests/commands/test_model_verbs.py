"""podium summary, predict and lr on a member that was really trained."""

import json
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from commands import lr, onnx, predict, summary
from models.onnx_file import NEEDED
from models.rate_finder import propose, smoothed
from stages import train
from stages.probabilities import read_probabilities
from stages.tables import read_index
from storage.errors import DataError, IntegrityError, ParamsError, ResourceError
from tests.small_index import digits
from tests.small_training import TEST, N, lay_out

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of one member, trained, and the test images as files."""
    folder = lay_out(tmp_path_factory.mktemp("contest"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for fold in (0, 1):
            place = {"run": Path(f"data/runs/cnn/{fold}"), "predictions": Path(f"data/predictions/cnn/{fold}")}
            data = {"index": Path("data/index"), "folds": Path("data/folds/folds.parquet")}
            train.main("cnn", fold, **data, **place, augmented=Path("data/augmented"), params=Path("params.yaml"))
    (folder / "new").mkdir()
    for i, pixels in enumerate(digits(N + TEST)[0][N:]):
        Image.fromarray(pixels).save(folder / f"new/test_{i}.png")
    pool = {"kind": "linear", "weights": [1.0]}
    blend = {"method": "soft", "members": ["cnn"], "pools": [pool], "before": [], "temperature": 1.0, "bias": []}
    (folder / "data/blend").mkdir()
    (folder / "data/blend/weights.json").write_text(json.dumps({"blend": {**blend, "routes": []}}))
    return folder


@pytest.fixture(autouse=True)
def inside(contest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(contest)


def test_summary_measures_the_memory_of_a_step(capsys: Capture) -> None:
    summary.main("cnn", memory=True)
    assert re.search(r"measured .* MB an image; .* batch \d+ fits, up to about [\d,]+ would", capsys.readouterr().out)


def test_predict_gives_what_the_pipeline_gave(contest: Path) -> None:
    predict.main([Path("new")], out=Path("labels.csv"))
    found = pd.read_csv("labels.csv")
    index = read_index("data/index")
    parts = [read_probabilities(f"data/predictions/cnn/{fold}/test.parquet", index) for fold in (0, 1)]
    expected = pd.DataFrame(np.mean([part.probabilities() for part in parts], axis=0), index=parts[0].image_id)
    ours = found.set_index(found["image"].map(lambda name: Path(name).stem)).filter(like="p_")
    np.testing.assert_allclose(ours.to_numpy(), expected.loc[ours.index].to_numpy(), atol=2e-5)
    assert len(found) == TEST
    assert (found["class"].astype(str) == [index.classes.names[i] for i in ours.to_numpy().argmax(axis=1)]).all()


def test_predict_takes_files_and_lists_and_prints_a_line_each(capsys: Capture) -> None:
    Path("list.csv").write_text("path\nnew/test_1.png\nnew/test_2.png\n")
    predict.main([Path("new/test_0.png"), Path("list.csv")], member="cnn", top=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["new/test_0.png", "new/test_1.png", "new/test_2.png"]
    assert all(line.count(",") == 1 for line in lines)


def test_predict_names_every_file_that_is_no_image_and_predicts_the_rest(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.png").write_bytes(b"not an image")
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be read \(2 in all\)(.|\n)*a\.png(.|\n)*b\.jpg"):
        predict.main([tmp_path])
    with pytest.raises(DataError, match=r"2 of 3 images cannot be read and have no line(.|\n)*a\.png(.|\n)*b\.jpg"):
        predict.main([tmp_path, Path("new/test_0.png")])
    assert capsys.readouterr().out.startswith("new/test_0.png: ")
    with pytest.raises(DataError, match=r"1 of 1 images not found, first: nowhere\.png"):
        predict.main([Path("nowhere.png")])
    with pytest.raises(ParamsError, match=r"no member 'resnet'; trained: cnn"):
        predict.main([Path("new/test_0.png")], member="resnet")


def test_folds_that_params_no_longer_list_do_not_count(capsys: Capture) -> None:
    predict.main([Path("new")], out=Path("before.csv"))
    shutil.copytree("data/runs/cnn/0", "data/runs/cnn/2")
    try:
        predict.main([Path("new")], out=Path("after.csv"))
    finally:
        shutil.rmtree("data/runs/cnn/2")
    assert Path("after.csv").read_text() == Path("before.csv").read_text()


def test_predict_refuses_weights_that_were_changed(contest: Path) -> None:
    path = Path("data/runs/cnn/0/model.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(IntegrityError, match="sha256 mismatch"):
            predict.main([Path("new/test_0.png")])
    finally:
        path.write_bytes(whole)


def test_summary_counts_parameters_and_multiply_adds(capsys: Capture) -> None:
    summary.main("cnn")
    said = capsys.readouterr().out
    # 3x3 convolutions 3->4 at 28 px and 4->8 at 14 px, BatchNorm, then a linear layer 8->10
    assert f"parameters       {3 * 4 * 9 + 8 + 4 * 8 * 9 + 16 + 8 * 10 + 10} (" in said
    assert f"multiply-adds    {3 * 4 * 9 * 28**2 + 4 * 8 * 9 * 14**2 + 80:,} per image" in said
    assert "28 px" in said


def test_summary_of_a_bare_backbone_and_of_a_wrong_name(capsys: Capture) -> None:
    summary.main("test_resnet", classes=7)
    assert "373,367 (373,367 trainable)" in capsys.readouterr().out
    summary.main(listed="squeezenet1")
    assert capsys.readouterr().out.split() == ["squeezenet1_0", "squeezenet1_1"]
    with pytest.raises(ParamsError, match="did you mean"):
        summary.main("test_resnett")
    with pytest.raises(ParamsError, match=r"models\.lonng is missing; did you mean long\?"):
        summary.main("lonng")
    with pytest.raises(ParamsError, match="no backbone's name contains 'zzz'"):
        summary.main(listed="zzz")


def test_the_rate_finder_proposes_a_rate_and_writes_its_curve(capsys: Capture) -> None:
    lr.main("cnn", steps=60, out=Path("lr.csv"))
    curve = pd.read_csv("lr.csv")
    assert 0 < len(curve) <= 60
    assert curve["lr"].is_monotonic_increasing
    assert re.search("proposed: lr: |no proposal: the loss does not fall clearly in 60 steps", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [
        (lambda log: 2.3 - np.clip(log + 4, 0, 2) + 9 * np.maximum(0, log + 0.5), 2e-3, 5e-3),  # floor from 1e-2 on
        (lambda log: 2.3 - np.clip(log + 4, 0, 1.5) ** 2 + 20 * np.maximum(0, log + 2.2), 8e-4, 2.2e-3),  # a V
        (lambda log: 2.3 - 0.01 * (log + 5), None, None),  # flat
        (lambda log: 2.3 + np.maximum(0, log + 1), None, None),  # only grows
    ],
)
def test_a_rate_is_proposed_where_the_floor_begins_or_not_at_all(
    shape: Callable[[Any], Any], low: float | None, high: float | None
) -> None:
    logs = np.linspace(-5, 0, 100)
    losses = (shape(logs) + np.random.default_rng(0).normal(0, 0.05, 100)).tolist()
    found = propose((10**logs).tolist(), losses, smoothed(losses))
    assert found is None if low is None or high is None else found is not None and low < found < high, found


def test_onnx_is_offered_or_says_what_to_install(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    if all(find_spec(package) for package in NEEDED):
        onnx.main("cnn", Path("exported"))
        assert capsys.readouterr().out.count("differs from torch by at most") == 2
        assert len(list(Path("exported").glob("cnn-*.onnx"))) == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"onnx is not installed\. Install it with: pip install -e '\.\[onnx\]'"):
        onnx.main("cnn", Path("exported"))
