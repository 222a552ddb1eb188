"""How the moments of images respond to what was drawn, and the belief whose moments are the test's.

Moments are the features of an image and their squares, whitened. The effect of a drawn value on them is a line broken
at a few nodes, and the effects of all drawn values add up; that holds near the belief, where most copies are, so it is
learnt anew each round. The mean moments of a range are then the mean of its line, and every range of every knob can be
tried without rendering anything: indirect inference (Gourieroux, Monfort and Renault 1993) by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from augmentation.belief import Knob, at_neutral, does_nothing, reach

Floats = npt.NDArray[np.float64]
N_NODES = 9
N_GRID = 25  # ends of a range are tried on so many points
N_INSIDE = 17  # points at which a line is averaged
SMOOTH = 20.0  # copies that speak against a bend of a line, but not at the neutral point
SWEEPS = 15
SHRINK = 0.05  # of the mean variance, added to each direction


class Moments:
    """Features and their squares, in units in which `own` copies and the test images together are white."""

    def __init__(self, test: Floats, own: Floats) -> None:
        both = np.concatenate([test, own])
        low, self.middle, high = np.quantile(both, (0.16, 0.5, 0.84), axis=0)
        self.spread = (high - low) / 2 + 1e-3 * (np.abs(self.middle) + 1)
        raw = self.raw(test)
        covariance = (np.cov(raw.T) + np.cov(self.raw(own).T)) / 2
        values, vectors = np.linalg.eigh(covariance)
        self.centre, self.whiten = raw.mean(axis=0), vectors / np.sqrt(values + SHRINK * values.mean())

    def raw(self, features: Floats) -> Floats:
        """Before whitening.  # (n_images, 2 * n_features)"""
        standard = np.clip((features - self.middle) / self.spread, -4, 4)
        return np.concatenate([standard, standard**2], axis=1)

    def of(self, features: Floats) -> Floats:
        """Their mean over the test images is 0.  # (n_images, n_moments)"""
        moments: Floats = (self.raw(features) - self.centre) @ self.whiten
        return moments

    def distance(self, features: Floats) -> float:
        """The squared distance of the mean from the test's."""
        return float(np.sum(self.of(features).mean(axis=0) ** 2))


@dataclass(frozen=True)
class Line:
    """The effect of a knob's value, all its columns together."""

    nodes: Floats  # (n_nodes,)
    effects: Floats  # (n_nodes, n_moments)

    def mean(self, low: Floats, high: Floats) -> Floats:
        """The mean effect over each range [low, high].  # (n_ranges, n_moments)"""
        inside = low[:, None] + (high - low)[:, None] * ((np.arange(N_INSIDE) + 0.5) / N_INSIDE)
        weights = hats(inside.ravel(), self.nodes).reshape(*inside.shape, -1).mean(axis=1)
        mean: Floats = weights @ self.effects
        return mean

    def of(self, knob: Knob) -> Floats:
        """The mean effect of a knob as it stands.  # (n_moments,)"""
        low, high, neutral = (np.array([value]) for value in (knob.low, knob.high, knob.neutral))
        off, on = self.mean(neutral, neutral)[0], self.mean(low, high)[0]
        effect: Floats = off + knob.probability * (on - off)
        return effect


@dataclass(frozen=True)
class Choices:
    """What a knob may become."""

    ends: Floats  # low and high  # (n_choices, 2)
    off: Floats  # effect of the neutral value  # (n_moments,)
    change: Floats  # what each range adds to it  # (n_choices, n_moments)


