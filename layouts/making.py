"""All shards of a listing, by several processes: room on the disk is checked first, and a death is traced to its image.

A decoder that crashes takes its process down, and joblib all the others with it. What each process had at hand is then
read again, alone, in a process with limits: what dies there is told like any other bad image, and the rest goes on.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from layouts.canonical import POSITION, read_one, run
from layouts.facts import settle
from layouts.records import Listing
from layouts.tasks import FEWEST, Form, Outcome, Task, tasks
from storage.errors import DataError, PodiumError, ResourceError, problems
from storage.shards import BLOCK as TAR_BLOCK

SAMPLED = 64  # images whose size tells how large all will be
MEMORY = 2 * 2**30  # bytes that one image may take beyond what an empty worker has
SECONDS = 60  # of processor time that one image may take
Advance = Callable[[int, int], None]  # images so far, in all


def make_shards(listing: Listing, form: Form, folder: Path, workers: int, advance: Advance) -> list[Outcome]:
    """All shards of a listing, in order, in `folder`; `workers` processes, 0 for one per core.

    Raises DataError with the problems of all images, ResourceError where the disk is, or would become, full.
    """
    n_images = len(listing.train) + len(listing.test)
    workers = min(workers or os.cpu_count() or 1, -(-n_images // FEWEST))
    todo = {task.name: task for task in tasks(listing, form, folder)}
    try:
        found = deadly(todo)  # what a run that was killed had at hand
        check_room(folder, todo.values(), workers)
        outcomes, more = all_of(todo, workers, folder, advance)
        found += more
    finally:
        if workers > 1:
            from joblib.externals.loky import get_reusable_executor

            executor = get_reusable_executor(workers, reuse=True)
            executor.shutdown(kill_workers=not todo)  # where all have answered; the tables need their memory
    if found or any(outcome.problems for outcome in outcomes):
        told = [*found, *(problem for outcome in outcomes for problem in outcome.problems)]
        refused = problems(f"images below {listing.root} cannot be used", sorted(told))
        if any(" is cut off " in problem for problem in told):
            refused += "\nTraining images that are cut off may be left out: prepare.truncated: drop"
        raise DataError(refused)
    return sorted(outcomes, key=lambda outcome: outcome.name)


def all_of(todo: dict[str, Task], workers: int, folder: Path, advance: Advance) -> tuple[list[Outcome], list[str]]:
    """What became of every task, and the images that took a process down. Raises ResourceError."""
    outcomes: list[Outcome] = []
    found: list[str] = []
    n_images = sum(len(task.rows) for task in todo.values())
    while todo:
        try:
            for outcome in in_processes(run, list(todo.values()), workers):
                settle(todo[outcome.name])
                outcomes.append(outcome)
                advance(sum(done.images for done in outcomes), n_images)
                del todo[outcome.name]
        except _DeathError:
            killed = deadly(todo)
            if not killed:
                raise ResourceError(_unexplained(todo, folder)) from None
            found += killed
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ResourceError(_full(folder)) from None
    return outcomes, found


class _DeathError(Exception):
    """A process died; the message tells how."""


def in_processes(work: Callable[..., Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    """`work` of each item as it is done, by so many processes (one: this one). Raises _DeathError where one dies."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    pool = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)
    try:
        yield from pool(delayed(work)(item) for item in items)
    except TerminatedWorkerError as error:
        raise _DeathError(str(error)) from None


def deadly(todo: dict[str, Task]) -> list[str]:
    """Of the images that dead processes had at hand, those that kill another one: told, and left out of the tasks."""
    suspects = []
    for name, position in at_hand(todo):
        task = todo[name]
        suspects.append(replace(task, rows=task.rows.slice(position - task.start, 1), start=position))
    told = []
    for alone, reason in zip(suspects, deaths_of(suspects), strict=True):
        if reason:
            told.append(f"{alone.rows['path'][0]} ({alone.rows['image_id'][0]}): {reason}")
            todo[alone.name] = replace(todo[alone.name], skip=todo[alone.name].skip | {alone.start})
    return told


def at_hand(todo: dict[str, Task]) -> Iterator[tuple[str, int]]:
    """(shard, position) of the images that stopped processes were reading; their marks are taken away."""
    for name, task in todo.items():
        mark = task.path(".now")
        if mark.is_file():
            data = mark.read_bytes()
            mark.unlink()
            position = POSITION.unpack(data)[0] if len(data) == POSITION.size else -1
            if task.start <= position < task.start + len(task.rows):
                yield name, position


def deaths_of(suspects: Iterable[Task]) -> Iterator[str]:
    """How a process ends that reads each image with limits on memory and time; "" where it survives."""
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with ExitStack() as stack:
        pool = None
        for alone in suspects:
            pool = pool or stack.enter_context(ProcessPoolExecutor(max_workers=1))
            try:
                yield str(pool.submit(limited, alone).result())
            except TerminatedWorkerError as error:
                signals = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
                yield f"reading it takes the process down ({signals[1] if signals else 'killed'})"
                pool = None


def limited(alone: Task) -> str:
    """Read one image under limits; "" or why not. Refusals are left to the run that tells them all."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    for kind, limit in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY),
        (resource.RLIMIT_CPU, int(time.process_time()) + SECONDS),
    ):
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
    try:
        read_one(alone)
    except PodiumError:
        return ""
    except MemoryError:
        return f"reading it takes more than {MEMORY:,} bytes of memory"
    return ""


def check_room(folder: Path, todo: Iterable[Task], workers: int) -> None:
    """Refuse to start where the disk cannot hold the shards that are not there yet. Raises ResourceError."""
    missing = [task for task in todo if not task.path(".parquet").is_file()]
    n_images = sum(len(task.rows) for task in missing)
    if not n_images:
        return
    try:
        sizes = [size for part in in_processes(sizes_of, sample(missing), workers) for size in part]
    except _DeathError:  # it will be met again, and told
        return
    needed, free = int(np.mean(sizes or [0]) * n_images), shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{n_images:,} images will take about {needed:,} bytes, and the disk of {folder} has {free:,} free. "
            "Free some, or set prepare.encoding: jpeg or prepare.max_side"
        )


def sample(missing: list[Task]) -> list[Task]:
    """A few images spread over all tasks, each a task of its own."""
    sizes = np.cumsum([0, *(len(task.rows) for task in missing)])
    chosen = np.unique(np.linspace(0, sizes[-1] - 1, min(SAMPLED, int(sizes[-1]))).astype(int))
    parts = np.searchsorted(sizes, chosen, side="right") - 1
    picked = []
    for part in np.unique(parts):
        task, rows = missing[part], chosen[parts == part] - sizes[part]
        picked.append(replace(task, rows=task.rows.take(rows)))
    return picked


def sizes_of(task: Task) -> list[int]:
    """Bytes that each image of a task takes in a shard; what cannot be read is left to the run that tells it."""
    found = []
    for row in range(len(task.rows)):
        try:
            data = read_one(replace(task, rows=task.rows.slice(row, 1)))
        except (PodiumError, OSError):
            continue
        found.append(TAR_BLOCK + -(-len(data) // TAR_BLOCK) * TAR_BLOCK)
    return found


def _full(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    return f"the disk of {folder} is full ({free:,} bytes free). Free some and run again: finished shards are kept"


def _unexplained(todo: dict[str, Task], folder: Path) -> str:
    return (
        f"a process was killed while making {len(todo)} shards, though each image that was at hand can be read alone: "
        f"out of memory? Run again with fewer: python -m stages.prepare --workers 1 ...; finished shards are kept "
        f"in {folder}"
    )
