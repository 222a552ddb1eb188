"""Fitting the two convex pools: linear weights by log-loss, log-linear weights and biases with a ridge.

Both by Newton's method, in slabs of rows beside a table that may be memory-mapped. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.pools import FLOOR, slabs

Array = NDArray[Any]
TINY = 1e-37  # a probability, still a number in float32
FEW = 4_000  # rows of a first, rough fit


def linear_weights(log_true: Array, *, shrink: float = 0.05, rounds: int = 60) -> Array:
    """Weights (n_members,) >= 0, summing to 1, that minimise the log-loss of the linear pool.

    `log_true` (n_members, n_rows): log-probability of the true class, which is all that the loss depends on.
    `shrink`: pseudo-rows, as a share of the rows, each explained by one member only; they pull toward uniform.
    Newton's method on `-mean log(q w) - shrink/M sum log w + (1 + shrink) sum w`, whose minimum sums to 1 by itself.
    """
    n_members, n_rows = log_true.shape
    if n_members == 1:
        return np.ones(1)
    parts = slabs(n_members, n_rows, 1, cells=1 << 20)
    share = np.empty((n_rows, n_members))
    for rows in parts:  # each row relative to its largest: only ratios matter
        share[rows] = np.exp(np.asarray(log_true[:, rows] - log_true[:, rows].max(axis=0), dtype=np.float64)).T
    barrier = max(shrink, 1e-6) / n_members
    total = 1.0 + barrier * n_members
    weights = np.full(n_members, 1.0 / n_members)
    if n_rows > 4 * FEW:  # a few rows lead most of the way
        weights = np.maximum(linear_weights(log_true[:, :: n_rows // FEW], shrink=shrink), 1e-6 / n_members)

    def objective(candidate: Array) -> float:
        return float(-np.log(share @ candidate).mean() - barrier * np.log(candidate).sum() + total * candidate.sum())

    value = objective(weights)
    for _ in range(rounds):
        gradient, hessian = total - barrier / weights, np.diag(barrier / weights**2)
        for rows in parts:
            inverse = 1.0 / (share[rows] @ weights)
            gradient -= inverse @ share[rows] / n_rows
            ratio = share[rows] * inverse[:, None]
            hessian += ratio.T @ ratio / n_rows
        step = -np.linalg.solve(hessian, gradient)
        decrement = float(-gradient @ step)
        if decrement < 1e-7:
            break
        shrinking = step < 0
        length = min(1.0, 0.99 * float((-weights[shrinking] / step[shrinking]).min(initial=np.inf)))
        while length > 1e-10 and objective(weights + length * step) > value - 0.1 * length * decrement:
            length *= 0.5
        weights = weights + length * step
        value = objective(weights)
    if shrink <= 1e-6:
        weights = np.where(weights < 1e-4, 0.0, weights)
    return np.asarray(weights / weights.sum())


def choose_shrink(log_true: Array, folds: Array, *, shares: Sequence[float] = (0.2, 0.05, 0.01, 0.001)) -> float:
    """The shrink of `linear_weights`: the largest whose cross-validated log-loss is as good as the best one's.

    Over `folds` (n_rows,), within two standard errors of their difference: little only where some members are plainly
    better.
    """
    losses = np.zeros((len(shares), len(folds)))
    for fold in np.unique(folds):
        fit, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        top = log_true[:, held].max(axis=0)
        share = np.exp(np.asarray(log_true[:, held] - top, dtype=np.float64)).T
        for position, shrink in enumerate(shares):
            losses[position, held] = -np.log(share @ linear_weights(log_true[:, fit], shrink=shrink))
    behind = losses - losses[losses.mean(axis=1).argmin()]  # (n_shares, n_rows)
    as_good = behind.mean(axis=1) <= 2 * behind.std(axis=1) / len(folds) ** 0.5
    return float(shares[int(as_good.argmax())])


Terms = tuple[float, Array, Array]  # a loss, its gradient, its Hessian


@dataclass(frozen=True)
class Features:
    """A table laid out for Newton's method: slabs of (n_classes, n_rows, n_members), and true labels.

    float32 is twice as fast; sums over rows lose less than a millionth, the weights are known to some hundredths.
    """

    slabs: tuple[tuple[Array, Array], ...]
    n_members: int
    n_rows: int
    n_classes: int

    @classmethod
    def of(cls, log_probabilities: Array, labels: Array, *, dtype: type[np.floating[Any]] = np.float32) -> Features:
        """From log-probabilities (n_members, n_rows, n_classes) and labels (n_rows,)."""
        n_members, n_rows, n_classes = log_probabilities.shape
        parts = []
        for rows in slabs(n_members, n_rows, n_classes, cells=1 << 18):
            table = np.maximum(np.asarray(log_probabilities[:, rows], dtype=dtype), dtype(FLOOR))
            parts.append((np.ascontiguousarray(table.transpose(2, 1, 0)), labels[rows]))
        return cls(tuple(parts), n_members, n_rows, n_classes)

    def terms(self, parameters: Array) -> Terms:
        """Mean log-loss of softmax(sum w log p + b), its gradient (n_members + n_classes,) and its Hessian."""
        n_members, n_classes = self.n_members, self.n_classes
        size = n_members + n_classes
        loss, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
        for features, truth in self.slabs:
            shares, here = shares_of(features, parameters), np.arange(len(truth))
            loss -= float(np.log(np.maximum(shares[truth, here], TINY)).sum(dtype=np.float64))
            weighted = features * shares[:, :, None]
            expected = weighted.sum(axis=0)  # (n_rows, n_members)
            gradient[:n_members] += (expected - features[truth, here]).sum(axis=0)
            gradient[n_members:] += shares.sum(axis=1) - np.bincount(truth, minlength=n_classes)
            flat, heavy = features.reshape(-1, n_members), weighted.reshape(-1, n_members)
            hessian[:n_members, :n_members] += flat.T @ heavy - expected.T @ expected
            hessian[n_members:, :n_members] += np.matmul(shares[:, None], features)[:, 0] - shares @ expected
            hessian[n_members:, n_members:] += np.diag(shares.sum(axis=1)) - shares @ shares.T
        hessian[:n_members, n_members:] = hessian[n_members:, :n_members].T
        return loss / self.n_rows, gradient / self.n_rows, hessian / self.n_rows

    def loss(self, parameters: Array) -> float:
        """Summed log-loss."""
        total = 0.0
        for features, truth in self.slabs:
            own = shares_of(features, parameters)[truth, np.arange(len(truth))]
            total -= float(np.log(np.maximum(own, TINY)).sum(dtype=np.float64))
        return total


def shares_of(features: Array, parameters: Array) -> Array:
    """Probabilities (n_classes, n_rows) of the log-linear pool on one slab."""
    n_members = features.shape[2]
    weights, bias = np.split(parameters.astype(features.dtype), [n_members])
    logits = features @ weights + bias[:, None]
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return np.asarray(logits)


def log_linear_weights(
    features: Features, *, ridge: float, start: Array | None = None, tolerance: float = 3e-4, rounds: int = 15
) -> Array:
    """Parameters (n_members + n_classes,) = weights, bias of the log-linear pool with the smallest penalised log-loss.

    Minimises `mean log-loss + ridge/2 (M |w - 1/M|^2 + |b|^2)` by Newton's method; convex. The step that promises
    less than `tolerance` is the last and taken unseen: what it leaves is of the order of its square.
    """
    n_members, n_classes = features.n_members, features.n_classes
    centre = np.concatenate([np.full(n_members, 1.0 / n_members), np.zeros(n_classes)])
    scale = ridge * np.concatenate([np.full(n_members, float(n_members)), np.ones(n_classes)])
    parameters = centre.copy() if start is None else start
    loss, gradient, hessian = features.terms(parameters)
    value = loss + 0.5 * float(scale @ (parameters - centre) ** 2)
    for _ in range(rounds):
        slope = gradient + scale * (parameters - centre)
        step = -np.linalg.solve(hessian + np.diag(scale + 1e-9), slope)
        if float(-slope @ step) < tolerance:
            return np.asarray(parameters + step)
        for length in (1.0, 0.5, 0.25, 0.1, 0.02):
            candidate = parameters + length * step
            loss, gradient, hessian = features.terms(candidate)
            new_value = loss + 0.5 * float(scale @ (candidate - centre) ** 2)
            if new_value < value:
                break
        else:
            break
        parameters, value = candidate, new_value
    return parameters


def choose_ridge(
    log_probabilities: Array, labels: Array, folds: Array, *, ridges: Sequence[float] = (1.0, 0.1, 0.01, 0.001)
) -> float:
    """The ridge with the smallest cross-validated log-loss over `folds` (n_rows,); warm starts down the path."""
    losses = np.zeros(len(ridges))
    for fold in np.unique(folds):
        fit, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        features = Features.of(log_probabilities[:, fit], labels[fit])
        held_features = Features.of(log_probabilities[:, held], labels[held])
        parameters: Array | None = None
        for position, ridge in enumerate(ridges):
            parameters = log_linear_weights(features, ridge=ridge, start=parameters, rounds=5)
            losses[position] += held_features.loss(parameters)
    return float(ridges[int(losses.argmin())])
