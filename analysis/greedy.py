"""Greedy selection of members with replacement (Caruana et al., 2004), fast: the same path as AutoGluon's.

Reads log-probabilities (n_members, n_rows, n_classes), in memory or memory-mapped, and true labels (n_rows,).

Why it is fast, each step exact:
- counts per class instead of one call of a metric per candidate;
- reduction: a class that loses to the mean's winner in every member can never win its row, for any weights. Rows with
  one class left are constants; the others keep a few classes;
- margin skip: a row is looked at again only in the round in which some candidate could close the gap to its winner;
- sparse updates: only rows that a candidate would change touch that candidate's counts.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.metrics import from_marginals, quadratic_cost, true_class
from analysis.pools import slabs

Array = NDArray[Any]
Candidates = Generator[Array, int, None]  # yields the regret of each candidate, is sent the pick
WIDTHS = (2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 1024)  # classes kept by a row, rounded up
SLACK = 1e-6  # float32 differences closer than this are decided in float64
NEVER = 1 << 30


@dataclass(frozen=True)
class Selection:
    """The best prefix of the path: members in the order picked, their shares, and the regret after each pick."""

    path: tuple[int, ...]
    weights: Array  # (n_members,) sums to 1
    regrets: tuple[float, ...]  # 1 - score; the log-loss itself for log_loss


@dataclass
class Tally:
    """Counts that a label metric depends on; of the current blend, or one row per candidate."""

    hits: Array  # (..., n_classes)
    predicted: Array  # (..., n_classes)
    cost: Array  # (...) summed quadratic cost, for QWK

    def scores(self, metric: str, actual: Array) -> Array:
        """The metric of each row of counts, given the true counts (n_classes,)."""
        if metric != "qwk":
            return from_marginals(metric, self.hits, predicted=self.predicted, actual=actual)
        expected = self.predicted @ (quadratic_cost(len(actual)) @ actual) / actual.sum()
        return np.asarray(1.0 - self.cost / np.where(expected > 0, expected, 1.0))


@dataclass
class Block:
    """Undecided rows that keep the same number of classes."""

    probabilities: Array  # (n_kept, n_members, n_rows) float32
    classes: Array  # (n_kept, n_rows) ascending
    truth: Array  # (n_rows,)

    def __post_init__(self) -> None:
        n_kept, _, n_rows = self.probabilities.shape
        self.sums = np.zeros((n_kept, n_rows))
        self.top = np.zeros(n_rows, dtype=np.intp)
        self.wake = np.zeros(n_rows, dtype=np.int64)

    def first_labels(self) -> Array:
        """The class that each member alone gives each row, (n_members, n_rows)."""
        best = self.probabilities[0].copy()
        labels = np.broadcast_to(self.classes[0], best.shape).copy()
        for position in range(1, len(self.classes)):
            larger = self.probabilities[position] > best
            np.copyto(best, self.probabilities[position], where=larger)
            np.copyto(labels, self.classes[position], where=larger)
        return labels

    def changes(self, round_number: int) -> tuple[Array, Array, Array]:
        """(members, rows, positions): every candidate that would change the winner of a row, and to which class."""
        rows = np.flatnonzero(self.wake <= round_number)
        awake = self.probabilities if len(rows) == len(self.wake) else self.probabilities.take(rows, axis=2)
        top, here = self.top[rows], np.arange(len(rows))
        sums = self.sums[:, rows]
        gaps = sums[top, here] - sums  # (n_kept, n_awake)
        gaps[top, here] = np.inf
        own = awake.transpose(0, 2, 1)[top, here].T if len(rows) else awake[0]  # (n_members, n_awake)
        limit = (gaps - SLACK).astype(np.float32)
        possible = np.zeros(own.shape, dtype=bool)
        rounds = np.full(len(rows), float(NEVER))
        for position in range(len(awake)):
            lead = awake[position] - own
            possible |= lead > limit[position]
            largest = lead.max(axis=0, initial=0.0) + SLACK
            np.minimum(rounds, gaps[position] / largest, out=rounds)
        self.wake[rows] = round_number + np.maximum(np.ceil(rounds * (1 - 1e-9)) - 1, 1).astype(np.int64)
        members, places = np.nonzero(possible)
        totals = sums[:, places] + awake[:, members, places]
        winners = totals.argmax(axis=0)
        real = winners != top[places]
        return members[real], rows[places[real]], winners[real]

    def add(self, member: int) -> None:
        """Add a member's probabilities to the running sums."""
        self.sums += self.probabilities[:, member]


