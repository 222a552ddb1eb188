"""What the blend needs: the stage's seconds, and memory where tables are larger than it.

`stage`: CPU and wall seconds of the stage, imports included, and of `dvc repro -s blend` around it, for nine members,
five folds, 1,570 clean and 3,140 test-like held-out rows, 3,140 test rows, 17 classes. `stage_memory`: the stage's peak
of anonymous memory with few and with many members, its stacks in memory and memory-mapped; limits scaled down, so that
some hundred megabytes show what 6 GB do. `memory_mapped`: greedy selection and linear weights at 2,000,000 x 17 x 45.
`big_stage`: the whole stage at that size.
Run by: python -m benchmarks.blend --only stage|big|big_stage   (they need 8 and 20 GB of disk in --scratch)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

Array = NDArray[Any]
STAGE = "-m stages.blend --index data/index --folds data/folds/folds.parquet --predictions data/predictions"
STAGE += " --out data/blend --metrics data/blend/metrics.json"
WATCHED = """
import sys, threading, time
from pathlib import Path
def anonymous():
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))
highest = [0.0]
def watch():
    while True:
        highest[0] = max(highest[0], anonymous())
        time.sleep(0.01)
import analysis.library, stages.stack
from stages.blend import main
if len(sys.argv) > 1:
    analysis.library.MOST_CELLS, stages.stack.IN_MEMORY = int(sys.argv[1]), int(sys.argv[2])
threading.Thread(target=watch, daemon=True).start()
data = Path("data")
main(data / "index", data / "folds/folds.parquet", predictions=data / "predictions", out=data / "blend",
     metrics=data / "blend/metrics.json")
print("peak", time.process_time(), highest[0])
"""


def stage(scratch: Path, *, runs: int = 3) -> dict[str, Any]:
    """Seconds of the stage alone, and of `dvc repro -s blend`, in a copy of the project."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        project = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", ".", str(project)], check=True)
        competition(project, n_train=1_570, n_test=3_140, n_members=9, n_folds=5)
        alone = [seconds([sys.executable, *STAGE.split()], project) for _ in range(runs)]
        dvc = [seconds([sys.executable, "-m", "dvc", "repro", "-s", "-f", "blend"], project) for _ in range(runs)]
    return {
        "size": "9 members, 5 folds, 1,570 + 3,140 rows, 3,140 test rows, 17 classes",
        "stage_cpu_seconds": round(min(cpu for cpu, _ in alone), 2),
        "stage_seconds": round(min(wall for _, wall in alone), 2),
        "dvc_repro_cpu_seconds": round(min(cpu for cpu, _ in dvc), 2),
        "dvc_repro_seconds": round(min(wall for _, wall in dvc), 2),
    }


def competition(project: Path, *, n_train: int, n_test: int, n_members: int, n_folds: int, **blend: Any) -> None:
    """Index, folds and predictions drawn at random, and the parameters to blend them, in a copy of the project."""
    from tests.blend_tables import write_competition

    whole = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    write_competition(project, n_train=n_train, n_test=n_test, n_members=n_members, n_folds=n_folds, n_classes=17)
    ours = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump({**whole, **ours, "blend": blend})
    (project / "params.yaml").write_text(text, encoding="utf-8")


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command and its children, run in `folder`."""
    quiet = {"DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env={**os.environ, **quiet})
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - start


def stage_memory(scratch: Path, *, n_train: int = 12_000, members: tuple[int, int] = (6, 18)) -> dict[str, Any]:
    """Megabytes of anonymous memory at the stage's peak, with few and many members, in memory and mapped."""
    result: dict[str, Any] = {"rows": 3 * n_train, "members": list(members)}
    result |= {"stack_mb": [], "in_memory_mb": [], "mapped_mb": []}
    for n_members in members:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            project = Path(folder)
            shutil.copy("params.yaml", project)
            plan = {"n_train": n_train, "n_test": 6_000, "n_members": n_members, "n_folds": 3}
            competition(project, **plan, ablation=False, draws=100, compare_with=["soft"])
            result["stack_mb"].append(round(4e-6 * 17 * n_members * (3 * n_train + 4 * 6_000)))
            for name, cells, limit in (("in_memory_mb", 1 << 40, 1 << 40), ("mapped_mb", 1 << 21, 1 << 20)):
                result[name].append(round(watched(project, str(cells), str(limit))[1]))
    return result


def watched(project: Path, *limits: str) -> tuple[float, float]:
    """CPU seconds and megabytes of anonymous memory at the peak of the stage in `project`."""
    paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WATCHED, *limits]
    done = subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE, text=True, env=env)
    cpu, megabytes = done.stdout.split()[-2:]
    return float(cpu), float(megabytes)


