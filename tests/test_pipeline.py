"""The true pipeline, on a few dozen real images, through `dvc repro` in a folder with a space in its name."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from layouts.embedded import add_noise, read_digits, write_png

ROOT = Path(__file__).parents[1]
CODE = ("stages", "layouts", "models", "augmentation", "analysis", "storage", "commands")
CLASSES, TRAIN_EACH, TEST_EACH = 3, 12, 6


def lay_out(folder: Path) -> None:
    """A tiny competition in the form of the default one: real digits, clean in train, noisy in test."""
    images, labels = read_digits()
    random = np.random.default_rng(7)
    train, test = ["ID,target"], ["ID,target"]
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
    for label in range(CLASSES):
        rows = np.flatnonzero(labels == label)
        for i in rows[:TRAIN_EACH]:
            write_png(folder / "train" / f"{i}.png", images[i])
            train.append(f"{i}.png,{label}")
        for i in rows[TRAIN_EACH : TRAIN_EACH + TEST_EACH]:
            write_png(folder / "test" / f"{i}.png", add_noise(images[i], random))
            test.append(f"{i}.png,0")
    (folder / "train.csv").write_text("\n".join([*train, ""]))
    (folder / "sample_submission.csv").write_text("\n".join([*test, ""]))
    (folder / "meta.csv").write_text("target,class_name\n" + "".join(f"{i},digit {i}\n" for i in range(CLASSES)))


def tiny_params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    params |= {"fetch": [], "members": ["cnn", "resnet"], "folds": [0, 1]}
    params["prepare"]["root"] = "data/raw/tiny"
    params["split"]["folds"] = 2
    params["augment"] |= {"copies": 2, "validation_copies": 1}
    params["train"] |= {"epochs": 1, "threads": 1, "precision": "fp32"}
    return params


class Project:
    """A copy of the repository, with dvc at hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in CODE:
            shutil.copytree(
                ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "report", "exploration")
            )
        for name in ("dvc.yaml", ".gitignore", ".dvcignore", "pyproject.toml"):
            shutil.copy(ROOT / name, root / name)
        (root / ".dvc").mkdir()
        shutil.copy(ROOT / ".dvc/config", root / ".dvc/config")
        (root / "data").mkdir()
        for name in ("labels.patch.csv", "folds.given.csv"):
            shutil.copy(ROOT / "data" / name, root / "data" / name)
        (root / "submissions/team").mkdir(parents=True)
        (root / "submissions/team/.gitkeep").touch()
        shutil.copy(ROOT / "submissions/ledger.csv", root / "submissions/ledger.csv")
        lay_out(root / "data/raw/tiny")
        self.write(tiny_params())
        self.run("git", "init", "--quiet")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "start")

    def write(self, params: dict[str, Any]) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    @property
    def environment(self) -> dict[str, str]:
        """This environment, with our interpreter first and nothing of the machine's DVC."""
        ours = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
        return ours | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc/tmp/site"),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *command: str, code: int = 0) -> str:
        result = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert result.returncode == code, f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}"
        return result.stdout

    def dvc(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, code=code)

    def would_run(self) -> set[str]:
        """The stages that `dvc repro` would run now."""
        return {
            line.split("'")[1] for line in self.dvc("repro", "--dry").splitlines() if line.startswith("Running stage")
        }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("a folder with spaces") / "podium")
    made.dvc("repro")
    return made


@pytest.fixture(autouse=True)
def restore_params(project: Project) -> Any:
    yield
    project.write(tiny_params())


def test_it_writes_a_submission_exactly_like_the_sample(project: Project) -> None:
    sample = (project.root / "data/raw/tiny/sample_submission.csv").read_bytes()
    written = (project.root / "submissions/blend.csv").read_bytes()
    assert [line.split(b",")[0] for line in written.split(b"\n")] == [
        line.split(b",")[0] for line in sample.split(b"\n")
    ]
    with (project.root / "submissions/blend.csv").open(newline="") as file:
        assert {row["target"] for row in csv.DictReader(file)} <= {str(i) for i in range(CLASSES)}
    sidecar = json.loads((project.root / "submissions/blend.json").read_text())
    assert "cnn" in json.dumps(sidecar) and "resnet" in json.dumps(sidecar)


def test_every_stage_leaves_what_it_promises(project: Project) -> None:
    for path in (
        "data/index/train.parquet",
        "data/noise/statistics.json",
        "data/folds/folds.parquet",
        "data/augmented/index.parquet",
        "data/runs/cnn/0/model.safetensors",
        "data/predictions/resnet/1/test.parquet",
        "data/blend/weights.json",
        "analysis/exploration/index.html",
        "analysis/report/index.html",
    ):
        assert (project.root / path).stat().st_size > 0, path


