"""What greedy selection counts: each candidate's hits per class, and the rows whose label weights can still change.

`analysis/greedy.py` says why it is fast; here are the tally, the margin skip and the sparse updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import from_marginals, quadratic_cost

Array = NDArray[Any]
SLACK = 1e-4  # float32 gaps of up to a few hundred picks closer than this are decided in float64
NEVER = 1 << 30
AT_ONCE = 1 << 19  # cells of pairs compared at one time


@dataclass
class Tally:
    """Counts that a label metric depends on, one row per candidate."""

    hits: Array  # (n_members, n_classes)
    predicted: Array  # (n_members, n_classes)
    cost: Array  # (n_members,) summed quadratic cost, for QWK

    @classmethod
    def zeros(cls, n_members: int, n_classes: int) -> Tally:
        """No predictions yet."""
        return cls(np.zeros((n_members, n_classes)), np.zeros((n_members, n_classes)), np.zeros(n_members))

    def add(self, members: Array, truth: Array, predicted: Array, *, sign: int = 1) -> None:
        """Add predictions to the members' counts, or take them away."""
        shape, size = self.hits.shape, self.hits.size
        cells = members * shape[1] + predicted
        self.predicted += sign * np.bincount(cells, minlength=size).reshape(shape)
        self.hits += sign * np.bincount(cells[truth == predicted], minlength=size).reshape(shape)
        self.cost += sign * np.bincount(members, weights=(truth - predicted) ** 2, minlength=shape[0])

    def add_same(self, truth: Array, predicted: Array) -> None:
        """Add predictions that all members share."""
        n_classes = self.hits.shape[1]
        self.predicted += np.bincount(predicted, minlength=n_classes)
        self.hits += np.bincount(predicted[truth == predicted], minlength=n_classes)
        self.cost += float(((truth - predicted) ** 2).sum())

    def everywhere(self, picked: int) -> Tally:
        """The counts of one candidate, which became the blend, as the start of every candidate."""
        n_members = len(self.cost)
        return Tally(
            np.tile(self.hits[picked], (n_members, 1)),
            np.tile(self.predicted[picked], (n_members, 1)),
            np.full(n_members, self.cost[picked]),
        )

    def scores(self, metric: str, actual: Array) -> Array:
        """The metric of each candidate, given the true counts (n_classes,)."""
        if metric != "qwk":
            return from_marginals(metric, self.hits, predicted=self.predicted, actual=actual)
        expected = self.predicted @ (quadratic_cost(len(actual)) @ actual) / actual.sum()
        return np.asarray(1.0 - self.cost / np.where(expected > 0, expected, 1.0))


class Pairs:
    """The (row, class) pairs that some weights could make win, and the current winner of each undecided row."""

    def __init__(self, probabilities: Array, rows: Array, classes: Array, truth: Array) -> None:
        self.probabilities = probabilities  # (n_pairs, n_members) float32
        self.rows = rows  # (n_pairs,) ascending
        self.classes = classes  # (n_pairs,) ascending within a row
        self.truth = truth  # (n_rows,)
        self.starts = np.searchsorted(rows, np.arange(len(truth)))
        self.top = self.starts.copy()  # (n_rows,) the pair that wins
        self.wake = np.ones(len(rows), dtype=np.int64)  # (n_pairs,) the round in which to look again
        self.picks = np.zeros(probabilities.shape[1])

    def start(self, member: int) -> None:
        """The first pick decides every row."""
        self.picks[member] += 1
        if not len(self.rows):
            return
        own = self.probabilities[:, member]
        largest = np.maximum.reduceat(own, self.starts)
        winners = np.flatnonzero(own == largest[self.rows])
        _, first = np.unique(self.rows[winners], return_index=True)
        self.top = winners[first]
        self.wake[self.top] = NEVER

    def changes(self, round_number: int) -> tuple[Array, Array]:
        """(members, pairs): every candidate that would give a row to another pair than its present winner."""
        awake = np.flatnonzero(self.wake <= round_number)
        step = max(1, AT_ONCE // self.probabilities.shape[1])
        found = [self._compare(awake[at : at + step], round_number) for at in range(0, len(awake), step)]
        members = np.concatenate([part[0] for part in found] or [np.zeros(0, dtype=np.int64)])
        pairs = np.concatenate([part[1] for part in found] or [np.zeros(0, dtype=np.int64)])
        leads = np.concatenate([part[2] for part in found] or [np.zeros(0)])
        keys = self.rows[pairs] * len(self.picks) + members
        order = np.lexsort((self.classes[pairs], -leads, keys))  # several rivals: the largest, then the first class
        first = np.ones(len(order), dtype=bool)
        first[1:] = np.diff(keys[order]) > 0
        return members[order[first]], pairs[order[first]]

    def _compare(self, awake: Array, round_number: int) -> tuple[Array, Array, Array]:
        winners = self.top[self.rows[awake]]
        lead = self.probabilities[awake]
        lead -= self.probabilities[winners]  # (n_awake, n_members)
        gap = -(lead @ self.picks.astype(np.float32)).astype(np.float64)
        largest = np.maximum(lead.max(axis=1), 0.0) + 1e-7
        self.wake[awake] = round_number + np.maximum(np.ceil((gap - SLACK) / largest - 1.0), 1).astype(np.int64)
        close = np.flatnonzero(largest > gap - SLACK)
        places, members = np.nonzero(lead[close] > (gap[close] - SLACK)[:, None])
        pairs, winners = awake[close], winners[close]
        exact = self.probabilities[pairs].astype(np.float64) - self.probabilities[winners]
        leads = exact[places, members] + (exact @ self.picks)[places]
        earlier = pairs[places] < winners[places]
        real = (leads > 0) | ((leads == 0) & earlier)
        return members[real], pairs[places[real]], leads[real]

    def pick(self, member: int, members: Array, pairs: Array, round_number: int) -> None:
        """Add a member to the blend; the rows that it changes are looked at again in the next round."""
        self.picks[member] += 1
        new = pairs[members == member]
        touched = np.zeros(len(self.truth), dtype=bool)
        touched[self.rows[new]] = True
        self.wake[touched[self.rows]] = round_number + 1
        self.top[self.rows[new]] = new
        self.wake[new] = NEVER
