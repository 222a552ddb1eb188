"""How much choosing a checkpoint on the held-out rows flatters their score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HALVES = 20
Labels = npt.NDArray[np.int64]


def optimism(predicted: Labels, labels: Labels, *, n_classes: int, seed: int) -> float:
    """The expected gain in macro-F1 that comes from choosing the best of several epochs on the rows that are scored.

    `predicted` holds each epoch's labels  # (n_epochs, n_rows). The rows are halved at random: the epoch that is best
    on one half is scored on the other, and the mean gap, over sqrt(2) because all rows are twice a half, is the gain.
    """
    generator = np.random.default_rng(seed)
    gaps = []
    for _ in range(HALVES):
        first = generator.permutation(len(labels)) < len(labels) // 2
        chosen, unseen = (macro_f1(predicted[:, half], labels[half], n_classes) for half in (first, ~first))
        for ours, theirs in ((chosen, unseen), (unseen, chosen)):
            best = int(ours.argmax())
            gaps.append(ours[best] - theirs[best])
    return float(np.mean(gaps) / 2**0.5)


def macro_f1(
    predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], n_classes: int
) -> npt.NDArray[np.float64]:
    """Of each epoch, over the classes that occur.  # (n_epochs,)"""
    found = []
    for row in predicted:
        hits = np.bincount(labels[row == labels], minlength=n_classes)
        sums = np.bincount(labels, minlength=n_classes) + np.bincount(row, minlength=n_classes)
        found.append((2 * hits[sums > 0] / sums[sums > 0]).mean())
    return np.asarray(found)