@dataclass(frozen=True)
class Response:
    """The mean moments of a belief: a constant and one line per knob."""

    constant: Floats
    lines: list[Line]

    @classmethod
    def learn(cls, knobs: Sequence[Knob], columns: dict[str, Floats], moments: Floats, weights: Floats) -> Self:
        """From the drawn columns, the moments (n_copies, n_moments) and the weights of copies, by ridge regression."""
        nodes = [nodes_of(knob, np.concatenate([columns[column] for column in knob.columns])) for knob in knobs]
        parts = [hats(columns[c], at) for knob, at in zip(knobs, nodes, strict=True) for c in knob.columns]
        sizes = [part.shape[1] for part in parts]
        drawn, share = np.concatenate(parts, axis=1), weights / weights.sum()
        mean, level = share @ drawn, share @ moments
        left = (drawn - mean).T * weights
        penalties = [penalty(knob, at) for knob, at in zip(knobs, nodes, strict=True) for _ in knob.columns]
        ends = np.cumsum([0, *sizes])
        squares = left @ (drawn - mean)
        for start, end, block in zip(ends, ends[1:], penalties, strict=False):
            squares[start:end, start:end] += block
        solved = np.linalg.solve(squares, left @ (moments - level))
        pieces = iter(np.split(solved, ends[1:-1]))
        effects = [sum(next(pieces) for _ in knob.columns) for knob in knobs]
        lines = [Line(at, np.asarray(effect)) for at, effect in zip(nodes, effects, strict=True)]
        return cls(level - mean @ solved, lines)

    def solve(self, knobs: Sequence[Knob], *, size: float, early: bool) -> list[Knob]:
        """The belief within reach whose mean moments are nearest to the test's, 0; `size` images speak for them.

        Each number that a knob needs costs twice what it brings by chance (Akaike 1974), so what cannot be seen stays
        neutral. Starts from the belief and from nothing at all, and then tries to do without each knob in turn: kinds
        of blur can stand for each other.
        """
        choices = [self.choices(knob, line, early=early) for knob, line in zip(knobs, self.lines, strict=True)]
        starts = (list(knobs), [at_neutral(knob) for knob in knobs])
        loss, best = min((self.descend(start, choices, size) for start in starts), key=lambda pair: pair[0])
        for i in range(len(best)):
            if not idle(best[i]):
                without = [*best[:i], at_neutral(best[i]), *best[i + 1 :]]
                loss, best = min((loss, best), self.descend(without, choices, size, first=i + 1), key=lambda p: p[0])
        return best

    def choices(self, knob: Knob, line: Line, *, early: bool) -> Choices:
        """All ranges within reach."""
        low, high = reach(knob, early=early)
        grid = np.linspace(low, high, N_GRID)
        first, second = np.triu_indices(N_GRID, 1)
        if knob.symmetric:
            first = np.arange(N_GRID // 2)
            second = N_GRID - 1 - first
        ends = np.stack([grid[first], grid[second]], axis=1) if not knob.coin else np.array([[1.0, 1.0]])
        neutral = np.array([float(knob.neutral)])
        off = line.mean(neutral, neutral)[0]
        return Choices(ends, off, line.mean(ends[:, 0], ends[:, 1]) - off)

    def descend(
        self, start: list[Knob], choices: list[Choices], size: float, *, first: int = 0
    ) -> tuple[float, list[Knob]]:
        """Knob by knob from the `first`, several times over: the loss and the belief."""
        knobs, cost = list(start), 2 / size
        effects = [line.of(knob) for line, knob in zip(self.lines, knobs, strict=True)]
        total = self.constant + np.sum(effects, axis=0)
        for _ in range(SWEEPS):
            for i in np.roll(np.arange(len(knobs)), -first):
                rest = total - effects[i]
                knobs[i] = chosen(knobs[i], choices[i], rest + choices[i].off, cost=cost, size=size)
                effects[i] = self.lines[i].of(knobs[i])
                total = rest + effects[i]
        numbers = sum(knob.parameters + (knob.single and knob.probability < 1) for knob in knobs if not idle(knob))
        return float(total @ total) + cost * numbers, knobs


def chosen(knob: Knob, choices: Choices, without: Floats, *, cost: float, size: float) -> Knob:
    """The knob that brings `without`, the moments where it is neutral, nearest to 0.

    Ranges that `size` images can hardly tell apart are averaged by their likelihood, which keeps clear of extremes.
    """
    base, along = float(without @ without), choices.change @ without
    length = np.sum(choices.change**2, axis=1) + 1e-12
    always = base + 2 * along + length + cost * max(1, knob.parameters)
    probability, losses = np.ones(len(along)), always
    if knob.single:
        odds = np.clip(-along / length, 0.05, 1)
        sometimes = base + 2 * odds * along + odds**2 * length + cost * (knob.parameters + 1)
        probability, losses = np.where(sometimes < always, odds, 1.0), np.minimum(sometimes, always)
    if losses.min() >= base:
        return at_neutral(knob)
    likelihood = np.exp(-(losses - losses.min()) * size / 2)
    likelihood /= likelihood.sum()
    low, high = likelihood @ choices.ends
    odds_mean = float(likelihood @ probability) if knob.single else 1.0
    return replace(knob, low=float(low), high=float(high), probability=odds_mean)


def idle(knob: Knob) -> bool:
    """Whether it has no effect at all."""
    return does_nothing(knob) and (knob.probability == 0 or knob.low == knob.high == knob.neutral)


def hats(values: Floats, nodes: Floats) -> Floats:
    """The weights of the nodes in broken lines at `values`.  # (n_values, n_nodes)"""
    return np.stack([np.interp(values, nodes, unit) for unit in np.eye(len(nodes))], axis=1)


def nodes_of(knob: Knob, values: Floats) -> Floats:
    """Where a knob's line may bend: dense where many values were drawn, and at the neutral point."""
    if knob.coin:
        return np.array([0.0, 1.0])
    moving = values[values != knob.neutral]
    nodes = np.quantile(moving, np.linspace(0, 1, N_NODES)) if len(moving) else np.array(knob.search, dtype=float)
    nodes = nodes[np.abs(nodes - knob.neutral) > np.diff(nodes).min() / 2]
    return np.unique(np.append(nodes, knob.neutral))


def penalty(knob: Knob, nodes: Floats) -> Floats:
    """What keeps a line small and without bends: at the neutral point alone it may have one.  # (n_nodes, n_nodes)"""
    bends = np.diff(np.eye(len(nodes)), 2, axis=0)  # (n_nodes - 2, n_nodes)
    bends = bends[nodes[1:-1] != knob.neutral] if len(nodes) > 2 else bends
    return SMOOTH * bends.T @ bends + np.eye(len(nodes))
