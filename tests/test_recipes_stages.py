"""Two recipes, reduced, through every command of dvc.yaml in one process; all through DVC: make test-recipes."""

import importlib
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from benchmarks.recipes import LAID_OUT, read_recipe, reduced
from stages.tables import read_index
from storage.csvfile import read_csv

ROOT = Path(__file__).parents[1]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def commands(params: dict[str, Any]) -> Iterator[list[str]]:
    """The commands that DVC would run, in order, as words; files are in place, so nothing is fetched."""
    for name, stage in STAGES.items():
        if name == "fetch":
            continue
        for member in params["members"] if "matrix" in stage and "model" in stage["matrix"] else [""]:
            for fold in params["folds"] if "matrix" in stage and "fold" in stage["matrix"] else [""]:
                text = stage["cmd"].replace("${prepare.root}", params["prepare"]["root"])
                yield shlex.split(text.replace("${item.model}", member).replace("${item.fold}", str(fold)))


@pytest.mark.parametrize("name", ["masks", "grains"])
def test_a_recipe_runs_from_its_files_to_a_submission(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = reduced(read_recipe(name), members=1, folds=2) | {"fetch": {}}
    monkeypatch.chdir(tmp_path)
    LAID_OUT[name](Path(params["prepare"]["root"]))
    Path("params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    Path("submissions/team").mkdir(parents=True)
    for file in ("labels.patch.csv", "folds.given.csv"):
        shutil.copy(ROOT / "data" / file, Path("data") / file)
    for words in commands(params):
        assert words[:3] == ["exec", "python", "-m"]
        app = typer.Typer()
        app.command()(importlib.import_module(words[3]).main)
        result = CliRunner().invoke(app, words[4:])
        assert result.exit_code == 0, f"{' '.join(words)}: {result.output} {result.exception}"
    submission = read_csv(f"submissions/{params['submit']['name']}.csv")
    assert submission.iloc[:, 0].tolist() == read_index("data/index").classes.submission.row_ids
    assert Path("analysis/report/index.html").is_file()
    assert Path("analysis/exploration/index.html").is_file()
