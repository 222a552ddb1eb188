"""Grow the clean training images into noisy copies, and make test-like copies of the held-out ones.

Reads the index, the folds and, with `strength: fitted`, data/noise/fitted.yaml; writes data/augmented/: index.parquet
(one row per copy, with source, partner, fold and drawn values), recipe.json and tar shards. Unfinished work lies in
.podium/augment/, so a killed run goes on at the next unfinished shard and ends in the same bytes.

    python -m stages.augment --index data/index --folds data/folds/folds.parquet --noise data/noise --out data/augmented
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import cv2
import numpy as np
import pandas as pd
import simplejpeg
import typer

from augmentation.catalogue import open_catalogue
from augmentation.plan import Plan, plan_copies
from augmentation.recipe import RECIPE, AugmentParams
from augmentation.workers import run
from augmentation.writing import Places, ShardTask, copy_sizes, cut_shards, mean_bytes, places_in_shard, write_shard
from stages.entry import entry
from stages.fitted import recipe_in_use
from stages.tables import Folds, Index, content_hash, read_folds, read_index, write_augmented
from storage.atomic import TEMPORARY, building, replace_folder, write_json
from storage.errors import ResourceError

WORK = Path(".podium/augment")
VERSION = 5  # raised whenever the same recipe would give other pixels


def main(
    *,
    index: Annotated[Path, typer.Option(help="The folder of the index.")],
    folds: Annotated[Path, typer.Option(help="The table of folds.")],
    noise: Annotated[Path, typer.Option(help="The folder with fitted.yaml, read with strength: fitted.")],
    out: Annotated[Path, typer.Option(help="The folder of the copies.")],
    work: Annotated[Path, typer.Option(help="Where unfinished work lies.")] = WORK,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Grow the clean training images into noisy copies."""
    recipe = recipe_in_use(params, noise)
    data = read_index(index)
    table = augment(recipe, data, read_folds(folds, data), out=out, work=work)
    views = table["view"].value_counts()
    items = views.get("train", 0) + recipe.include_clean * len(data.train)
    if recipe.mode == "offline" and recipe.total not in (None, items):
        print(
            f"augment: {items:,} training items, not the {recipe.total:,} of augment.total, as every clean image stays"
        )
    print(f"augment: {views.get('train', 0):,} training and {views.get('testlike', 0):,} test-like copies in {out}")
    if recipe.mode == "online":
        print("augment: training copies are drawn while training, by the models that have online: copies")


def augment(params: AugmentParams, index: Index, folds: Folds, *, out: Path, work: Path) -> pd.DataFrame:
    """Write all copies to `out`; returns their table. Wrong parameters are refused before anything is written."""
    from augmentation.compiling import announce  # loads numba

    open_catalogue(params.extra, probed_shapes(params, index.train))
    announce()
    plan = plan_copies(params, index.train, folds.table["fold"].to_numpy(), index.classes.names)
    bytes_per_copy = mean_bytes(plan, index.train, params=params, source_folder=index.folder)
    tasks = cut_shards(plan, index.train, encoding=params.encoding, bytes_per_copy=bytes_per_copy)
    folder = work / work_key(params, index, folds)
    with alone(folder):
        finished = {task.name: found for task in tasks if (found := places_in_shard(folder, task)) is not None}
        remaining = [task for task in tasks if task.name not in finished]
        require_space(folder, bytes_per_copy * sum(task.last - task.first for task in remaining))
        if other_disk(folder, out):
            require_space(out.parent, bytes_per_copy * len(plan.source))
        finished |= write_all(remaining, params=params, source_folder=index.folder, folder=folder)
        places = {task.name: finished[task.name] for task in tasks}
        table = place_copies(plan, params, index, places)
        try:
            write_augmented(folder / "index.parquet", table, index, folds)
            write_json(folder / RECIPE, params.model_dump(mode="json", exclude={"workers", "backend"}))
            publish(folder, out)
        except OSError as error:  # copytree collects them
            why = error.strerror or error.args[0][0][-1]
            raise ResourceError(f"{out} cannot be written: {why}. The copies wait in {folder}; run it again") from None
    return table


