"""The one façade for worker processes: joblib with loky, Dask or Ray, by a parameter.

    for result in run(function, tasks, workers=2, backend="loky"):
        ...                                             # as they finish

Dask and Ray are started on this machine alone, listen on no outer address, and are shut down at the end.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from storage.errors import ResourceError, missing_extra

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, backend: str) -> Iterator[Result]:
    """The results in the order in which they are ready; one worker with loky means: in this process.

    Raises what `function` raises, and ResourceError where a backend is not installed or a worker is killed.
    """
    if workers == 1 and backend == "loky":
        yield from map(function, tasks)
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    local = backend == "loky"
    unordered = "generator_unordered" if local else "list"
    options = {"initializer": follow, "initargs": (os.getpid(),)} if local else {}
    try:
        with BACKENDS[backend](workers), parallel_config(backend, **options):
            parallel = Parallel(
                n_jobs=workers, max_nbytes=None, batch_size=1, pre_dispatch="2*n_jobs", return_as=unordered
            )
            yield from parallel(delayed(function)(task) for task in tasks)
    except TerminatedWorkerError:
        raise ResourceError(
            "a worker process was killed, most likely for lack of memory. Lower augment.workers; the next run continues"
        ) from None


def follow(owner: int) -> None:
    """In a worker process: end within seconds of the process that started it, even if that was killed."""

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def local_loky(workers: int) -> AbstractContextManager[Any]:
    """Nothing to start: joblib brings it."""
    return nullcontext()


@contextmanager
def local_dask(workers: int) -> Iterator[None]:
    """A Dask cluster of processes on the loopback address."""
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        raise missing_extra("dask", "dask") from None
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster),
    ):
        yield


@contextmanager
def local_ray(workers: int) -> Iterator[None]:
    """Ray on this machine, without its dashboard."""
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise missing_extra("ray", "ray") from None
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()


BACKENDS: dict[str, Callable[[int], AbstractContextManager[Any]]] = {
    "loky": local_loky,
    "dask": local_dask,
    "ray": local_ray,
}
