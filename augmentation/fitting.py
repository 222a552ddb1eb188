"""Noise fitting: the strengths that make augmented training images look like the unlabelled test images.

The search (search.py) moves a belief about the strengths until its copies look like the test images. Its budget is a
number of copies, so that the result does not depend on the machine's speed. A classifier judges the outcome, on test
images that the search has not seen if there are enough; where it can't tell the clean training images from them,
nothing is fitted.

Writes fitted.yaml, a block of operations for people to read and edit, and fitted.png, test and fitted side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from augmentation.belief import as_operations, draw_belief
from augmentation.copies import Copier
from augmentation.ranges import Operations
from augmentation.recipe import AugmentParams, Mix
from augmentation.search import EARLY, Images, Search, some_sources
from storage.atomic import write_text
from storage.errors import DataError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
ROUNDS = (6, 15)  # fewest and most
PER_ROUND = 1200  # copies, where the budget asks for fewer than the most rounds
COMPARED = 2000  # most test images that the search compares with
JUDGED = 1000  # most images of either side behind an AUC
FEWEST = 50  # images of either side


@dataclass(frozen=True)
class Fit:
    """The outcome: operations as in params.yaml, the two-sample AUC, and what it took."""

    operations: Operations
    auc_before: float  # clean training images against test images
    auc_after: float  # fitted copies against test images
    size: tuple[int, int] | None  # at which images were compared  # (height, width)
    distances: list[float]  # of each round's belief, in units of its own round
    copies: int  # rendered for it
    pictures: Pixels  # test images above, fitted copies below  # (height, width, 3)


def fit_noise(params: AugmentParams, train: Images, test: Images, *, budget: int = 60_000, seed: int = 0) -> Fit:
    """Fit the operations of `params` to the test images, with at most about `budget` rendered copies.

    Images are compared at the size of the recipe, but never enlarged: what noise was before, no operation can tell
    afterwards. Raises DataError where there are too few images.
    """
    if min(train.count, test.count) < FEWEST:
        raise DataError(f"{train.count} training and {test.count} test images; noise fitting needs {FEWEST} of each")
    random = np.random.default_rng(seed)
    order = [int(i) for i in random.permutation(test.count)]
    plain = params.model_copy(
        update={"operations": Operations(), "extra": [], "mixup": Mix(), "cutmix": Mix(), "encoding": "raw"}
    )
    size = compared_size(params.height_width, [test.read(i).shape for i in order[:FEWEST]])
    copier = Copier(plain, size=size)
    compared = (copier.render(test.read(i), "", 0) for i in order[:COMPARED])
    judged = min(JUDGED, train.count, test.count)
    rounds = max(ROUNDS[0], min(ROUNDS[1], budget // PER_ROUND))
    search = Search(copier, train, compared, random, per_round=max(2 * FEWEST, (budget - judged) // rounds))
    for number in range(rounds):
        search.round(early=number < EARLY)
    best, fresh = search.best, order[-judged:]
    sources = some_sources(train, judged, random)
    copies = list(search.render(sources, draw_belief(best, judged, random)))
    pictures = [copier.render(test.read(i), "", 0) for i in fresh]
    clean = search.table(copier.render(train.read(i), "", 0) for i in sources)
    unseen = search.table(pictures)
    before, after = (two_sample_auc(table, unseen, seed=seed) for table in (clean, search.table(copies)))
    operations, took = as_operations(best), search.copies + judged
    error = (6 * judged) ** -0.5  # standard, of an AUC about 0.5
    if before < 0.5 + 2 * error or after > before + error:  # nothing was to be found
        operations, after, copies = Operations(), before, [copier.render(train.read(i), "", 0) for i in sources[:48]]
    return Fit(operations, before, after, size, search.distances, took, side_by_side(pictures[:48], copies[:48]))


def compared_size(wanted: tuple[int, int] | None, shapes: Sequence[tuple[int, ...]]) -> tuple[int, int] | None:
    """The size of the recipe, or the middle one of the test images where that is smaller.  # (height, width)"""
    if wanted is None:
        return None
    own = np.median([shape[:2] for shape in shapes], axis=0)
    return min(wanted[0], int(own[0])), min(wanted[1], int(own[1]))


def two_sample_auc(first: Floats, second: Floats, *, seed: int = 0) -> float:
    """How well boosted trees, cross-validated, tell two tables of features apart: 0.5 not at all, 1.0 at once.

    A picture on both sides is held out on both at once: whoever has seen its twin would be surely wrong about it.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

    features = np.concatenate([first, second])
    side = np.repeat([0, 1], [len(first), len(second)])
    classifier = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=8, max_features=0.2, max_bins=64, random_state=seed
    )
    twins = np.unique(features, axis=0, return_inverse=True)[1].ravel()
    few = min(len(np.unique(twins[side == part])) for part in (0, 1)) < FEWEST  # which groups cannot divide
    plain = few or twins.max() + 1 == len(twins)
    folds = (StratifiedKFold if plain else StratifiedGroupKFold)(4, shuffle=True, random_state=seed)
    splits = list(folds.split(features, side, None if plain else twins))
    score = cross_val_predict(classifier, features, side, cv=splits, method="predict_proba")[:, 1]
    return float(roc_auc_score(side, score))


def side_by_side(test: Sequence[Pixels], fitted: Sequence[Pixels], *, columns: int = 12, side: int = 64) -> Pixels:
    """Test images above, fitted copies below, with a white bar between.  # (height, width, 3)"""
    import cv2

    def sheet(images: Sequence[Pixels]) -> Pixels:
        tiles = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images]
        tiles += [np.full((side, side, 3), 255, np.uint8)] * (-len(tiles) % columns)
        rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
        return np.asarray(np.concatenate(rows), dtype=np.uint8)

    above, below = sheet(test), sheet(fitted)
    bar = np.full((8, above.shape[1], 3), 255, dtype=np.uint8)
    return np.concatenate([above, bar, below])


def write_fit(folder: Path, fit: Fit) -> None:
    """fitted.yaml and fitted.png in `folder`."""
    import cv2

    from storage.atomic import write_bytes

    operations = {name: entry.model_dump() for name, entry in fit.operations.present().items()}
    at = f", at {fit.size[0]} x {fit.size[1]} pixels" if fit.size else ""
    head = (
        "# Fitted to the noise of the test images; edit it freely. Used with augment.strength: fitted.\n"
        f"# Told apart from the test images (0.5: not at all, 1.0: at once): clean {fit.auc_before:.3f}, "
        f"fitted {fit.auc_after:.3f}; it took {fit.copies:,} copies{at}.\n"
    )
    lines = [f"\n  {name}: {flow(entry)}" for name, entry in operations.items()] or [" {}"]
    numbers = flow({"before": round(fit.auc_before, 4), "after": round(fit.auc_after, 4)})
    write_text(folder / "fitted.yaml", f"{head}auc: {numbers}\noperations:{''.join(lines)}\n")
    write_bytes(folder / "fitted.png", cv2.imencode(".png", fit.pictures[..., ::-1])[1].tobytes())


def flow(entry: dict[str, Any]) -> str:
    """A mapping on one line of YAML."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()
