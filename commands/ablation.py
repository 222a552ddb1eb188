"""`podium ablation --against NAME=FOLDER`: what a step of the training gained, on honest scores.

FOLDER holds the predictions of the same members made without that step (augmentation, TTA, ...): clone the project,
change the parameter, run the training there, and give its data/predictions. Index and folds have to be the same.
Reads data/blend/ablation.csv (members and steps of the blend) and writes --out/ablation.{csv,svg} with the new lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storage.errors import ParamsError

Against = Annotated[list[str], typer.Option(help="NAME=FOLDER: predictions made without the step NAME.")]


def main(
    against: Against,
    *,
    index: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("data/index"),
    folds: Annotated[Path, typer.Option(help="Table of the folds.")] = Path("data/folds/folds.parquet"),
    predictions: Annotated[Path, typer.Option(help="Our predictions.")] = Path("data/predictions"),
    blend: Annotated[Path, typer.Option(help="Folder of the blend.")] = Path("data/blend"),
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("analysis"),
    params: Annotated[Path, typer.Option(help="Parameters.")] = Path("params.yaml"),
) -> None:
    """What a step of the training gained, on honest scores."""
    from analysis import ablation
    from analysis.judge import Entry, Hearing, Judge
    from stages.blend_params import BlendParams, options, plan
    from stages.params import run_lists, section
    from stages.stack import Place, read_stack
    from stages.tables import read_folds, read_index
    from storage.atomic import write_text

    pairs = [text.partition("=") for text in against]
    if any(not folder for _, _, folder in pairs):
        raise ParamsError(f"--against takes NAME=FOLDER, not {against}")
    chosen = section("blend", BlendParams, path=params)
    names, numbers = run_lists(params)
    data = read_index(index)
    cut = read_folds(folds, data)
    told = options(chosen, sorted([*names, *chosen.others]), data.classes.names)

    def heard(folder: Path) -> tuple[Entry, Judge]:
        stack = read_stack(Place(folder, data, cut, out), names, numbers, chosen.others)
        hearing = Hearing(stack.library, stack.oof_rows.view, plan(chosen, told))
        return hearing.entry(chosen.method), hearing.judge

    ours, judge = heard(predictions)
    found = [ablation.effect("step", name, judge, ours, heard(Path(folder))[0]) for name, _, folder in pairs]
    old = blend / "ablation.csv"
    found = [*(ablation.from_csv(old.read_text(encoding="utf-8")) if old.is_file() else []), *found]
    write_text(out / "ablation.csv", ablation.to_csv(found))
    write_text(out / "ablation.svg", ablation.to_svg(found))
    for one in found:
        print(f"{one.gain:+6.2f} ± {one.error:.2f} points  {one.kind} {one.name}{'  (a tie)' if one.tie else ''}")
