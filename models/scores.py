"""The three numbers of a table of predictions, from scikit-learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def scores(labels: npt.NDArray[np.int64], log_probabilities: npt.NDArray[np.float32]) -> dict[str, float]:
    """Macro-F1 over all classes, accuracy and log-loss (natural logarithm, mean)."""
    from sklearn.metrics import accuracy_score, f1_score

    n_classes = log_probabilities.shape[1]
    predicted = log_probabilities.argmax(axis=1)
    f1 = f1_score(labels, predicted, labels=range(n_classes), average="macro", zero_division=0)
    chosen = log_probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "macro_f1": float(f1),
        "accuracy": float(accuracy_score(labels, predicted)),
        "log_loss": float(-chosen.mean()),
    }
