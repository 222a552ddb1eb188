"""Noise fitting: the strengths that make augmented training images look like the unlabelled test images.

Each round draws copies around the present belief, a part of them far from it. Regressions learn to read the drawn
values off an image's features, from the copies of earlier rounds; what they read off the test images moves each knob of
the belief (belief.py). A belief is judged by how well a classifier tells its copies from the test images: every round
starts from the best so far. Geometry cannot be read off single images: some settings are compared, as soon as the early
rounds have found about the right noise. The budget is a number of copies, so that the result does not depend on the
machine's speed.

Writes fitted.yaml, a block of operations for people to read and edit, and fitted.png, test and fitted side by side.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from augmentation.belief import TRIED, Knob, does_nothing, draw_belief, first_belief, moved, neutral_entry, settings
from augmentation.copies import Copier
from augmentation.drawing import Draws, copy_keys
from augmentation.features import feature_table
from augmentation.recipe import AugmentParams, Mix, Operations
from storage.atomic import write_text
from storage.errors import DataError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Reader = Callable[[int], Pixels]  # the pixels of an image by its position
ROUND = (400, 2000)  # fewest and most copies of a round
COMPARED = (200, 1000)  # fewest and most copies, and test images, whose two-sample AUC judges a belief
LEARNT = 6000  # copies, the latest, that the trees learn from
EARLY = 3  # rounds that look everywhere
SETTINGS = 26  # about so many settings are compared as wholes
WORTH = 0.002  # of AUC, that a knob has to bring
FEWEST = 50  # images of either side


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
    auc_rounds: list[float]
    copies: int  # rendered for it
    pictures: Pixels  # test images above, fitted copies below  # (height, width, 3)


def fit_noise(params: AugmentParams, train: Images, test: Images, *, budget: int = 24_000, seed: int = 0) -> Fit:
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
    compared = min(train.count, test.count, max(COMPARED[0], min(COMPARED[1], budget // 60)))
    wanted = feature_table(copier.render(test.read(i), "", 0) for i in order[:compared])
    search = Search(copier, train, wanted, random, seed=seed, per_round=max(ROUND[0], min(ROUND[1], budget // 24)))
    rounds = max(EARLY + 3, (budget - SETTINGS * compared) // (search.per_round + compared))
    for number in range(rounds):
        search.round(number, early=number < EARLY)
        if number == EARLY:
            search.compare()
    best = search.best()[1]
    fresh = order[-max(COMPARED) :]  # mostly images that chose nothing
    wanted = feature_table(copier.render(test.read(i), "", 0) for i in fresh)
    clean = feature_table(copier.render(train.read(i), "", 0) for i in some_sources(train, len(fresh), random))
    copies = list(rendered(best, copier, train, len(fresh), random=random))
    before, after = (two_sample_auc(table, wanted, seed=seed) for table in (clean, feature_table(copies)))
    sheet = side_by_side([copier.render(test.read(i), "", 0) for i in fresh[:48]], copies[:48])
    auc_rounds = [auc for auc, _ in search.tried]
    return Fit(as_operations(best), before, after, auc_rounds, search.copies + len(copies), sheet)


class Search:
    """The belief, what has been tried, and the copies that it took."""

    def __init__(
        self, copier: Copier, train: Images, wanted: Floats, random: np.random.Generator, *, seed: int, per_round: int
    ) -> None:
        self.copier, self.train, self.wanted, self.random, self.seed = copier, train, wanted, random, seed
        self.per_round, self.step = per_round, 0.7
        self.knobs, self.readers = first_belief(), Readers(seed)
        self.tried: list[tuple[float, list[Knob]]] = []
        self.copies = 0

    def round(self, number: int, *, early: bool) -> None:
        """Draw copies, read them and the test images with what earlier rounds taught, and move every knob."""
        columns = draw_belief(self.knobs, self.per_round, self.random, explore=True, early=early)
        sources = some_sources(self.train, self.per_round, self.random, again=True)
        table = feature_table(render_drawn(self.copier, self.train, sources, columns))
        self.copies += len(table)
        names = [column for knob in self.knobs if knob.name not in TRIED for column in knob.columns]
        drawn = np.stack([columns[name] for name in names], axis=1)  # (n_copies, n_columns)
        if number == 0:
            half = len(table) // 2
            self.readers.learn(table[:half], drawn[:half])
            table, drawn = table[half:], drawn[half:]
        self.readers.fit()
        own, other = self.readers.read(table), self.readers.read(self.wanted)
        self.readers.learn(table, drawn)
        knobs = list(self.knobs)
        for i, knob in enumerate(knobs):
            if knob.name in TRIED:
                continue
            parts = [names.index(column) for column in knob.columns]
            values, read, target = (matrix[:, parts].ravel() for matrix in (drawn, own, other))
            knobs[i] = moved(knob, values, read, target, early=early, step=self.step)
        self.knobs = knobs
        if not early:
            auc = self.judge(knobs)
            if self.tried and auc > self.best()[0]:
                self.step /= 2  # all knobs move at once, and together they went too far
            self.tried.append((auc, knobs))
            self.knobs = self.best()[1]

    def best(self) -> tuple[float, list[Knob]]:
        """The belief with the lowest AUC so far."""
        return min(self.tried, key=lambda pair: pair[0])

    def judge(self, knobs: list[Knob]) -> float:
        """The AUC of a belief; every belief meets the same sources and random numbers."""
        random = np.random.default_rng(self.seed + 1)
        sample = feature_table(rendered(knobs, self.copier, self.train, len(self.wanted), random=random))
        self.copies += len(sample)
        return two_sample_auc(sample, self.wanted, seed=self.seed)

    def compare(self) -> None:
        """From the best belief so far, try each knob's settings; leave out what the copies look as good without.

        Geometry comes first: as long as it is wrong, it tells the copies apart whatever else they have.
        """
        auc, knobs = self.best()
        for i in sorted(range(len(knobs)), key=lambda i: knobs[i].name not in TRIED):
            for setting in settings(knobs[i]):
                trial = [*knobs[:i], setting, *knobs[i + 1 :]]
                tried = self.judge(trial)
                if tried < auc + (WORTH if does_nothing(setting) or not setting.frozen else -WORTH):
                    auc, knobs = tried, trial
        self.knobs = knobs
        self.tried.append((auc, knobs))


class Readers:
    """Trees and a small network that read drawn values off features; they learn from the copies of all past rounds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.features: list[Floats] = []
        self.drawn: list[Floats] = []

    def learn(self, features: Floats, drawn: Floats) -> None:
        """Add copies to learn from at the next fit."""
        self.features.append(features)
        self.drawn.append(drawn)

    def fit(self) -> None:
        """Learn from all copies so far."""
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        features, drawn = np.concatenate(self.features), np.concatenate(self.drawn)
        self.centre, self.spread = features.mean(axis=0), features.std(axis=0) + 1e-6
        scaled = (drawn - drawn.mean(axis=0)) / (drawn.std(axis=0) + 1e-9)
        self.trees = ExtraTreesRegressor(100, min_samples_leaf=3, max_features=0.4, random_state=self.seed)
        self.trees.fit(features[-LEARNT:], scaled[-LEARNT:])
        passes = max(6, 60_000 // len(features))
        self.network = MLPRegressor(
            hidden_layer_sizes=(192,), alpha=1.0, learning_rate_init=2e-3, batch_size=64,
            max_iter=passes, random_state=self.seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # its passes are the budget
            self.network.fit(self.standard(features), scaled)

    def standard(self, features: Floats) -> Floats:
        """Features for the network."""
        scaled: Floats = np.clip((features - self.centre) / self.spread, -4, 4)
        return scaled

    def read(self, features: Floats) -> Floats:
        """What was drawn, as far as it can be seen, in units of its spread.  # (n_images, n_columns)"""
        read: Floats = (self.trees.predict(features) + self.network.predict(self.standard(features))) / 2
        return read


def some_sources(train: Images, count: int, random: np.random.Generator, *, again: bool = False) -> list[int]:
    """At most `count` sources: each once, or as often as it takes; once, as a classifier would know them again."""
    repeats = -(-count // train.count) if again else 1
    pool = np.concatenate([random.permutation(train.count) for _ in range(repeats)])
    return [int(i) for i in pool[:count]]


def rendered(
    knobs: Sequence[Knob], copier: Copier, train: Images, count: int, *, random: np.random.Generator
) -> Iterator[Pixels]:
    """Copies by a belief, one per source."""
    sources = some_sources(train, count, random)
    return render_drawn(copier, train, sources, draw_belief(knobs, len(sources), random, explore=False))


def render_drawn(copier: Copier, train: Images, sources: list[int], columns: dict[str, Floats]) -> Iterator[Pixels]:
    """One copy of each source with the drawn columns."""
    draws = Draws(copy_keys(0, "fit", [str(i) for i in sources], np.arange(len(sources))), columns)
    return (copier.render_drawn(copier.prepare(train.read(s)), draws, i) for i, s in enumerate(sources))


def two_sample_auc(first: Floats, second: Floats, *, seed: int = 0) -> float:
    """How well boosted trees, cross-validated, tell two tables of features apart: 0.5 not at all, 1.0 at once."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    features = np.concatenate([first, second])
    side = np.repeat([0, 1], [len(first), len(second)])
    classifier = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=8, max_features=0.2, max_bins=64, random_state=seed
    )
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    score = cross_val_predict(classifier, features, side, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(side, score))


def as_operations(knobs: Sequence[Knob]) -> Operations:
    """The belief as a block of params.yaml; what does nothing is left out."""
    content: dict[str, dict[str, Any]] = {}
    for name, group in grouped(knobs).items():
        if all(does_nothing(knob) for knob in group):
            continue
        entry: dict[str, Any] = neutral_entry(name)
        for knob in group:
            if knob.coin:
                entry[knob.field] = round(knob.probability, 2)
            else:
                entry[knob.field] = [float(f"{knob.low:.3g}"), float(f"{knob.high:.3g}")]
                entry["probability"] = round(min(1.0, knob.probability), 2)
        content[name] = entry
    return Operations.model_validate(content)


def grouped(knobs: Sequence[Knob]) -> dict[str, list[Knob]]:
    """Knobs by operation."""
    groups: dict[str, list[Knob]] = {}
    for knob in knobs:
        groups.setdefault(knob.operation, []).append(knob)
    return groups


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
    lines = [f"  {name}: {flow(entry)}" for name, entry in operations.items()]
    numbers = flow({"before": round(fit.auc_before, 4), "after": round(fit.auc_after, 4)})
    write_text(folder / "fitted.yaml", f"{head}auc: {numbers}\noperations:\n" + "\n".join(lines) + "\n")
    write_bytes(folder / "fitted.png", cv2.imencode(".png", fit.pictures[..., ::-1])[1].tobytes())


def flow(entry: dict[str, Any]) -> str:
    """A mapping on one line of YAML."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()


def fitted_params(params: AugmentParams, path: Path) -> AugmentParams:
    """`params` with the operations of a fitted.yaml in place of its own; dropout is kept, as no test image shows it."""
    if not path.is_file():
        raise DataError(
            f"{path} not found, and augment.strength is fitted. Set explore.fit_noise: true, or augment.strength: given"
        )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    fitted = Operations.model_validate(content["operations"])
    return params.model_copy(update={"operations": fitted.model_copy(update={"dropout": params.operations.dropout})})
