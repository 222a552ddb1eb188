"""Blending: speed and sameness of path against AutoGluon, other peers, memory, and the contests.

Per size: `seconds` of greedy selection (50 rounds, macro-F1), `vs_autogluon` (its time over ours on the same matrix),
`same_path`, `peak_memory_of_matrix` (peak of ours over the matrix's bytes). Then linear weights and the paired
bootstrap against their usual forms with scipy and scikit-learn. AutoGluon is optional: without it the naive algorithm
of its `EnsembleSelection` stands in. Writes benchmarks/results/blend.json and prints a table.
Run: python -m benchmarks.blend   (--only speed|large|peers|contests|big; `big` needs 10 GB of disk in --scratch)
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import greedy
from analysis.metrics import true_class
from analysis.pool_weights import linear_weights
from analysis.uncertainty import bootstrap
from storage.atomic import write_json

Array = NDArray[Any]
RESULTS = Path("benchmarks/results/blend.json")
SIZES = ((1_500, 17, 9), (1_500, 17, 45), (5_000, 17, 20), (20_000, 17, 20), (50_000, 17, 9), (50_000, 17, 45))
LARGE = ((50_000, 100, 9), (50_000, 100, 45))
TRIALS = 3


def members(n_rows: int, n_classes: int, n_members: int, *, seed: int = 0) -> tuple[Array, Array]:
    """Log-probabilities (n_members, n_rows, n_classes) of members that share most of their errors, and labels.

    Accuracies are 0.94-0.98 with 17 classes; of 50,000 rows about a third is undecided among 45 members.
    """
    random = np.random.default_rng(seed)
    shares = np.concatenate([[0.3, 0.5, 0.5], np.ones(n_classes - 3)])
    labels = random.choice(n_classes, n_rows, p=shares / shares.sum())
    shared = random.normal(size=(n_rows, n_classes)).astype(np.float32)
    shared[np.arange(n_rows), labels] += 4.5
    table = np.empty((n_members, n_rows, n_classes), dtype=np.float32)
    for number in range(n_members):
        table[number] = member(shared, random)
    return table, labels


def member(shared: Array, random: np.random.Generator) -> Array:
    """One member's log-probabilities: the shared view, its own noise, its own confidence."""
    logits = shared + random.normal(size=shared.shape).astype(np.float32) * 0.6 * random.uniform(0.7, 1.3)
    logits *= random.uniform(1.0, 2.0)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def peer_path(table: Array, labels: Array, metric: str, rounds: int) -> tuple[tuple[int, ...], float, str]:
    """The path of AutoGluon's EnsembleSelection (or of its algorithm, written naively), its CPU seconds, its name."""
    tables = list(np.exp(table))
    names = {"macro_f1": "f1_macro", "qwk": "quadratic_kappa"}
    try:
        from autogluon.core.metrics import get_metric
        from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection
    except ImportError:
        start = time.process_time()
        path = naive_path(tables, labels, metric, rounds)
        return path, time.process_time() - start, "naive"
    scorer = get_metric(names.get(metric, metric), "multiclass", "eval_metric")
    selection = EnsembleSelection(rounds, "multiclass", scorer)
    start = time.process_time()
    selection.fit(tables, labels)
    return tuple(int(index) for index in selection.indices_), time.process_time() - start, "autogluon"


def naive_path(tables: list[Array], labels: Array, metric: str, rounds: int) -> tuple[int, ...]:
    """The published algorithm, one call of scikit-learn per candidate."""
    from sklearn.metrics import f1_score

    if metric != "macro_f1":
        raise ValueError("the naive stand-in knows macro_f1 only")

    def regrets() -> Any:
        total = np.zeros(tables[0].shape)
        while True:
            tried = [(total + own).argmax(axis=1) for own in tables]
            picked = yield np.array([1 - f1_score(labels, t, average="macro", zero_division=0) for t in tried])
            total += tables[picked]

    return greedy.follow(regrets(), len(tables), rounds=rounds, seed=0).path


def cpu(work: Any, *, trials: int = TRIALS) -> float:
    """The median CPU seconds of several runs."""
    times = []
    for _ in range(trials):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def speed(sizes: tuple[tuple[int, int, int], ...], *, rounds: int = 50) -> dict[str, Any]:
    """Greedy selection against AutoGluon, per size."""
    result = {}
    for size in sizes:
        table, labels = members(*size)
        ours = greedy.select(table, labels, rounds=rounds)
        seconds = cpu(lambda table=table, labels=labels: greedy.select(table, labels, rounds=rounds))
        few = rounds if table.size <= 50_000 * 17 * 45 else 5
        path, peer_seconds, peer = peer_path(table, labels, "macro_f1", few)
        if few < rounds:  # the peer's rounds cost the same each: a few are timed, and the path compared as far
            ours = greedy.select(table, labels, rounds=few)
        name = "x".join(map(str, size))
        result[name] = {
            "seconds": round(seconds, 4),
            "vs_autogluon": round(peer_seconds * rounds / few / seconds, 1),
            "same_path": ours.path == path,
            "peak_memory_of_matrix": round(peak_of_matrix(size), 2),
            "peer": peer,
            "peer_rounds_timed": few,
        }
        print(name, result[name], flush=True)
        merge_sizes({name: result[name]})
    return result