def select(
    log_probabilities: Array, labels: Array, *, metric: str = "macro_f1", rounds: int = 50, seed: int = 0
) -> Selection:
    """Pick `rounds` members, each time the one that helps `metric` most; keep the best prefix.

    Ties go to members already picked, then to chance, with AutoGluon's rounding, tolerance and random stream
    (`EnsembleSelection`, tie_breaker='random').
    """
    if metric == "log_loss":
        candidates = loss_candidates(log_probabilities, labels)
    else:
        candidates = label_candidates(log_probabilities, labels, metric)
    return follow(candidates, len(log_probabilities), rounds=rounds, seed=seed)


def follow(candidates: Candidates, n_members: int, *, rounds: int, seed: int) -> Selection:
    """AutoGluon's loop around the candidates' regrets."""
    random = np.random.RandomState(seed)
    regrets = next(candidates)
    path: list[int] = []
    trajectory: list[float] = []
    rounding = False
    for number in range(rounds):
        if rounding:
            regrets = regrets.round(6)
        best = np.flatnonzero(np.isclose(regrets, np.nanmin(regrets), atol=0, rtol=1e-12))
        used = [int(member) for member in best if member in path]
        pick = int(random.choice(used or best))
        if number == 0 and abs(regrets[pick]) > 1e-4:
            rounding = True
            regrets = regrets.round(6)
        path.append(pick)
        trajectory.append(float(regrets[pick]))
        if n_members == 1 or number == rounds - 1:
            break
        regrets = candidates.send(pick)
    length = int(np.argmin(trajectory)) + 1
    weights = np.bincount(path[:length], minlength=n_members) / length
    return Selection(tuple(path[:length]), weights, tuple(trajectory[:length]))


def loss_candidates(log_probabilities: Array, labels: Array) -> Candidates:
    """Log-loss of the current blend plus each candidate; needs the true class's column only."""
    share = np.exp(np.asarray(true_class(log_probabilities, labels), dtype=np.float64))  # (n_members, n_rows)
    total = np.zeros(share.shape[1])
    tiny = np.finfo(np.float64).eps
    count = 0
    while True:
        count += 1
        picked = yield np.array([-np.log(np.maximum((total + own) / count, tiny)).mean() for own in share])
        total += share[picked]


def label_candidates(log_probabilities: Array, labels: Array, metric: str) -> Candidates:
    """1 - metric of the current blend plus each candidate."""
    n_members, _, n_classes = log_probabilities.shape
    actual = np.bincount(labels, minlength=n_classes).astype(np.float64)
    constant, blocks = reduce_rows(log_probabilities, labels)
    firsts = [block.first_labels() for block in blocks]
    per_member = Tally(
        np.tile(constant.hits, (n_members, 1)),
        np.tile(constant.predicted, (n_members, 1)),
        np.full(n_members, constant.cost, dtype=np.float64),
    )
    members = np.arange(n_members)
    for block, first in zip(blocks, firsts, strict=True):
        flat = np.repeat(members, len(block.truth))
        count(per_member, flat, np.tile(block.truth, n_members), first.ravel(), sign=1)
    picked = yield 1.0 - per_member.scores(metric, actual)
    current = Tally(per_member.hits[picked], per_member.predicted[picked], per_member.cost[picked])
    for block in blocks:
        block.add(picked)
        block.top = block.sums.argmax(axis=0)
    del firsts, first
    round_number = 0
    while True:
        round_number += 1
        found = [block.changes(round_number) for block in blocks]
        per_member = Tally(
            np.tile(current.hits, (n_members, 1)),
            np.tile(current.predicted, (n_members, 1)),
            np.full(n_members, current.cost, dtype=np.float64),
        )
        for block, (who, rows, winners) in zip(blocks, found, strict=True):
            truth = block.truth[rows]
            count(per_member, who, truth, block.classes[block.top[rows], rows], sign=-1)
            count(per_member, who, truth, block.classes[winners, rows], sign=1)
        picked = yield 1.0 - per_member.scores(metric, actual)
        current = Tally(per_member.hits[picked], per_member.predicted[picked], per_member.cost[picked])
        for block, (who, rows, winners) in zip(blocks, found, strict=True):
            mine = who == picked
            block.top[rows[mine]] = winners[mine]
            block.add(picked)


