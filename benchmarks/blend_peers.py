"""Peers of the blend's fast paths: AutoGluon's greedy selection, and the usual forms with scipy, scikit-learn, deslib.

Each peer is optional where it is not a dependency; without it its algorithm, written naively, stands in.
Run by: python -m benchmarks.blend --only speed|peers
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import greedy
from analysis.metrics import true_class
from analysis.pool_weights import linear_weights
from analysis.uncertainty import bootstrap
from benchmarks.blend import cpu, members

Array = NDArray[Any]


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


def peers() -> dict[str, Any]:
    """Linear weights, the paired bootstrap and diversity matrices against their usual forms."""
    found = {"linear_weights": weights_against_scipy(), "paired_bootstrap": bootstrap_against_scipy()}
    return {**found, "diversity": diversity_against_deslib()}


def diversity_against_deslib(*, n_rows: int = 5_000, n_members: int = 20) -> dict[str, Any]:
    """All pairwise diversity measures from one matrix product, against deslib pair by pair (or the same in numpy)."""
    from benchmarks.team import matrices, peer_measures

    found = matrices(n_rows, n_members)
    name = peer_measures()[0]
    return {
        "size": f"{n_rows}x{n_members}",
        "seconds": round(found["seconds"], 5),
        "vs_usual": round(found["times"], 1),
        "peer": name,
    }


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
