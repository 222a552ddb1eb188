"""Train one model on one fold; predict the fold's held-out images (clean and test-like) and the test set.

Reads   the index and its shards, the folds, the augmented copies; sections `train` and `models.<model>`.
Writes  RUN/: model.safetensors, model.json, metrics.json, curves.csv, tables and pictures of the held-out rows;
        PREDICTIONS/: valid.parquet, test.parquet. Checkpoints lie in .podium/checkpoints: a second start goes on.
Run     python -m stages.train resnet 0 --index data/index --folds data/folds/folds.parquet --augmented data/augmented
        --run data/runs/resnet/0 --predictions data/predictions/resnet/0
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer

from augmentation.copies import Copier
from augmentation.plan import class_strengths
from augmentation.recipe import RECIPE, AugmentParams
from models.schema import ModelParams
from stages.entry import entry
from stages.model_params import member_params
from stages.probabilities import Probabilities, write_probabilities
from stages.tables import (
    Folds,
    Index,
    read_folds,
    read_index,
)
from storage.atomic import write_json, write_text
from storage.errors import ParamsError

if TYPE_CHECKING:
    from models.feed import Online
    from models.material import Material
    from models.member import Trained
    from models.pictures import Pixels

UNITS = {"s": 1, "m": 60, "h": 3600}
STATE = Path(".podium")  # checkpoints, decoded images, measured speeds: never an output, safe to delete


def online_copies(params: ModelParams, material: Material, *, index: Index, augmented: Path) -> Online | None:
    """With `online: copies`, a function that gives each clean source a fresh copy by the recipe of `augment`.

    The recipe lies beside the stored copies, with the fitted strengths where they were asked for; the strength of a
    class holds here too.
    """
    if params.online != "copies":
        return None
    recipe = AugmentParams.model_validate_json((augmented / RECIPE).read_text(encoding="utf-8"))
    pictures = material.pictures
    strengths = class_strengths(recipe, index.classes.names)
    strength_of = dict(zip(index.train["image_id"], strengths[index.train["label"]], strict=True))
    thread = threading.local()  # a Copier holds buffers: one per thread

    def change(images: Pixels, numbers: npt.NDArray[np.int64], seeds: list[int]) -> Pixels:
        if not hasattr(thread, "copier"):
            thread.copier = Copier(recipe, size=(images.shape[1], images.shape[2]))
        changed = images.copy()
        for row, number in enumerate(numbers.tolist()):
            store, name = pictures.store_and_name(number)
            if store == "index":  # a clean source; pseudo-labelled images are noisy already
                draws = thread.copier.draw([name], [seeds[row] % 2**31], strength=np.array([strength_of[name]]))
                changed[row] = thread.copier.render_drawn(thread.copier.prepare(images[row]), draws, 0)
        return changed

    return change


def duration(text: str) -> float:
    """Seconds of `90`, `90s`, `20m` or `9h`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise ParamsError(f"--time-budget {text!r}: expected a time such as 90s, 20m or 9h")
    return seconds


def main(  # noqa: PLR0917 - typer's options
    model: Annotated[str, typer.Argument(help="a name under models in params.yaml")],
    fold: Annotated[int, typer.Argument(help="the fold that is held out")],
    index: Annotated[Path, typer.Option(help="folder of the index")],
    folds: Annotated[Path, typer.Option(help="table of the folds")],
    augmented: Annotated[Path, typer.Option(help="folder of the augmented copies")],
    run: Annotated[Path, typer.Option(help="folder for the weights and metrics")],
    predictions: Annotated[Path, typer.Option(help="folder for the tables of probabilities")],
    params: Annotated[Path, typer.Option(help="parameters")] = Path("params.yaml"),
    time_budget: Annotated[str | None, typer.Option(help="e.g. 90s, 20m, 9h; ends with valid results before")] = None,
) -> None:
    """Train one model on one fold."""
    started = time.monotonic()
    chosen = member_params(model, params)
    if time_budget is not None:
        chosen = chosen.model_copy(update={"time_budget": duration(time_budget)})
    the_index = read_index(index)
    the_folds = read_folds(folds, the_index)
    from stages.rows import build_material, give_back

    material, valid = build_material(
        fold, index=the_index, folds=the_folds, augmented=augmented, params=chosen, state_folder=STATE
    )
    give_back()
    from models.member import train_member

    online = online_copies(chosen, material, index=the_index, augmented=augmented)
    trained = train_member(
        model, fold, params=chosen, material=material, state_folder=STATE, started=started, online=online
    )
    if trained.rank > 0:
        return  # the first process writes for all
    write_run(run, model, fold, params=chosen, material=material, trained=trained, valid=valid)
    write_predictions(predictions, fold, index=the_index, folds=the_folds, valid=valid, trained=trained)
    write_text(predictions / "curves.csv", curves(trained.history).to_csv(index=False))  # compare draws it


