"""Which rows an epoch shows, in which order: a pure function of seed, fold and epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.seeds import derive

Positions = npt.NDArray[np.signedinteger[Any]]
EXPONENTS = {"balanced": 1.0, "square_root": 0.5}


def epoch_order(epoch: int, *, labels: Positions, sampler: str, length: int, seed: int) -> Positions:
    """Positions of the rows that one epoch shows, in order.  # (length,)

    plain: the epochs cut one endless sequence of permutations, so that each row is shown equally often.
    balanced, square_root: drawn with replacement, by 1 / n_c and 1 / sqrt(n_c) of the row's class.
    """
    if sampler == "plain":
        return endless(len(labels), start=epoch * length, length=length, seed=seed)
    counts = np.bincount(labels)
    share = 1.0 / counts[labels] ** EXPONENTS[sampler]  # (n_rows,)
    generator = np.random.default_rng(derive(seed, "sampler", epoch))
    return generator.choice(len(labels), size=length, p=share / share.sum()).astype(np.int32)


def endless(n_rows: int, *, start: int, length: int, seed: int) -> Positions:
    """A slice of permutation after permutation of the rows."""
    parts = []
    for number in range(start // n_rows, (start + length - 1) // n_rows + 1):
        order = np.arange(n_rows, dtype=np.int32)
        np.random.default_rng(derive(seed, "order", number)).shuffle(order)
        low = max(start - number * n_rows, 0)
        parts.append(order[low : start + length - number * n_rows])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