def big_stage(
    scratch: Path, *, n_images: int = 1_000_000, n_members: int = 45, n_test: int = 100_000
) -> dict[str, Any]:
    """CPU minutes and peak of the whole stage, defaults throughout, with two held-out rows of each image."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        shutil.copy("params.yaml", folder)
        start = time.process_time()
        large_competition(Path(folder), n_images=n_images, n_members=n_members, n_test=n_test)
        print(f"tables written: {time.process_time() - start:.0f} s of CPU", flush=True)
        cpu, megabytes = watched(Path(folder))
    return {
        "size": f"{2 * n_images}x17x{n_members}, {n_test} test rows, 5 folds",
        "tables_gb": round(4e-9 * 17 * n_members * (2 * n_images + 6 * n_test), 1),
        "cpu_minutes": round(cpu / 60, 1),
        "peak_anonymous_gb": round(megabytes / 1e3, 2),
    }


def large_competition(project: Path, *, n_images: int, n_members: int, n_test: int) -> None:
    """Tables as `competition` writes them, of so many rows that each fold has the same labels and probabilities."""
    from benchmarks.blend import member
    from stages.probabilities import concatenate, write_probabilities
    from stages.tables import Classes, SubmissionFormat, read_folds, read_index, write_folds, write_index
    from tests.blend_tables import images, table_of

    random, n_folds = np.random.default_rng(0), 5
    share = n_images // n_folds
    labels = random.integers(17, size=share)
    ids, test_ids = ([f"{part}{number:07}" for number in range(n)] for part, n in (("a", n_images), ("t", n_test)))
    form = SubmissionFormat(columns=["ID", "target"], kind="labels", row_ids=test_ids)
    classes = Classes([f"kind {number}" for number in range(17)], [str(number) for number in range(17)], form)
    truth, unknown = np.tile(labels, n_folds), np.full(n_test, -1)
    write_index(project / "data/index", images(ids, truth), images(test_ids, unknown), classes)
    index, place = read_index(project / "data/index"), project / "data/folds/folds.parquet"
    fold = np.repeat(np.arange(n_folds), share)
    write_folds(place, pd.DataFrame({"image_id": ids, "fold": fold, "duplicate_group": np.arange(n_images)}), index)
    folds = read_folds(place, index)
    shared = random.normal(size=(share, 17)).astype(np.float32)
    shared[np.arange(share), labels] += 4.0
    names = [f"net{number:02}" for number in range(n_members)]
    for name in names:
        clean, noisy = member(shared, random), member(shared, random)
        for number in range(n_folds):
            held, folder = ids[number * share : (number + 1) * share], project / f"data/predictions/{name}/{number}"
            parts = [
                table_of(index, folds, held, view=view, fold=number, logs=logs)
                for view, logs in (("clean", clean), ("testlike", noisy))
            ]
            write_probabilities(folder / "valid.parquet", concatenate(parts))
            test = table_of(index, folds, test_ids, view="test", fold=number, logs=clean[:n_test])
            write_probabilities(folder / "test.parquet", test)
    whole = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    ours = {"members": names, "models": {name: {} for name in names}, "folds": list(range(n_folds)), "blend": {}}
    (project / "params.yaml").write_text(yaml.safe_dump({**whole, **ours}), encoding="utf-8")


def big(scratch: Path, *, size: tuple[int, int, int] = (2_000_000, 17, 45)) -> dict[str, Any]:
    """Greedy selection and linear weights on a memory-mapped table larger than many machines' memory."""
    from benchmarks.blend import members

    n_rows, n_classes, n_members = size
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "table.npy"
        table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_members, n_rows, n_classes))
        labels = np.empty(n_rows, dtype=np.int64)
        step, distinct = n_rows // 20, 4
        for block in range(distinct):  # the same 400,000 rows over and over: making them takes longest
            part, truth = members(step, n_classes, n_members, seed=block)
            for start in range(block * step, n_rows, distinct * step):
                table[:, start : start + step], labels[start : start + step] = part, truth
        table.flush()
        np.save(Path(folder) / "labels.npy", labels)
        del table
        code = f"""
import json, time
from pathlib import Path
import numpy as np
from analysis import greedy
from analysis.metrics import true_class
from analysis.pool_weights import linear_weights
from benchmarks.blend import peak
table = np.load(Path({folder!r}) / "table.npy", mmap_mode="r")
labels = np.load(Path({folder!r}) / "labels.npy")
start = time.process_time()
picked = greedy.select(table, labels)
middle = time.process_time()
linear_weights(true_class(table, labels))
print(json.dumps([middle - start, time.process_time() - middle, peak(), len(picked.path)]))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    greedy_seconds, weights_seconds, highest, length = json.loads(done.stdout)
    return {
        "size": "x".join(map(str, size)),
        "greedy_seconds": round(greedy_seconds, 1),
        "linear_weights_seconds": round(weights_seconds, 1),
        "peak_gb": round(highest / 1e9, 2),
        "matrix_gb": round(4e-9 * n_rows * n_classes * n_members, 2),
        "picked": length,
    }
