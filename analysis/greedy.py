"""Greedy selection of members with replacement (Caruana et al., 2004), fast: the same path as AutoGluon's.

Reads log-probabilities (n_members, n_rows, n_classes), in memory or memory-mapped, and true labels (n_rows,).

Why it is fast, each step exact:
- counts per class instead of one call of a metric per candidate;
- reduction: a class that loses to the mean's winner in every member can never win its row, for any weights. Most rows
  have one class left and are constants; the others keep a few (row, class) pairs;
- margin skip: a pair is looked at again only in the round in which some candidate could close its gap to the winner;
- sparse updates: only rows that a candidate would change touch that candidate's counts.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.greedy_counts import Pairs, Tally
from analysis.metrics import true_class
from analysis.pools import slabs

Array = NDArray[Any]
Candidates = Generator[Array, int, None]  # yields the regret of each candidate, is sent the pick


@dataclass(frozen=True)
class Selection:
    """The best prefix of the path: members in the order picked, their shares, and the regret after each pick."""

    path: tuple[int, ...]
    weights: Array  # (n_members,) sums to 1
    regrets: tuple[float, ...]  # 1 - score; the log-loss itself for log_loss


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
        lowest = regrets.min()
        best = np.flatnonzero(np.abs(regrets - lowest) <= 1e-12 * abs(lowest))
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
    actual = np.bincount(labels, minlength=log_probabilities.shape[2]).astype(np.float64)
    tally, pairs = reduce_rows(log_probabilities, labels)
    picked = yield 1.0 - tally.scores(metric, actual)
    pairs.start(picked)
    round_number = 0
    while True:
        round_number += 1
        tally = tally.everywhere(picked)
        members, winners = pairs.changes(round_number)
        rows = pairs.rows[winners]
        tally.add(members, pairs.truth[rows], pairs.classes[pairs.top[rows]], sign=-1)
        tally.add(members, pairs.truth[rows], pairs.classes[winners])
        picked = yield 1.0 - tally.scores(metric, actual)
        pairs.pick(picked, members, winners, round_number)


def reduce_rows(log_probabilities: Array, labels: Array) -> tuple[Tally, Pairs]:
    """The counts of each member alone over all rows, and the pairs of the rows that weights can change.

    One pass in slabs of rows; beside the table it holds the pairs only.
    """
    n_members, n_rows, n_classes = log_probabilities.shape
    tally = Tally.zeros(n_members, n_classes)
    everyone = np.arange(n_members)[:, None]
    kept = np.empty((max(n_rows // 4, 64), n_members), dtype=np.float32)
    parts: list[tuple[Array, Array, Array]] = []
    n_pairs = n_undecided = 0
    slab = min(1 << 18, max(log_probabilities.size // 16, 1 << 14))
    for rows in slabs(n_members, n_rows, n_classes, cells=slab):
        probabilities = np.exp(log_probabilities[:, rows].astype(np.float32, copy=False))  # (m, n, c)
        truth = labels[rows]
        winner = probabilities.sum(axis=0).argmax(axis=1)
        own = probabilities[:, np.arange(len(truth)), winner]  # (m, n)
        alive = np.asarray((probabilities >= own[:, :, None]).any(axis=0))  # (n, c)
        undecided = alive.sum(axis=1) > 1
        tally.add_same(truth[~undecided], winner[~undecided])
        firsts = probabilities[:, undecided].argmax(axis=2)  # (m, n_undecided)
        owners = np.broadcast_to(everyone, firsts.shape).ravel()
        tally.add(owners, np.tile(truth[undecided], n_members), firsts.ravel())
        alive &= undecided[:, None]
        places, classes = np.nonzero(alive)
        if n_pairs + len(places) > len(kept):  # realloc moves no pages: the peak stays at what is kept
            kept.resize((max(n_pairs + len(places), int(1.25 * len(kept))), n_members), refcheck=False)
        flat = probabilities.reshape(n_members, -1)
        kept[n_pairs : n_pairs + len(places)] = flat.take(places * n_classes + classes, axis=1).T
        numbers = np.cumsum(undecided) - 1 + n_undecided
        parts.append((numbers[places], classes, truth[undecided]))
        n_pairs += len(places)
        n_undecided += int(undecided.sum())
    kept.resize((n_pairs, n_members), refcheck=False)
    pair_rows, pair_classes, truths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return tally, Pairs(kept, pair_rows, pair_classes, truths)


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