def probed_shapes(params: AugmentParams, train: pd.DataFrame) -> list[tuple[int, int]]:
    """The (height, width) of the copies; with `size: null` the smallest, the largest, the tallest and the widest."""
    if params.height_width is not None:
        return [params.height_width]
    height, width = train["height"].to_numpy(), train["width"].to_numpy()
    extremes = {int(find(score)) for find in (np.argmin, np.argmax) for score in (height * width, height / width)}
    return [(int(height[i]), int(width[i])) for i in sorted(extremes)]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of unfinished work; clear away what other, interrupted recipes left beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        if not locked(lock):
            raise ResourceError(f"another run is writing the same copies ({folder}). Wait for it, or stop it")
        for other in folder.parent.glob("*.lock"):
            if other.stem != folder.name:
                with other.open("w") as theirs:
                    if locked(theirs):
                        shutil.rmtree(other.with_suffix(""), ignore_errors=True)
                        other.unlink(missing_ok=True)
        for leftover in folder.glob(f"{TEMPORARY}*"):
            leftover.unlink()
        yield
        Path(lock.name).unlink()


def locked(file: IO[str]) -> bool:
    """Take the lock of an open file if nobody has it; a process that dies gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_all(tasks: list[ShardTask], *, params: AugmentParams, source_folder: Path, folder: Path) -> dict[str, Places]:
    """Write the shards that are missing, and say how it goes once a minute; returns the members of each."""
    workers = params.workers or os.cpu_count() or 1
    job = partial(write_shard, params=params, source_folder=source_folder, folder=folder)
    started = said = time.monotonic()
    done, total = 0, sum(len(task.members) for task in tasks)
    written: dict[str, Places] = {}
    for name, places in run(job, tasks, workers=min(workers, max(1, len(tasks))), backend=params.backend):
        written[name] = places
        done += len(places)
        now = time.monotonic()
        if now - said > 60:
            speed, said = done / (now - started), now
            print(
                f"augment: {done:,} of {total:,}, {speed:,.0f} images/s, {(total - done) / speed:,.0f} s left",
                flush=True,
            )
    return written


def work_key(params: AugmentParams, index: Index, folds: Folds) -> str:
    """A name for everything that determines the bytes; workers and backend do not."""
    recipe = params.model_dump_json(exclude={"workers", "backend"})
    return content_hash(
        [VERSION, recipe, index.hash, folds.hash, cv2.__version__, simplejpeg.__version__, np.__version__]
    )


def require_space(folder: Path, needed: float) -> None:
    """Refuse to start where the copies will not fit."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{folder}: the copies need about {needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free. "
            "Make room, or lower augment.copies, augment.size or augment.jpeg_quality"
        )


def place_copies(plan: Plan, params: AugmentParams, index: Index, places: dict[str, Places]) -> pd.DataFrame:
    """The plan's table with the place of each copy on disk; `places` are in the order of the plan."""
    shards = [f"{name}.tar" for name, members in places.items() for _ in members]
    width, height = copy_sizes(params, plan, index.train)
    offsets = np.array([place for members in places.values() for place in members], dtype=np.int64).reshape(-1, 2)
    return plan.table.assign(
        shard=shards, offset=offsets[:, 0], size=offsets[:, 1], width=width, height=height, encoding=params.encoding
    )


def other_disk(folder: Path, out: Path) -> bool:
    """Whether `out` cannot simply be renamed from `folder`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return folder.stat().st_dev != out.parent.stat().st_dev


def publish(folder: Path, out: Path) -> None:
    """The finished folder becomes `out`, whole; on another disk it is copied first."""
    for leftover in out.parent.glob(f"{TEMPORARY}{out.name}-*"):  # of a run that was killed right here
        shutil.rmtree(leftover)
    if other_disk(folder, out):
        with building(out) as whole:
            shutil.copytree(folder, whole, dirs_exist_ok=True)
        shutil.rmtree(folder)
        return
    replace_folder(folder, out)


if __name__ == "__main__":
    entry(main)
