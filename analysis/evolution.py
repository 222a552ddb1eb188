"""Blend weights by CMA-ES on the metric itself (Hansen, 2016), through the library `cma`: rarely the best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import confusion, from_counts, true_class
from storage.errors import missing_extra

Array = NDArray[Any]


def metric_weights(
    log_probabilities: Array, labels: Array, *, metric: str, seed: int = 0, evaluations: int = 600
) -> Array:
    """Weights (n_members,) >= 0, summing to 1, that maximise `metric` of the linear pool on these rows.

    Weights are a softmax of the searched vector, with a small pull toward uniform. Raises ResourceError without `cma`.
    """
    try:
        import cma
    except ImportError:
        raise missing_extra("cma", "cma") from None
    n_members, _, n_classes = log_probabilities.shape
    probabilities = np.exp(log_probabilities.astype(np.float32))
    own = true_class(probabilities, labels)

    def loss(vector: Array) -> float:
        weights = softmax(vector)
        pull = 0.001 * float(np.square(vector).mean())
        if metric == "log_loss":
            return pull - float(np.log(np.maximum(weights @ own, 1e-12)).mean())
        mixed = np.tensordot(weights.astype(np.float32), probabilities, axes=1)
        return pull - float(from_counts(metric, confusion(labels, mixed.argmax(axis=1), n_classes=n_classes)))

    settings = {"seed": seed + 1, "maxfevals": evaluations, "verbose": -9}
    best, _ = cma.fmin2(loss, np.zeros(n_members), 0.5, settings)
    return softmax(np.asarray(best))


def softmax(vector: Array) -> Array:
    """Weights from a free vector."""
    shifted = np.exp(vector - vector.max())
    return np.asarray(shifted / shifted.sum())
