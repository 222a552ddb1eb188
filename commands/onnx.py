"""`podium onnx`: the folds of a trained member as ONNX files, each checked against the network that it came from.

Reads   data/runs/<member>/<fold>/;  writes OUT/<member>-<fold>.onnx (uint8 RGB images in, probabilities out; classes
        and preprocessing in the file's metadata)

podium onnx resnet --out exported
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.predict import trained_folds


def main(
    member: Annotated[str, typer.Argument(help="A trained member.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("exported"),
    runs: Annotated[Path, typer.Option(help="Folder of the trained members.")] = Path("data/runs"),
    params: Annotated[Path, typer.Option(help="Parameters: the folds that count.")] = Path("params.yaml"),
) -> None:
    """Write a trained member as ONNX."""
    from models.onnx_file import write_onnx
    from models.weights import load_member

    for fold in trained_folds(runs / member, params):
        path = out / f"{member}-{fold.name}.onnx"
        gap = write_onnx(load_member(fold), path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; differs from torch by at most {gap:.1e}")
