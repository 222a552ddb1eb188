"""What `podium vote` casts: a mean of probabilities, or a vote that leaves the majority where that convinces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.disagreement import vote_counts
from analysis.team_files import TeamFile
from analysis.team_values import smoothed
from analysis.voting import agreement_weights, blend, weighted_vote
from analysis.voting_guard import careful_vote

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Cast:
    """What was voted, and how; `remark` says on how many rows the majority was left."""

    weights: Array  # (n_files,), sum 1
    labels: Array  # (n_rows,)
    shares: Array  # (n_rows, n_classes), sum 1
    remark: str = ""


def cast_soft(files: Sequence[TeamFile], n_classes: int, *, scores: Sequence[float] | None, smooth: float) -> Cast:
    """The weighted mean of probabilities; labels are smoothed, a share of `smooth` going to the other classes."""
    labels = np.stack([file.labels for file in files], axis=1)
    weights = with_capped_labels(files, agreement_weights(labels, n_classes, scores=scores))
    tables = [
        smoothed(file.labels, n_classes, smooth) if file.probabilities is None else file.probabilities for file in files
    ]
    shares = blend(tables, weights)
    return Cast(weights, np.round(shares, 6).argmax(axis=1), shares)


def with_capped_labels(files: Sequence[TeamFile], weights: Array) -> Array:
    """In a mean of probabilities, a file of labels only gets at most an even share: it cannot say how sure it is."""
    labels_only = np.array([file.probabilities is None for file in files])
    if labels_only.all() or not weights[~labels_only].sum():
        return weights
    result = np.where(labels_only, np.minimum(weights, 1 / len(weights)), weights)
    result[~labels_only] *= (1 - result[labels_only].sum()) / result[~labels_only].sum()  # they get what was cut off
    return np.asarray(result)


def cast_labels(
    labels: Array, n_classes: int, *, scores: Sequence[float] | None, order: Sequence[int], even: bool
) -> Cast:
    """One vote each where `even`; else weighted, on the rows where that is convincing; ties to the first in `order`."""
    n_files = labels.shape[1]
    counts = vote_counts(labels, n_classes) / n_files
    if even:
        ones = np.full(n_files, 1 / n_files)
        return Cast(ones, weighted_vote(labels, ones, n_classes, order=order), counts)
    vote = careful_vote(labels, n_classes, scores=scores, order=order)
    shares = np.where(vote.taken[:, None], vote_counts(labels, n_classes, vote.weights), counts)
    left = int(vote.taken.sum())
    remark = f"{left:,} rows leave the majority"
    if vote.offered > left:
        remark += f"; on {vote.offered - left:,} more the weights differ from it, but not convincingly"
    return Cast(vote.weights, vote.labels, shares, remark)
