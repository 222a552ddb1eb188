"""`podium predict`: classify images with the trained members, blended as the pipeline blended them.

Reads   image files, folders of them, or a CSV whose first column holds paths; data/runs/, data/blend/weights.json
Writes  a line per image on stdout, or a CSV with --out: image, class, its probability, and every class's probability

Images that cannot be read are named at the end, with exit code 2; the others are predicted all the same.

podium predict photo.jpg                       label and the three most probable classes
podium predict new/ --out labels.csv           a folder, into a CSV
podium predict list.csv --member resnet        one member alone
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from storage.errors import DataError, IntegrityError, ParamsError, problems

Matrix = npt.NDArray[np.float64]


def main(
    images: Annotated[list[Path], typer.Argument(help="Image files, folders, or CSVs of paths.")],
    member: Annotated[str | None, typer.Option(help="One member instead of the blend.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write; - for stdout.")] = None,
    *,
    top: Annotated[int, typer.Option(min=1, help="Classes to show per image.")] = 3,
    batch: Annotated[int, typer.Option(min=1, help="Images a batch.")] = 64,
    runs: Annotated[Path, typer.Option(help="Folder of the trained members.")] = Path("data/runs"),
    blend: Annotated[Path, typer.Option(help="Folder of the blend.")] = Path("data/blend"),
    params: Annotated[Path, typer.Option(help="Parameters: the folds that count.")] = Path("params.yaml"),
) -> None:
    """Classify images with the blended members."""
    from models.files import readable

    found_paths = find_images(images)
    paths, faults = readable(found_paths)
    if not paths:
        raise DataError(problems("images that cannot be read", faults))
    names, content = chosen_members(member, runs=runs, blend=blend)
    tables, classes = [], None
    for name in names:
        folds = trained_folds(runs / name, params)
        log_probabilities, found = member_log_probabilities(folds, paths, batch=batch)
        if classes is not None and found != classes:
            raise IntegrityError(f"{runs / name} knows classes {found[:5]}..., the members before it {classes[:5]}...")
        tables.append(log_probabilities)
        classes = found
    probabilities = np.exp(blended(np.stack(tables), content))
    write_table(paths, probabilities, classes or [], out=out, top=top)
    if faults:
        raise DataError(
            problems(f"{len(faults):,} of {len(found_paths):,} images cannot be read and have no line", faults)
        )


def find_images(given: Sequence[Path]) -> list[Path]:
    """The files that the arguments stand for; raises DataError for what does not exist or holds no image."""
    from storage.csvfile import read_csv
    from storage.intake import IMAGE_SUFFIXES

    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            paths += sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        elif path.suffix.lower() == ".csv":
            column = read_csv(path).iloc[:, 0]
            near = [path.parent / name for name in column]
            paths += [file if file.exists() else Path(name) for file, name in zip(near, column, strict=True)]
        else:
            paths.append(path)
    if not paths:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"no images in {', '.join(str(path) for path in given)} (known endings: {known})")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(paths)} images not found, first: {', '.join(missing[:5])}")
    return paths


def chosen_members(member: str | None, *, runs: Path, blend: Path) -> tuple[list[str], dict[str, Any] | None]:
    """The members that predict, and the blend that joins them (None: there is just one)."""
    known = sorted(path.name for path in runs.glob("*") if path.is_dir())
    if member is not None:
        if member not in known:
            raise ParamsError(f"{runs} holds no member {member!r}; trained: {', '.join(known) or 'none'}")
        return [member], None
    path = blend / "weights.json"
    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro blend, or name one of {', '.join(known)} with --member")
    content = json.loads(path.read_text(encoding="utf-8"))["blend"]
    return list(content["members"]), content


def trained_folds(folder: Path, params: Path) -> list[Path]:
    """A member's trained folds, of those that params.yaml lists: folders of others may be left from earlier runs."""
    from stages.params import run_lists

    listed = [folder / str(number) for number in run_lists(params)[1]]
    found = [fold for fold in listed if (fold / "model.json").is_file()]
    if not found:
        raise DataError(f"{folder} holds no trained fold of {[fold.name for fold in listed]}. Run: dvc repro")
    return found


def member_log_probabilities(folds: Sequence[Path], paths: Sequence[Path], *, batch: int) -> tuple[Matrix, list[str]]:
    """The mean over a member's folds, and its classes.  # (n_images, n_classes)"""
    from models.change import Normalise
    from models.files import ImageFiles
    from models.precision import FORMATS, region
    from models.predict import predict
    from models.tta import mean_of_views
    from models.weights import load_member

    found: list[Matrix] = []
    classes: list[str] = []
    for fold in folds:
        saved = load_member(fold)
        precision = str(saved.description["precision"])
        normalise = Normalise(saved.preprocessing, channels_last=FORMATS[precision].channels_last, device="cpu")
        pictures = ImageFiles(paths, saved.preprocessing)
        for network in saved.networks:
            views = predict(
                network, pictures, numbers=np.arange(len(paths)), normalise=normalise, batch=batch, views=saved.views,
                autocast=lambda name=precision: region(name, "cpu"),
            )  # fmt: skip
            found.append(np.exp(mean_of_views(views, saved.views).astype(np.float64)))
        if classes and classes != saved.class_names:
            raise IntegrityError(f"{fold} knows other classes than the folds before it. Run: dvc repro")
        classes = saved.class_names
    return np.log(np.maximum(np.mean(found, axis=0), 1e-38)), classes


def blended(tables: Matrix, content: dict[str, Any] | None) -> Matrix:
    """Log-probabilities of the blend.  # (n_members, n_images, n_classes) -> (n_images, n_classes)"""
    if content is None:
        return np.asarray(tables[0])
    from analysis.ensemble import from_json

    return np.asarray(from_json(content).apply(tables))


def write_table(
    paths: Sequence[Path], probabilities: Matrix, classes: list[str], *, out: Path | None, top: int
) -> None:
    """To the screen, or every class's probability as CSV; rounded to 6 digits before the label is chosen."""
    import pandas as pd

    from storage.atomic import write_text

    rounded = probabilities.round(6)
    best = rounded.argmax(axis=1)
    if out is None:
        for path, row in zip(paths, rounded, strict=True):
            order = np.argsort(-row, kind="stable")[:top]
            print(f"{path}: {', '.join(f'{classes[i]} {row[i]:.3f}' for i in order)}")
        return
    frame = pd.DataFrame({"image": [str(path) for path in paths], "class": [classes[i] for i in best]})
    frame["probability"] = rounded.max(axis=1)
    frame = pd.concat([frame, pd.DataFrame(rounded, columns=[f"p_{name}" for name in classes])], axis=1)
    text = frame.to_csv(index=False, lineterminator="\n")
    if str(out) == "-":
        print(text, end="")
    else:
        write_text(out, text)
