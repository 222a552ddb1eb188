"""Blending: speed and sameness of path against AutoGluon, other peers, memory, the stage, and the contests.

Per size: `seconds` of greedy selection (50 rounds, macro-F1), `vs_autogluon` (its time over ours on the same matrix),
`same_path`, `peak_memory_of_matrix` (peak of ours over the matrix's bytes). Then linear weights, the paired bootstrap
and diversity matrices against their usual forms with scipy, scikit-learn and deslib; the stage and large tables
(benchmarks/blend_large.py); the contests (benchmarks/contests.py). AutoGluon and deslib are optional: without them
their algorithms, written naively, stand in. Writes benchmarks/results/blend.json, each part when it is known, and
prints it; `parts` says what each took.
Run: python -m benchmarks.blend   (about an hour of one idle core; --resume goes on with the parts that this code has
not finished; --only NAME for one of PARTS; the large tables need 8 and 20 GB of disk in --scratch)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import greedy
from storage.atomic import write_json

Array = NDArray[Any]
RESULTS = Path("benchmarks/results/blend.json")
SIZES = ((1_500, 17, 9), (1_500, 17, 45), (5_000, 17, 20), (20_000, 17, 20), (50_000, 17, 9), (50_000, 17, 45))
LARGE = ((50_000, 100, 9), (50_000, 100, 45))
TRIALS = 3
PARTS = ("speed", "large", "peers", "stage", "big", "contests", "big_stage")
DISK = {"big": 8_000_000_000, "big_stage": 20_000_000_000}  # bytes that the tables of 2,000,000 rows take


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
    from benchmarks.blend_peers import peer_path

    result = {}
    for size in sizes:
        table, labels = members(*size)
        ours = greedy.select(table, labels, rounds=rounds)
        seconds = cpu(lambda table=table, labels=labels: greedy.select(table, labels, rounds=rounds))
        few = rounds if table.size <= 50_000 * 17 * 45 else 5
        path, peer_seconds, peer = peer_path(table, labels, "macro_f1", few)
        if few < rounds:  # the peer's rounds cost the same each: a few are timed, and the path compared as far
            ours = greedy.select(table, labels, rounds=few)
        name, (ratio, beside) = "x".join(map(str, size)), peak_of_matrix(size)
        result[name] = {
            "seconds": round(seconds, 4),
            "vs_autogluon": round(peer_seconds * rounds / few / seconds, 1),
            "same_path": ours.path == path,
            "peak_memory_of_matrix": round(ratio, 2),
            "memory_beside_matrix_mb": round(beside, 2),
            "peer": peer,
            "peer_rounds_timed": few,
        }
        print(name, result[name], flush=True)
        merge_sizes({name: result[name]})
    return result


def peak_of_matrix(size: tuple[int, int, int]) -> tuple[float, float]:
    """Peak memory of a selection over the bytes of its matrix, and its megabytes beside the matrix.

    Measured in a process of its own, after a tiny selection: the libraries' own pages are not the selection's.
    """
    code = f"""
from analysis import greedy
from benchmarks.blend import members, peak, reset_peak
greedy.select(*members(100, 5, 3))
table, labels = members(*{size!r})
reset_peak()
base = peak() - table.nbytes
greedy.select(table, labels)
print((peak() - base) / table.nbytes, (peak() - base - table.nbytes) / 1e6)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ratio, beside = map(float, done.stdout.split())
    return ratio, beside


def reset_peak() -> None:
    """Start the highest resident memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The highest resident memory of this process so far, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_results() -> dict[str, Any]:
    """The results as they are written."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def merge(new: dict[str, Any]) -> None:
    """Put some keys into the results; the others stay."""
    write_json(RESULTS, {**read_results(), **new})


def merge_sizes(new: dict[str, Any]) -> None:
    """Put some sizes into the results."""
    merge({"sizes": {**read_results().get("sizes", {}), **new}})


def code_hash(*patterns: str) -> str:
    """A hash of the sources that match."""
    sources = [source for pattern in patterns for source in sorted(Path().glob(pattern))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def main() -> None:
    """Run all parts, those that this code has not finished, or the one asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    code = code_hash("analysis/*.py", "stages/*.py", "benchmarks/blend*.py")
    for part in PARTS if arguments.only is None else (arguments.only,):
        done = read_results().get("parts", {})
        if arguments.resume and done.get(part, {}).get("code") == code:
            print(f"{part}: done")
            continue
        if shutil.disk_usage(arguments.scratch).free < DISK.get(part, 0):
            print(f"{part}: {arguments.scratch} has less than {DISK[part] / 1e9:.0f} GB: not run; --scratch FOLDER")
            continue
        start = sum(os.times()[:4])
        found = play(part, arguments.scratch)
        spent = {"cpu_seconds": round(sum(os.times()[:4]) - start), "code": code}
        merge({**found, "parts": {**read_results().get("parts", {}), part: spent}})
        print(json.dumps(found, indent=1), f"{part}: {spent['cpu_seconds']} s of CPU", flush=True)


def play(part: str, scratch: Path) -> dict[str, Any]:
    """One part of the results."""
    from benchmarks import blend_large, blend_peers, contests

    if part in ("speed", "large"):
        speed(SIZES if part == "speed" else LARGE)
        return {}  # each size was written when it was known
    if part == "peers":
        return blend_peers.peers()
    if part == "stage":
        return {"stage": blend_large.stage(scratch), "stage_memory": blend_large.stage_memory(scratch)}
    if part == "big":
        return {"memory_mapped": blend_large.big(scratch)}
    if part == "big_stage":
        return {"big_stage": blend_large.big_stage(scratch)}
    outcome = contests.run()
    contests.show(outcome)
    return {"contests": outcome}


if __name__ == "__main__":
    main()
