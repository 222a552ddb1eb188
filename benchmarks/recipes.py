"""Every recipe end to end through `dvc repro`, in a reduced size, on small real images laid out like its data set.

Each recipe keeps its layout, losses, heads, schedules and blend; `reduced` makes images, networks' inputs, epochs and
the number of members and folds small. A clone of HEAD runs it; the submission is checked against the sample.

    python -m benchmarks.recipes                  all of them; writes benchmarks/results/recipes.json
    python -m benchmarks.recipes pets --members 9 one of them, with all its members
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from stages.tables import read_index
from storage.atomic import write_json
from storage.csvfile import read_csv
from tests import competitions

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "results" / "recipes.json"
LAID_OUT: dict[str, Callable[[Path], Path]] = {
    "documents": lambda folder: competitions.documents(folder, width=96),
    "masks": competitions.masks,
    "cifar100": competitions.cifar100,
    "grains": competitions.grains,
    "pets": competitions.pets,
    "fashion-mnist": competitions.fashion,
}
SMALL_TRAINING = {
    "pretrained": "none",
    "size": 32,
    "epochs": 1,
    "batch": 16,
    "accumulate": 1,
    "epoch_images": 64,
    "threads": 1,
    "precision": "fp32",
    "figures": False,
}


def reduced(params: dict[str, Any], *, members: int = 2, folds: int = 2) -> dict[str, Any]:
    """A recipe's parameters, with everything that costs time made small and everything else kept."""
    small = copy.deepcopy(params)
    small["members"], small["folds"] = params["members"][:members], list(range(folds))
    small["split"] |= {"folds": folds}
    small["augment"] |= {"copies": 1, "total": None, "size": 32, "encoding": "raw", "workers": 1}
    small["train"] |= SMALL_TRAINING
    for model in small["models"].values():
        model |= {name: value for name, value in SMALL_TRAINING.items() if name in model}
    small["blend"] |= {"draws": 100}
    return small


def read_recipe(name: str) -> dict[str, Any]:
    """A recipe's parameters."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "recipes" / name / "params.yaml").read_text(encoding="utf-8"))
    return content


def run(name: str, folder: Path, *, members: int, folds: int) -> dict[str, Any]:
    """Run one recipe in a clone in `folder`; what it took and what came out."""
    clone = folder / name
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    params = reduced(read_recipe(name), members=members, folds=folds)
    if name in LAID_OUT:
        LAID_OUT[name](clone / params["prepare"]["root"])
        params["fetch"] = {}
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(clone / ".dvc/tmp/site"),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
    }
    started = time.perf_counter()
    done = subprocess.run(["dvc", "repro"], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    result: dict[str, Any] = {"recipe": name, "seconds": round(time.perf_counter() - started, 1)}
    if done.returncode:
        return result | {"error": (done.stdout + done.stderr)[-2000:]}
    index = read_index(clone / "data/index")
    submission = read_csv(clone / "submissions" / f"{params['submit']['name']}.csv")
    rows = submission.iloc[:, 0].tolist()
    return result | {
        "members": len(params["members"]),
        "train": len(index.train),
        "test": len(index.test),
        "classes": len(index.classes.names),
        "submission_fits_sample": rows == index.classes.submission.row_ids,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.parent.name for path in (ROOT / "recipes").glob("*/params.yaml"))
    parser.add_argument("recipes", nargs="*", help="names; all of them by default")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--folds", type=int, default=2)
    chosen = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="podium-recipes-") as folder:
        for name in chosen.recipes or known:
            results.append(run(name, Path(folder), members=chosen.members, folds=chosen.folds))
            print(results[-1], flush=True)
    if not chosen.recipes:
        write_json(OUT, results)
    if any("error" in result or not result["submission_fits_sample"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
