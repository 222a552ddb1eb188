"""`podium lr`: a learning rate for a model of params.yaml, from one short training with a growing rate.

Reads   params.yaml, data/index/, data/folds/, data/augmented/; writes nothing, or the curve with --out

podium lr resnet                  rate and a small plot of the loss
podium lr resnet --out lr.csv     rate, loss
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.rate_finder import Curve

WIDTH, LINES = 50, 16


def main(
    model: Annotated[str, typer.Argument(help="A name under models in params.yaml.")],
    steps: Annotated[int, typer.Option(min=40, help="Steps to train for.")] = 100,
    out: Annotated[Path | None, typer.Option(help="CSV of the curve.")] = None,
    *,
    fold: Annotated[int, typer.Option(help="The fold left out.")] = 0,
    params: Annotated[Path, typer.Option(help="Parameters.")] = Path("params.yaml"),
    index: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("data/index"),
    folds: Annotated[Path, typer.Option(help="Table of the folds.")] = Path("data/folds/folds.parquet"),
    augmented: Annotated[Path, typer.Option(help="Folder of the augmented copies.")] = Path("data/augmented"),
) -> None:
    """Find a learning rate."""
    from stages.model_params import member_params
    from stages.rows import build_material
    from stages.tables import read_folds, read_index
    from storage.atomic import write_text

    chosen = member_params(model, params)
    the_index = read_index(index)
    the_folds = read_folds(folds, the_index)
    material, _ = build_material(fold, index=the_index, folds=the_folds, augmented=augmented, params=chosen)
    from models.rate_finder import rate_curve

    curve = rate_curve(chosen, material, steps=steps)
    if out is not None:
        lines = [f"{rate:.6g},{loss:.6g}" for rate, loss in zip(curve.rates, curve.losses, strict=True)]
        write_text(out, "\n".join(["lr,loss", *lines]) + "\n")
    show(curve)
    if curve.proposal is None:
        print(f"\nno proposal: the loss does not fall clearly in {steps} steps. Try --steps {4 * steps}")
        return
    print(f"\nproposed: lr: {curve.proposal:.1g}   (now {chosen.lr:g}; set train.lr or models.{model}.lr)")


def show(curve: Curve) -> None:
    """Bars of the smoothed loss over the rate."""
    low, high = min(curve.losses), max(curve.losses)
    every = max(1, len(curve.rates) // LINES)
    for rate, loss in list(zip(curve.rates, curve.losses, strict=True))[::every]:
        filled = round(WIDTH * min(1.0, (loss - low) / max(high - low, 1e-9)))
        print(f"{rate:8.1e}  {loss:8.4f}  {'█' * filled}")
