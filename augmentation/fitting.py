"""Noise fitting: the strengths that make augmented training images look like the unlabelled test images.

Each round draws copies by the present belief (belief.py), and explorers around it. From the latest copies it learns how
the moments of the images' features respond to what was drawn, and moves the belief most of the way to where that
response equals the test's (response.py). A belief whose own copies are no nearer to the test than the best so far is
taken back, and the next step is half as long. The budget is a number of copies, so that the result does not depend on
the machine's speed. A classifier judges the outcome, on test images that the search has not seen if there are enough;
where it can't tell the clean training images from them, nothing is fitted.

Writes fitted.yaml, a block of operations for people to read and edit, and fitted.png, test and fitted side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from augmentation.belief import as_operations, draw_belief, draw_explorers, first_belief, toward
from augmentation.copies import Copier
from augmentation.drawing import Draws, copy_keys
from augmentation.features import feature_table
from augmentation.prepared import Prepared
from augmentation.recipe import AugmentParams, Mix, Operations
from augmentation.response import Moments, Response
from storage.atomic import write_text
from storage.errors import DataError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Reader = Callable[[int], Pixels]  # the pixels of an image by its position
ROUNDS = (6, 15)  # fewest and most
PER_ROUND = 1200  # copies, where the budget asks for fewer than the most rounds
EARLY = 3  # rounds that look everywhere
BELIEVED = 0.25  # share of a round's copies that are drawn by the belief alone
STEP = 0.7  # of the way to what the response says
LEARNT = 25_000  # copies, the latest, that the response is learnt from
FADES = 0.85  # weight of a copy, for each round since
COMPARED = 2000  # most test images that the search compares with
JUDGED = 1000  # most images of either side behind an AUC
FEWEST = 50  # images of either side
REMEMBERED = 2**28  # bytes of prepared sources, about: the first ones stay, as all are asked for equally often


@dataclass(frozen=True)
class Images:
    """Images that are read one by one."""

    read: Reader
    count: int


@dataclass(frozen=True)
class Fit:
    """The outcome: operations as in params.yaml, the two-sample AUC, and what it took."""

    operations: Operations
    auc_before: float  # clean training images against test images
    auc_after: float  # fitted copies against test images
    distances: list[float]  # of each round's belief, in units of its own round
    copies: int  # rendered for it
    pictures: Pixels  # test images above, fitted copies below  # (height, width, 3)


def fit_noise(params: AugmentParams, train: Images, test: Images, *, budget: int = 60_000, seed: int = 0) -> Fit:
    """Fit the operations of `params` to the test images, with at most about `budget` rendered copies.

    Images are compared at the size of the recipe. Raises DataError where there are too few images.
    """
    if min(train.count, test.count) < FEWEST:
        raise DataError(f"{train.count} training and {test.count} test images; noise fitting needs {FEWEST} of each")
    random = np.random.default_rng(seed)
    plain = params.model_copy(
        update={"operations": Operations(), "extra": [], "mixup": Mix(), "cutmix": Mix(), "encoding": "raw"}
    )
    copier = Copier(plain)
    order = [int(i) for i in random.permutation(test.count)]
    wanted = feature_table(copier.render(test.read(i), "", 0) for i in order[:COMPARED])
    judged = min(JUDGED, train.count, test.count)
    rounds = max(ROUNDS[0], min(ROUNDS[1], budget // PER_ROUND))
    search = Search(copier, train, wanted, random, per_round=max(2 * FEWEST, (budget - judged) // rounds))
    for number in range(rounds):
        search.round(early=number < EARLY)
    best, fresh = search.best, order[-judged:]
    sources = some_sources(train, judged, random)
    copies = list(search.render(sources, draw_belief(best, judged, random)))
    pictures = [copier.render(test.read(i), "", 0) for i in fresh]
    clean = feature_table(copier.render(train.read(i), "", 0) for i in sources)
    unseen = feature_table(pictures)
    before, after = (two_sample_auc(table, unseen, seed=seed) for table in (clean, feature_table(copies)))
    operations, took = as_operations(best), search.copies + judged
    error = (6 * judged) ** -0.5  # standard, of an AUC about 0.5
    if before < 0.5 + 2 * error or after > before + error:  # nothing was to be found
        operations, after, copies = Operations(), before, [copier.render(train.read(i), "", 0) for i in sources[:48]]
    return Fit(operations, before, after, search.distances, took, side_by_side(pictures[:48], copies[:48]))


class Search:
    """The belief, the best one so far, and the copies of all rounds."""

    def __init__(
        self, copier: Copier, train: Images, wanted: Floats, random: np.random.Generator, *, per_round: int
    ) -> None:
        self.copier, self.train, self.wanted, self.random = copier, train, wanted, random
        self.per_round, self.copies, self.step = per_round, 0, STEP
        self.known: dict[int, Prepared] = {}
        self.bytes = 0
        self.size = 1 / (1 / len(wanted) + 1 / train.count)  # images that speak for a difference of means
        self.knobs = self.best = first_belief()
        self.best_features: Floats | None = None
        self.features: list[Floats] = []
        self.columns: list[dict[str, Floats]] = []
        self.distances: list[float] = []

    def round(self, *, early: bool) -> None:
        """Render copies, judge the belief by those that are its own, and move it."""
        own = min(self.train.count, int(BELIEVED * self.per_round))
        believed = draw_belief(self.knobs, own, self.random)
        explorers = draw_explorers(self.knobs, self.per_round - own, self.random, early=early)
        columns = {name: np.concatenate([believed[name], explorers[name]]) for name in believed}
        sources = some_sources(self.train, own, self.random)
        sources += some_sources(self.train, self.per_round - own, self.random, again=True)
        features = feature_table(self.render(sources, columns))
        self.copies += len(features)
        self.features.append(features)
        self.columns.append(columns)
        moments = Moments(self.wanted, features[:own])
        self.judge(moments, features[:own])
        target = self.response(moments).solve(self.best, size=self.size, early=early)
        self.knobs = [toward(knob, aim, self.step) for knob, aim in zip(self.best, target, strict=True)]

    def render(self, sources: list[int], columns: dict[str, Floats]) -> Iterator[Pixels]:
        """One copy of each source with the drawn columns."""
        draws = Draws(copy_keys(0, "fit", [str(i) for i in sources], np.arange(len(sources))), columns)
        return (self.copier.render_drawn(self.prepared(s), draws, i) for i, s in enumerate(sources))

    def prepared(self, source: int) -> Prepared:
        """A training image at about the size of its copies; decoding a photo takes longer than copying it."""
        if source in self.known:
            return self.known[source]
        new = self.copier.prepare(self.train.read(source))
        if self.bytes < REMEMBERED:
            self.known[source] = new
            self.bytes += new.most_bytes
        return new

    def judge(self, moments: Moments, own: Floats) -> None:
        """Keep the belief if its own copies are nearer to the test than the best one's, else step more carefully."""
        distance = moments.distance(own)
        self.distances.append(distance)
        if self.best_features is None or distance < 1.02 * moments.distance(self.best_features):
            self.best, self.best_features, self.step = self.knobs, own, STEP
        else:
            self.step /= 2

    def response(self, moments: Moments) -> Response:
        """What the latest copies teach."""
        latest = max(1, LEARNT // self.per_round)
        features, drawn = self.features[-latest:], self.columns[-latest:]
        columns = {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}
        weights = np.repeat([FADES**age for age in reversed(range(len(features)))], [len(part) for part in features])
        return Response.learn(self.best, columns, moments.of(np.concatenate(features)), weights)


def some_sources(train: Images, count: int, random: np.random.Generator, *, again: bool = False) -> list[int]:
    """At most `count` sources: each once, or as often as it takes; once, as a classifier would know them again."""
    repeats = -(-count // train.count) if again else 1
    pool = np.concatenate([random.permutation(train.count) for _ in range(repeats)])
    return [int(i) for i in pool[:count]]


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
    head = (
        "# Fitted to the noise of the test images; edit it freely. Used with augment.strength: fitted.\n"
        f"# Told apart from the test images (0.5: not at all, 1.0: at once): clean {fit.auc_before:.3f}, "
        f"fitted {fit.auc_after:.3f}; it took {fit.copies:,} copies.\n"
    )
    lines = [f"\n  {name}: {flow(entry)}" for name, entry in operations.items()] or [" {}"]
    numbers = flow({"before": round(fit.auc_before, 4), "after": round(fit.auc_after, 4)})
    write_text(folder / "fitted.yaml", f"{head}auc: {numbers}\noperations:{''.join(lines)}\n")
    write_bytes(folder / "fitted.png", cv2.imencode(".png", fit.pictures[..., ::-1])[1].tobytes())


def flow(entry: dict[str, Any]) -> str:
    """A mapping on one line of YAML."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()