def peak_of_matrix(size: tuple[int, int, int]) -> float:
    """Peak memory of a selection over the bytes of its matrix, measured in a process of its own."""
    code = f"""
from pathlib import Path
from analysis import greedy
from benchmarks.blend import members, peak, reset_peak
table, labels = members(*{size!r})
reset_peak()
base = peak() - table.nbytes
greedy.select(table, labels)
print((peak() - base) / table.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else float("nan")


def reset_peak() -> None:
    """Start the highest resident memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The highest resident memory of this process so far, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peers() -> dict[str, Any]:
    """Linear weights and the paired bootstrap against their usual forms."""
    return {"linear_weights": weights_against_scipy(), "paired_bootstrap": bootstrap_against_scipy()}


def weights_against_scipy(size: tuple[int, int, int] = (50_000, 17, 9)) -> dict[str, Any]:
    """Convex log-loss weights against the usual notebook code: SLSQP on scikit-learn's log_loss, no gradient."""
    from scipy.optimize import minimize
    from sklearn.metrics import log_loss

    table, labels = members(*size)
    tables = np.exp(table.astype(np.float64))
    seconds = cpu(lambda: linear_weights(true_class(table, labels), shrink=0.0))
    ours = linear_weights(true_class(table, labels), shrink=0.0)

    def loss(weights: Array) -> float:
        mixed = np.tensordot(weights, tables, axes=1)
        return float(log_loss(labels, mixed / mixed.sum(axis=1, keepdims=True)))

    n_members = size[2]
    start = time.process_time()
    found = minimize(
        loss,
        np.full(n_members, 1 / n_members),
        method="SLSQP",
        bounds=[(0, 1)] * n_members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
    )
    usual = time.process_time() - start
    return {
        "size": "x".join(map(str, size)),
        "seconds": round(seconds, 4),
        "vs_usual": round(usual / seconds, 1),
        "loss_ours": round(loss(ours), 7),
        "loss_usual": round(float(found.fun), 7),
    }


def bootstrap_against_scipy(*, n_rows: int = 5_000, draws: int = 2_000, timed: int = 200) -> dict[str, Any]:
    """Paired bootstrap of macro-F1 against scipy.stats.bootstrap with scikit-learn's f1_score."""
    from scipy.stats import bootstrap as scipy_bootstrap
    from sklearn.metrics import f1_score

    table, labels = members(n_rows, 17, 2)
    first, second = (own.argmax(axis=1) for own in table)
    groups = np.arange(n_rows)

    def fast() -> Array:
        return bootstrap("macro_f1", labels, [first, second], groups=groups, n_classes=17, draws=draws)

    seconds, drawn = cpu(fast), fast()

    def difference(truth: Array, a: Array, b: Array) -> float:
        return float(f1_score(truth, a, average="macro") - f1_score(truth, b, average="macro"))

    start = time.process_time()
    usual = scipy_bootstrap(
        (labels, first, second),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=timed,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    usual_seconds = (time.process_time() - start) * draws / timed
    return {
        "size": f"{n_rows}x17, {draws} draws",
        "seconds": round(seconds, 4),
        "vs_usual": round(usual_seconds / seconds, 1),
        "error_ours": round(float((drawn[:, 0] - drawn[:, 1]).std(ddof=1)), 6),
        "error_usual": round(float(usual.standard_error), 6),
    }


def big(scratch: Path, *, size: tuple[int, int, int] = (2_000_000, 17, 45)) -> dict[str, Any]:
    """Greedy selection and linear weights on a memory-mapped table larger than most machines' memory."""
    n_rows, n_classes, n_members = size
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "table.npy"
        table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_members, n_rows, n_classes))
        labels = np.empty(n_rows, dtype=np.int64)
        step, distinct = 100_000, 4
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


def merge(new: dict[str, Any]) -> None:
    """Put some keys into the results; the others stay."""
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    write_json(RESULTS, {**old, **new})


def merge_sizes(new: dict[str, Any]) -> None:
    """Put some sizes into the results."""
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    merge({"sizes": {**old.get("sizes", {}), **new}})


def main() -> None:
    """Run all parts, or the one asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("speed", "large", "peers", "contests", "big"))
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    for part, sizes in (("speed", SIZES), ("large", LARGE)):
        if arguments.only in (None, part):
            speed(sizes)
    if arguments.only in (None, "peers"):
        found = peers()
        print(found)
        merge(found)
    if arguments.only in (None, "contests"):
        from benchmarks import contests

        outcome = contests.run()
        contests.show(outcome)
        merge({"contests": outcome})
    if arguments.only == "big":
        found = big(arguments.scratch)
        print(found)
        merge({"memory_mapped": found})


if __name__ == "__main__":
    main()
