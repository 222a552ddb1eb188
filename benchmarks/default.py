"""The figures of the default run: time and memory of `dvc repro` in a fresh clone, and its score on the hidden answers.

Run: make bench-default. Clones HEAD into a temporary folder, runs the pipeline as it is, then without augmentation:
once with all else equal, and once with as many images seen in training (so many more epochs). Writes
benchmarks/results/default.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from commands.score import read_answers, read_rows, score
from stages.params import run_lists
from stages.probabilities import read_member
from stages.tables import read_folds, read_index
from storage.atomic import write_json, write_text

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "default.json"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="podium default ") as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        seconds, peak = repro(clone)
        result: dict[str, Any] = {"seconds": round(seconds, 1), "peak_memory_mb": round(peak)}
        result |= scores(clone)
        for name, as_long in (("without_augmentation_f1", False), ("without_augmentation_as_long_f1", True)):
            without_augmentation(clone, as_long=as_long)
            repro(clone)
            result[name] = round(blend_score(clone), 4)
    write_json(OUT, result)
    show(result)


def repro(folder: Path) -> tuple[float, float]:
    """Run the pipeline; (seconds, the largest memory of all its processes together in MB)."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    environment["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc" / "tmp" / "site")
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment)
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    watcher.join()
    if code:
        sys.exit(f"dvc repro ended with {code} in {folder}")
    return time.perf_counter() - started, peak[0]


def watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    """Sum the private and shared pages (PSS) of the process tree, four times a second."""
    while process.poll() is None:
        total = 0.0
        try:
            root = psutil.Process(process.pid)
            for child in [root, *root.children(recursive=True)]:
                total += memory(child)
        except psutil.Error:
            pass
        peak[0] = max(peak[0], total)
        time.sleep(0.25)


def memory(process: psutil.Process) -> float:
    """Megabytes that one process accounts for; 0 once it is gone."""
    try:
        full = process.memory_full_info()
        return float(getattr(full, "pss", 0) or full.rss) / 1e6
    except psutil.Error:
        return 0.0


def blend_score(clone: Path) -> float:
    """Macro-F1 of the submission on all hidden answers."""
    answers = read_answers(clone / "data/answers/digits.csv")
    return score(read_rows(clone / "submissions/blend.csv"), answers)["all"]


def scores(clone: Path) -> dict[str, Any]:
    """The blend and each member on the hidden answers, beside what validation said."""
    index = read_index(clone / "data/index")
    folds = read_folds(clone / "data/folds/folds.parquet", index)
    answers = read_answers(clone / "data/answers/digits.csv")
    members, numbers = run_lists(clone / "params.yaml")
    values = np.array(index.classes.values)
    single = {}
    for name in members:
        test = read_member(clone / "data/predictions" / name, numbers, index, folds).test
        labels = values[test.log_probabilities.argmax(axis=1)]
        single[name] = score(dict(zip(test.image_id, labels, strict=True)), answers)["all"]
    best = max(single, key=lambda name: single[name])
    honest = json.loads((clone / "data/blend/metrics.json").read_text())["blend"]
    return {
        "blend_f1": round(blend_score(clone), 4),
        "best_member": best,
        "best_member_f1": round(single[best], 4),
        "members_f1": {name: round(value, 4) for name, value in single.items()},
        "honest_f1": round(honest["score"], 4),
        "honest_se": round(honest["error"], 4),
    }


def without_augmentation(clone: Path, *, as_long: bool) -> None:
    """Edit params.yaml: no copies to train on; `as_long`: epochs until as many images are seen as with copies."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    if as_long:
        params["train"]["epochs"] *= params["augment"]["copies"] + 1
    params["augment"]["copies"] = 0
    params["train"]["rows"] = "clean"
    write_text(clone / "params.yaml", yaml.safe_dump(params, sort_keys=False))


def show(result: dict[str, Any]) -> None:
    """The figures as a table."""
    for name, value in result.items():
        print(f"{name:<26} {value}")
    inside = abs(result["blend_f1"] - result["honest_f1"]) <= 1.96 * result["honest_se"]
    print(f"{'honest within 95 %':<26} {inside}")


if __name__ == "__main__":
    main()