def count(tally: Tally, members: Array, truth: Array, predicted: Array, *, sign: int) -> None:
    """Add (or take away) predictions to the members' counts, in place."""
    n_members, n_classes = tally.hits.shape
    cells = members * n_classes + predicted
    size = n_members * n_classes
    tally.predicted += sign * np.bincount(cells, minlength=size).reshape(n_members, n_classes)
    tally.hits += sign * np.bincount(cells[truth == predicted], minlength=size).reshape(n_members, n_classes)
    distance = (truth.astype(np.int64) - predicted) ** 2
    tally.cost += sign * np.bincount(members, weights=distance, minlength=n_members)


def reduce_rows(log_probabilities: Array, labels: Array) -> tuple[Tally, list[Block]]:
    """The counts of rows that no weights can change, and the other rows with the classes that can win."""
    n_members, n_rows, n_classes = log_probabilities.shape
    constant = Tally(np.zeros((1, n_classes)), np.zeros((1, n_classes)), np.zeros(1))
    pieces: dict[int, list[tuple[Array, Array, Array]]] = {}
    for rows in slabs(n_members, n_rows, n_classes, cells=1 << 20):
        probabilities = np.exp(log_probabilities[:, rows].astype(np.float32, copy=False))  # (m, n, c)
        winner = probabilities.sum(axis=0).argmax(axis=1)
        here = np.arange(len(winner))
        own = probabilities[:, here, winner]  # (m, n)
        alive = np.asarray((probabilities >= own[:, :, None]).any(axis=0))  # (n, c)
        kept = alive.sum(axis=1)
        decided = kept == 1
        truth = labels[rows]
        count(constant, np.zeros(int(decided.sum()), dtype=np.int64), truth[decided], winner[decided], sign=1)
        widths = np.asarray(WIDTHS)[np.searchsorted(WIDTHS, kept)]
        for width in np.unique(widths[~decided]):
            chosen = np.flatnonzero((widths == width) & ~decided)
            size = min(int(width), n_classes)
            classes = np.sort(np.argsort(~alive[chosen], axis=1, kind="stable")[:, :size], axis=1).T
            part = np.ascontiguousarray(probabilities[:, chosen, classes].transpose(1, 0, 2))
            pieces.setdefault(size, []).append((part, classes, truth[chosen]))
    blocks = []
    for size in sorted(pieces):
        parts = pieces.pop(size)
        blocks.append(Block(*(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))))
    return Tally(constant.hits[0], constant.predicted[0], constant.cost[0]), blocks


def bagged(
    log_probabilities: Array,
    labels: Array,
    *,
    metric: str = "macro_f1",
    rounds: int = 50,
    bags: int = 20,
    share: float = 0.5,
    groups: Array | None = None,
    seed: int = 0,
) -> Array:
    """Mean weights (n_members,) of greedy selections on random halves of the members and bootstrapped groups."""
    n_members = len(log_probabilities)
    random = np.random.default_rng(seed)
    owners = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(owners.max()) + 1
    weights = np.zeros(n_members)
    for bag in range(bags):
        members = np.sort(random.choice(n_members, max(1, round(share * n_members)), replace=False))
        times = np.bincount(random.integers(n_groups, size=n_groups), minlength=n_groups)
        rows = np.repeat(np.arange(len(labels)), times[owners])
        picked = select(
            log_probabilities[members][:, rows], labels[rows], metric=metric, rounds=rounds, seed=seed + bag
        )
        weights[members] += picked.weights
    return np.asarray(weights / weights.sum())
