"""params.yaml is checked as a whole before anything runs."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.check import main, refusals
from storage.errors import ParamsError

ROOT = Path(__file__).parents[2]


def params(tmp_path: Path, change: Any) -> Path:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def test_the_default_is_in_order(tmp_path: Path) -> None:
    assert refusals(ROOT / "params.yaml") == []
    main(out=tmp_path / "checked.txt", params=ROOT / "params.yaml")
    first = (tmp_path / "checked.txt").read_bytes()
    main(out=tmp_path / "checked.txt", params=params(tmp_path, lambda p: p["train"].update(lr=0.1)))
    assert (tmp_path / "checked.txt").read_bytes() == first  # or an edit of anything would prepare anew


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p["blend"].update(metod="auto"), "blend.metod: unknown; did you mean method?"),
        (lambda p: p["train"].update(learning_rate=1), "train.learning_rate: unknown; did you mean lr?"),
        (lambda p: p["train"].update(batch_size=1), "train.batch_size: unknown; did you mean batch?"),
        (lambda p: p["train"].update(pretrained=True), "(weights to start from: none, hub, wheel"),
        (lambda p: p["models"]["cnn"].update(backbone="test_resne"), "models.cnn: backbone 'test_resne' is not known"),
        (lambda p: p["augment"]["operations"].update(rotat={}), "augment.operations.rotat: unknown; did you mean rot"),
        (lambda p: p["augment"]["operations"].update(rotate={"degrees": 40}), "expected a list such as [0, 1]"),
        (lambda p: p["prepare"]["options"].update(labl="x"), "prepare.options.labl: unknown; did you mean label?"),
        (lambda p: p["prepare"].update(root="data/raw/nowhere"), "prepare.root: 'data/raw/nowhere' is not a folder"),
        (lambda p: p["split"].update(folds=7), "set folds: [0, 1, ..., 6]"),
        (lambda p: p.update(members="cnn"), "members: expected a list of the models to train, such as [cnn]"),
        (lambda p: p.update(folds=3), "folds: expected [0, 1, 2, ...]"),
        (lambda p: p.update(members=["my cnn"], models={"my cnn": {"backbone": "simple_cnn"}}), "becomes a folder"),
        (lambda p: p.pop("compare"), "the section compare is missing; for its defaults write compare: {}"),
        (lambda p: p.pop("fetch"), "the section fetch is missing"),
        (lambda p: p["submit"].pop("name"), "submit.name is missing: of the CSV"),
        (lambda p: p["prepare"].pop("root"), "prepare.root is missing: the competition's folder"),
        (lambda p: p["prepare"].update(layout="csv"), "prepare.layout: no layout 'csv'; there are csv_images"),
        (lambda p: p["fetch"].update(digits=[{"to": "../x"}]), "fetch.digits.0.to"),
    ],
)
def test_it_names_what_is_wrong_and_where(tmp_path: Path, change: Any, told: str) -> None:
    path = params(tmp_path, lambda p: (p["prepare"].setdefault("options", {}), change(p)))
    with pytest.raises(ParamsError) as refused:
        main(params=path)
    assert told in str(refused.value) and f"\n  {path}:" in str(refused.value)


def test_it_names_everything_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    def break_much(values: Any) -> None:
        values["submit"]["nme"] = "x"
        values["prepare"]["layot"] = "idx"
        values["train"]["epochs"] = 0

    found = refusals(params(tmp_path, break_much))
    assert [line.split(": ")[1] for line in found] == ["prepare.layot", "train.epochs", "submit.nme"]


def test_it_loads_no_torch() -> None:
    import subprocess

    code = "import sys, stages.check as c; c.refusals(c.Path('params.yaml')); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