def test_running_again_runs_nothing(project: Project) -> None:
    assert project.would_run() == set()


@pytest.mark.parametrize(
    ("section", "change", "expected"),
    [
        (
            "models",
            {"cnn": {"backbone": "simple_cnn", "lr": 0.001}},
            {"check", "train@cnn-0", "train@cnn-1", "blend", "submit", "compare"},
        ),
        ("blend", {"method": "soft"}, {"check", "blend", "submit", "compare"}),
        ("submit", {"name": "blend", "decimals": 5}, {"check", "submit"}),
        ("compare", {"thumbnail": 128}, {"check", "compare"}),
    ],
)
def test_an_edit_reruns_only_what_it_touches(
    project: Project, section: str, change: dict[str, Any], expected: set[str]
) -> None:
    params = tiny_params()
    params[section] = params[section] | change
    project.write(params)
    assert expected & project.would_run() and project.would_run() <= expected


def test_removing_a_model_retrains_nothing(project: Project) -> None:
    project.write(tiny_params() | {"members": ["resnet"]})
    assert project.would_run() <= {"check", "blend", "submit", "compare"}


def test_a_typo_anywhere_stops_the_run_before_the_first_stage(project: Project) -> None:
    params = tiny_params()
    params["prepare"]["encoding"] = "jpeg"  # everything would run anew
    params["submit"]["nme"] = "x"
    params["models"]["resnet"]["backbone"] = "test_resne"
    project.write(params)
    output = project.dvc("repro", code=255)
    assert "submit.nme: unknown; did you mean name?" in output and "did you mean test_resnet" in output
    assert "Running stage 'prepare'" not in output


def test_dvc_shows_params_metrics_plots_and_the_graph(project: Project) -> None:
    params = tiny_params()
    params["train"]["epochs"] = 9
    project.write(params)
    assert "train.epochs" in project.dvc("params", "diff")
    assert "best_member" in project.dvc("metrics", "show")
    assert "train@cnn-0" in project.dvc("dag")
    assert "index.html" in project.dvc("plots", "show")  # scores, and what is taken for what


@pytest.mark.parametrize(
    ("break_it", "stage", "message"),
    [
        (lambda p: p["train"].update(epoch=3), "train@cnn-0", "train.epoch: unknown; did you mean epochs?"),
        (lambda p: p["prepare"].update(layout="csv_image"), "prepare", "csv_images"),
        (lambda p: p.update(members=["cnnn"]), "blend", "did you mean cnn?"),
    ],
)
def test_bad_params_stop_before_anything_is_written(project: Project, break_it: Any, stage: str, message: str) -> None:
    params = tiny_params()
    break_it(params)
    project.write(params)
    before = (project.root / "submissions/blend.csv").read_bytes()
    name = stage.split("@", maxsplit=1)[0]
    paths = "--index data/index --folds data/folds/folds.parquet"
    arguments = {
        "train": f"cnn 0 {paths} --augmented data/augmented --run data/x --predictions data/y",
        "prepare": "--raw data/raw/tiny --out data/x",
        "blend": f"{paths} --predictions data/predictions --out data/x --metrics data/x/metrics.json",
    }[name].split()
    output = project.run(sys.executable, "-m", f"stages.{name}", *arguments, code=3)
    assert message in output and "Traceback" not in output
    assert not (project.root / "data/x").exists()
    assert (project.root / "submissions/blend.csv").read_bytes() == before


def trainers(root: Path) -> list[int]:
    """The processes that train in this project."""
    found = []
    for process in psutil.process_iter():
        try:
            if "stages.train" in process.cmdline() and process.cwd() == str(root):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="dying with the parent is Linux's")
def test_killing_dvc_leaves_no_trainer_and_loses_nothing(project: Project) -> None:
    tables = [project.root / f"data/predictions/resnet/0/{name}.parquet" for name in ("valid", "test")]
    before = [table.read_bytes() for table in tables]
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "train@resnet-0"]
    running = subprocess.Popen(command, cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not trainers(project.root) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert trainers(project.root)
    time.sleep(3)  # somewhere between its imports and its last epoch
    running.kill()
    running.wait()
    deadline = time.monotonic() + 20
    while trainers(project.root) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not trainers(project.root)
    project.dvc("repro")
    assert [table.read_bytes() for table in tables] == before
