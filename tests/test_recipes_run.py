"""Every recipe, reduced, from its data set's real layout to a submission, through `dvc repro`: pytest -m slow."""

from pathlib import Path

import pytest

from benchmarks.recipes import ROOT, run

RECIPES = sorted(path.parent.name for path in (ROOT / "recipes").glob("*/params.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "digits"])  # digits: test_pipeline.py
def test_a_recipe_ends_in_a_submission(name: str, tmp_path: Path) -> None:
    assert run(name, tmp_path, members=2, folds=2)["submission_fits_sample"]
