"""The methods of blending by name: each fits pools on a library; `fitting` puts calibration and limits around them.

Pure functions from a `Library` and `Options` to pools; what each does stands in its docstring and in the schema of
`blend` in params.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import greedy
from analysis.ensemble import Options
from analysis.library import Library, evenly
from analysis.metrics import true_logs
from analysis.pool_weights import FEW, Features, choose_ridge, choose_shrink, linear_weights, log_linear_weights
from analysis.pools import LinearPool, LogLinearPool, Pool, PowerPool, RankPool, StackPool, VotePool, stack_features

Array = NDArray[Any]
CELLS = 8_000_000  # a log-linear fit reads at most this much of a table: evenly spaced rows beyond


def uniform(library: Library) -> tuple[float, ...]:
    """Equal weights."""
    return (1.0 / len(library.members),) * len(library.members)


def soft(library: Library, options: Options) -> tuple[Pool, ...]:
    """Soft voting: the mean of the members' probabilities."""
    return (LinearPool(uniform(library)),)


def given(library: Library, options: Options) -> tuple[Pool, ...]:
    """Soft voting with the weights of `blend.weights`; members not named there are absent."""
    weights = np.array([options.weights.get(name, 0.0) for name in library.members], dtype=np.float64)
    if not weights.sum() > 0 or (weights < 0).any():
        raise ValueError("blend.weights must name members with weights >= 0 that do not sum to 0")
    return (LinearPool(tuple((weights / weights.sum()).tolist())),)


def geometric(library: Library, options: Options) -> tuple[Pool, ...]:
    """The normalised geometric mean of the members' probabilities."""
    return (LogLinearPool(uniform(library)),)


def power(library: Library, options: Options) -> tuple[Pool, ...]:
    """The power mean with exponent `blend.power`: 1 is soft voting, toward 0 the geometric mean."""
    return (PowerPool(uniform(library), options.power),)


def rank(library: Library, options: Options) -> tuple[Pool, ...]:
    """The mean of each member's ranks within a class: for members whose probabilities mean nothing."""
    return (RankPool(uniform(library)),)


def hard(library: Library, options: Options) -> tuple[Pool, ...]:
    """One vote per member; ties to the larger mean probability."""
    return (VotePool(uniform(library)),)


def weighted(library: Library, options: Options) -> tuple[Pool, ...]:
    """Soft voting with the convex log-loss weights, shrunk to uniform by pseudo-rows (cross-validated log-loss)."""
    own = true_logs(library.log_probabilities, library.labels)
    few = evenly(len(library.labels), FEW)
    shrink = options.shrink or choose_shrink(own[:, few], splits(library, parts=3)[few])
    return (LinearPool(tuple(linear_weights(own, shrink=shrink).tolist()), shrink),)


def log_linear(library: Library, options: Options) -> tuple[Pool, ...]:
    """softmax(sum w log p + b), its ridge chosen by cross-validated log-loss."""
    parts = splits(library, parts=3)
    few, many = (spread(library, cells) for cells in (CELLS // 3, CELLS))
    table = library.log_probabilities
    ridge = options.ridge or choose_ridge(np.asarray(table[:, few]), library.labels[few], parts[few])
    table, labels = np.asarray(table[:, many]), library.labels[many]
    n_members = len(table)
    parameters = log_linear_weights(Features.of(table, labels), ridge=ridge)
    return (LogLinearPool(tuple(parameters[:n_members].tolist()), tuple(parameters[n_members:].tolist()), ridge),)


def spread(library: Library, cells: int) -> Array:
    """Evenly spaced rows (positions), at least 2,000, that hold about `cells` cells of the table; or all rows."""
    n_members, n_rows, n_classes = library.log_probabilities.shape
    return evenly(n_rows, max(2_000, cells // (n_members * n_classes)))


def greedy_selection(library: Library, options: Options) -> tuple[Pool, ...]:
    """Greedy selection with replacement by `blend.metric`, `blend.rounds` rounds, the best prefix."""
    chosen = greedy.select(
        library.log_probabilities, library.labels, metric=options.metric, rounds=options.rounds, seed=options.seed
    )
    return (LinearPool(tuple(chosen.weights.tolist())),)


def greedy_bagged(library: Library, options: Options) -> tuple[Pool, ...]:
    """The mean of `blend.bags` greedy selections on halves of the members and bootstrapped rows."""
    weights = greedy.bagged(
        library.log_probabilities,
        library.labels,
        metric=options.metric,
        rounds=min(options.rounds, 25),
        bags=options.bags,
        groups=library.groups,
        seed=options.seed,
    )
    return (LinearPool(tuple(weights.tolist())),)


def cma_es(library: Library, options: Options) -> tuple[Pool, ...]:
    """Weights by CMA-ES (the library `cma`) on the metric itself."""
    from analysis.evolution import metric_weights

    weights = metric_weights(library.log_probabilities, library.labels, metric=options.metric, seed=options.seed)
    return (LinearPool(tuple(weights.tolist())),)


def stacking(library: Library, options: Options) -> tuple[Pool, ...]:
    """Multinomial logistic regression on all members' log-probabilities, its penalty chosen by log-loss."""
    from sklearn.linear_model import LogisticRegression

    features, labels = stack_features(library.log_probabilities), library.labels
    parts = splits(library, parts=3)
    n_classes = library.log_probabilities.shape[-1]

    def fitted(rows: Array, penalty: float) -> StackPool:
        model = LogisticRegression(C=penalty, max_iter=200).fit(features[rows], labels[rows])
        coefficients = np.zeros((features.shape[1], n_classes))
        bias = np.full(n_classes, -10.0)  # classes that no row of the fit has
        if len(model.classes_) > 2:
            coefficients[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
        else:  # scikit-learn keeps one column for two classes
            coefficients[:, model.classes_[1]], bias[model.classes_] = model.coef_[0], [0.0, model.intercept_[0]]
        mass = np.abs(coefficients).reshape(len(library.members), -1).sum(axis=1)
        shares = mass / max(mass.sum(), 1e-12)
        return StackPool(tuple(shares.tolist()), tuple(map(tuple, coefficients.tolist())), tuple(bias.tolist()))

    def loss(penalty: float) -> float:
        total = 0.0
        for part in np.unique(parts):
            fit_rows, held = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            logs = fitted(fit_rows, penalty).apply(library.log_probabilities[:, held])
            total -= float(true_logs(logs, labels[held]).sum())
        return total

    best = min((0.001, 0.01, 0.1), key=loss)
    return (fitted(np.arange(len(labels)), best),)


def auto(library: Library, options: Options) -> tuple[Pool, ...]:
    """The pools of the fixed recipe: their mean is taken."""
    return weighted(library, options) + log_linear(library, options)


def splits(library: Library, *, parts: int) -> Array:
    """A part (n_rows,) in 0..parts-1 for every row: the library's folds where there are enough, else its groups."""
    numbers, positions = np.unique(library.folds, return_inverse=True)
    if len(numbers) >= parts:
        return np.asarray(positions % parts) if parts < 5 else np.asarray(positions)
    owners = np.unique(library.groups, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(int(owners.max()) + 1)
    return np.asarray(order[owners] % parts)


Fitter = Callable[[Library, Options], tuple[Pool, ...]]
METHODS: dict[str, Fitter] = {
    "auto": auto,
    "soft": soft,
    "given": given,
    "geometric": geometric,
    "power": power,
    "rank": rank,
    "hard": hard,
    "weighted": weighted,
    "log_linear": log_linear,
    "greedy": greedy_selection,
    "greedy_bagged": greedy_bagged,
    "cma_es": cma_es,
    "stacking": stacking,
}
