"""Every recipe is complete, valid in every section, and reads its data set as it lies on disk."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.recipes import LAID_OUT, read_recipe, reduced
from stages.check import refusals
from stages.params import SECTIONS, read_params, run_lists, section
from stages.prepare import PrepareParams
from stages.prepare import main as prepare
from stages.split import main as split
from stages.tables import read_folds, read_index

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*/params.yaml"))
NAMES = [path.parent.name for path in RECIPES]


def test_all_recipes_are_there() -> None:
    assert {"documents", "masks", "cifar100", "grains", "pets", "fashion-mnist", "digits"} <= set(NAMES)
    assert set(LAID_OUT) == set(NAMES) - {"digits"}


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_recipe_fits_every_schema(path: Path) -> None:
    assert [line for line in refusals(path) if "is not a folder" not in line] == []  # the data are not here
    members, _ = run_lists(path)
    assert set(members) <= set(read_params(path).values["models"])
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    tracked = {name for stage in stages.values() for name in stage.get("params", []) if "." not in name}
    assert tracked <= set(read_params(path).values) <= {*SECTIONS, "members", "folds"}


@pytest.mark.parametrize("path", [path for path in RECIPES if path.parent.name != "digits"])
def test_recipe_says_where_it_comes_from_and_what_to_expect(path: Path) -> None:
    head = path.read_text().partition("\nmembers:")[0]
    for word in ("Source", "Data", "Expect", "Needs"):
        assert re.search(rf"^# {word} ", head, re.MULTILINE), word
    assert section("prepare", PrepareParams, path=path).root in head


def test_digits_is_the_default() -> None:
    default = ROOT / "params.yaml"
    if yaml.safe_load(default.read_text())["prepare"]["root"] != "data/raw/digits":
        pytest.skip("params.yaml is your own")
    committed = subprocess.run(["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, check=False).stdout
    assert (ROOT / "recipes/digits/params.yaml").read_bytes() in (default.read_bytes(), committed), (
        "run: cp params.yaml recipes/digits/params.yaml"
    )


@pytest.mark.parametrize("name", sorted(LAID_OUT))
def test_recipe_prepares_and_splits_its_data(tmp_path: Path, name: str) -> None:
    params: dict[str, Any] = reduced(read_recipe(name))
    root = LAID_OUT[name](tmp_path / "raw")
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params, allow_unicode=True))
    prepare(root, tmp_path / "index", work=tmp_path / "work", params=path)
    split(tmp_path / "index", tmp_path / "folds/folds.parquet", params=path)
    index = read_index(tmp_path / "index")
    folds = read_folds(tmp_path / "folds/folds.parquet", index)
    assert folds.numbers == [0, 1]
    groups = index.train["group"]
    together = folds.table["fold"][groups.to_numpy() != ""].groupby(groups[groups != ""].to_numpy()).nunique()
    assert (together <= 1).all()
    expected = {"documents": 17, "masks": 18, "cifar100": 100, "grains": 7, "pets": 6, "fashion-mnist": 10}
    assert len(index.classes.names) == expected[name]