def write_predictions(
    folder: Path, fold: int, *, index: Index, folds: Folds, valid: pd.DataFrame, trained: Any
) -> None:
    """The tables of probabilities: held-out rows, the test, and held-out rows without TTA where it was kept."""

    def table(ids: pd.Series, view: pd.Series, copy: pd.Series, logs: Any) -> Probabilities:
        return Probabilities(
            ids.to_numpy(object), view.to_numpy(object), copy.to_numpy(np.int64), np.full(len(ids), fold, np.int64),
            logs, index.classes.names, index.hash, folds.hash,
        )  # fmt: skip

    test, plain = index.test.assign(view="test", copy=0), folder / "plain.parquet"
    plain.unlink(missing_ok=True)
    if trained.plain is not None:
        write_probabilities(plain, table(valid["source"], valid["view"], valid["copy"], trained.plain))
    write_probabilities(folder / "valid.parquet", table(valid["source"], valid["view"], valid["copy"], trained.valid))
    write_probabilities(folder / "test.parquet", table(test["image_id"], test["view"], test["copy"], trained.test))


def write_run(
    folder: Path,
    model: str,
    fold: int,
    *,
    params: ModelParams,
    material: Material,
    trained: Trained,
    valid: pd.DataFrame,
) -> None:
    """Weights, description, metrics, and the report of the held-out rows."""
    from models.material import judged_view, scores_by_view
    from models.member import versions
    from models.pictures import Decoded
    from models.preprocessing import Preprocessing
    from models.report import HeldOut, write_report
    from models.weights import save_member

    description = {
        "model": model,
        "fold": fold,
        "params": params.model_dump(mode="json"),
        "preprocessing": trained.preprocessing.as_json(),
        "classes": material.class_names,
        "tta": trained.views,
        "precision": trained.precision,
        "precision_seconds_per_image": trained.speeds,
        "versions": versions(),
        "trained_on": material.identity,
    }
    save_member(folder, trained.networks, description)
    metrics = {**scores_by_view(material, trained.valid), "epochs": len(trained.history[0]), "stopped": trained.stopped}
    if params.keep == "best":
        metrics["optimism"] = trained.optimism
    write_json(folder / "metrics.json", metrics)
    picture_at = Preprocessing(96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fit="pad")
    pictures = Decoded(material.pictures, material.stores, picture_at)
    judged = np.flatnonzero(material.valid_view == judged_view(material.valid_view))
    rows = HeldOut(
        valid["source"].to_numpy(object)[judged],
        valid["copy"].to_numpy(np.int64)[judged],
        material.valid.label[judged],
        np.exp(trained.valid[judged].astype(np.float64)),
        material.class_names,
    )
    numbers = material.valid.picture[judged]
    write_report(
        folder,
        rows,
        curves=curves(trained.history),
        picture=lambda row: pictures.read(numbers[row : row + 1])[0],
        worst_count=params.worst,
        figures=params.figures,
        title=f"{model}, fold {fold}",
    )


def curves(histories: list[list[dict[str, Any]]]) -> pd.DataFrame:
    """One line per seed and epoch: rate, training loss, scores of both views."""
    lines = [
        {"seed": seed, "epoch": entry["epoch"], "lr": entry["lr"], "train_loss": entry["train_loss"]}
        | {f"{view}_{metric}": value for view, found in entry["scores"].items() for metric, value in found.items()}
        for seed, history in enumerate(histories)
        for entry in history
    ]
    return pd.DataFrame(lines)


if __name__ == "__main__":
    entry(main)
