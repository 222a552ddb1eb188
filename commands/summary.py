"""`podium summary`: parameters, trainable parameters, multiply-adds and memory of a model, before it is trained.

Reads   params.yaml (for a model of yours), data/index/classes.json where it exists

podium summary resnet              a model of params.yaml
podium summary convnext_tiny       any backbone, with the defaults
podium summary resnet --memory     and train a few steps: what memory they take, and the largest batch that fits
podium summary --list convnext     names of backbones that contain a text
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storage.errors import ParamsError

if TYPE_CHECKING:
    from models.schema import ModelParams


def main(
    model: Annotated[str | None, typer.Argument(help="A name under models in params.yaml, or a backbone.")] = None,
    listed: Annotated[str | None, typer.Option("--list", help="Show the backbones that contain this.")] = None,
    *,
    memory: Annotated[bool, typer.Option("--memory", help="Measure the memory of training steps.")] = False,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes; default: the index's, else 10.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Side of the input; default: the model's.")] = None,
    params: Annotated[Path, typer.Option(help="Parameters.")] = Path("params.yaml"),
    index: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("data/index"),
) -> None:
    """Show what a model is made of."""
    if listed is not None:
        from models.names import names

        found = [name for name in names() if listed.lower() in name]
        if not found:
            raise ParamsError(f"no backbone's name contains {listed!r}")
        print("\n".join(found))
        return
    if model is None:
        raise ParamsError("name a model of params.yaml or a backbone, or look for one: podium summary --list resnet")
    chosen = chosen_params(model, params)
    print(f"{model}: {chosen.backbone}, being built ...", file=sys.stderr, flush=True)
    from models.network import build_network
    from models.summary import summarise

    if size is not None:
        chosen = chosen.model_copy(update={"size": size})
    network, preprocessing = build_network(chosen, classes or count_classes(index))
    summary = summarise(network, preprocessing.size)
    print(f"{model}: {chosen.backbone}, {preprocessing.size} px\n")
    print(f"{'block':<24}{'output':>16}{'parameters':>14}{'trainable':>14}{'multiply-adds':>18}{'outputs MB':>12}")
    for line in summary.lines:
        shape = " x ".join(str(n) for n in line.shape)
        numbers = f"{line.parameters:>14,}{line.trainable:>14,}{line.multiply_adds:>18,}{line.activations / 1e6:>12.2f}"
        print(f"{line.name.removeprefix('backbone.')[:23]:<24}{shape:>16}{numbers}")
    print()
    print(f"parameters       {summary.parameters:,} ({summary.trainable:,} trainable)")
    print(f"multiply-adds    {summary.multiply_adds:,} per image")
    print(f"weights          {summary.parameters * 4 / 1e6:,.1f} MB in fp32")
    print(f"training memory  about {summary.training_bytes(chosen.batch) / 1e6:,.0f} MB at batch {chosen.batch}")
    if memory:
        print(f"measured         {measured_memory(chosen, classes or count_classes(index))}")
    p = preprocessing
    print(f"preprocessing    {p.size} px, {p.interpolation}, {p.fit}; mean {p.mean}, std {p.std}")


def measured_memory(params: ModelParams, n_classes: int) -> str:
    """What training steps took here, and the largest batch that fits."""
    from models.memory import training_need

    need = training_need(params, n_classes)
    fits = need.largest
    text = f"{need.fixed / 1e6:,.0f} MB + {need.per_image / 1e6:,.3g} MB an image; {need.room / 1e6:,.0f} MB to be had"
    if fits >= params.batch:
        return f"{text}: batch {params.batch} fits, up to about {fits:,} would"
    if not fits:
        return f"{text}: not even one image fits. Choose a smaller size or backbone"
    return f"{text}: batch {params.batch} does not fit. Set batch: {fits}, accumulate: {-(-params.batch // fits)}"


def chosen_params(model: str, path: Path) -> ModelParams:
    """A model of params.yaml, or a bare backbone with the section `train`."""
    from models.names import names, origin
    from models.schema import ModelParams, TrainParams, member_values
    from stages.model_params import member_params
    from stages.params import check, read_params
    from storage.names import near

    if path.is_file():
        read = read_params(path)
        if model in (read.values.get("models") or {}):
            return member_params(model, path)
        own = near(model, read.values.get("models") or {}, likeness=0.7)
        if own and model not in names():
            raise ParamsError(f"{path}: models.{model} is missing; did you mean {own[0]}?")
        origin(model)
        train = read.values.get("train") or {}
        check(read, ("train",), train, TrainParams)
        kept = {key: value for key, value in train.items() if key != "backbone_options"}
        return ModelParams(**member_values(kept, {"backbone": model}))
    origin(model)
    return ModelParams(backbone=model)


def count_classes(index: Path) -> int:
    """The number of classes of the competition at hand; ten where none is prepared."""
    path = index / "classes.json"
    return len(json.loads(path.read_text(encoding="utf-8"))["names"]) if path.is_file() else 10
