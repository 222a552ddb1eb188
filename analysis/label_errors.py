"""Suspicious labels: training images whose label their out-of-fold probabilities contradict (confident learning).

Each image is judged by models that did not train on it, nor on a near duplicate of it. Method: Northcutt, Jiang and
Chuang, Confident Learning, JAIR 70 (2021), through cleanlab. A suspicion is no proof: look before you correct.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def suspects(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """Rows whose label is likely wrong, the worst first: row, label, suggested, own, other.

    `labels` (n_rows,), `probabilities` (n_rows, n_classes) out of fold. `own` is the probability of the given label,
    `other` that of the suggested one. Classes without a row are left aside.
    """
    from cleanlab.filter import find_label_issues

    present = np.unique(labels)
    if len(present) < 2:
        return _table(np.empty(0, np.int64), labels, probabilities, present)
    inner = probabilities[:, present]
    inner = inner / inner.sum(axis=1, keepdims=True)
    given = np.searchsorted(present, labels)
    # how many are wrong is estimated by confident learning; which, by the least probability of the given label: on
    # digits with 3% of the labels changed, this finds more of them at a higher precision than cleanlab's default
    ranked = find_label_issues(
        given, inner, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return _table(np.asarray(ranked, np.int64), labels, probabilities, present)


def _table(
    rows: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float64], present: NDArray[np.int64]
) -> pd.DataFrame:
    suggested = present[probabilities[rows][:, present].argmax(axis=1)] if len(rows) else np.empty(0, np.int64)
    return pd.DataFrame(
        {
            "row": rows,
            "label": labels[rows],
            "suggested": suggested,
            "own": probabilities[rows, labels[rows]],
            "other": probabilities[rows, suggested],
        }
    )
