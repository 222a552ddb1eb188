"""What noise fitting believes about the test's noise: a range and a probability for each knob of a recipe.

A knob moves to the range [low, high] and the probability whose readings are distributed like the test's. Where the
neutral value explains the test as well, it stays neutral: what cannot be seen is not claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from augmentation.recipe import columns_of, ranges_of

Floats = npt.NDArray[np.float64]
SEARCH: dict[str, tuple[float, float]] = {  # where each knob is looked for at first; it may move beyond
    "jitter.brightness": (0.4, 1.6),
    "jitter.saturation": (0.3, 1.7),
    "jitter.hue": (-60, 60),
    "tint.gain": (0.3, 1.3),
    "tint.offset": (-40, 100),
    "gamma.exponent": (0.6, 1.6),
    "blur.sigma": (0, 3),
    "motion.length": (0, 9),
    "downscale.factor": (0.3, 1),
    "noise.sigma": (0, 60),
    "salt_pepper.fraction": (0, 0.05),
    "jpeg.quality": (10, 100),
}
COINS = ("noise.before_blur",)
TRIED: dict[str, tuple[float, ...]] = {  # geometry cannot be read off single images; a few settings are compared
    "rotate.degrees": (10, 20, 30, 45, 60, 90, 180),
    "shift.fraction": (0.05, 0.1, 0.2),
    "scale.factor": (0.1, 0.2, 0.3),
    "flip.horizontal": (0.5,),
    "flip.vertical": (0.5,),
}
FAR = 0.15  # share of copies that explore beyond the belief, for each knob on its own
N_BINS = 12
N_LEVELS = 48
ODDS = np.arange(21) / 20
TOLERANCE = 4e-4  # squared distance of distributions that a thousand images cannot tell from none
TEMPERATURE = 1e-4  # candidates so close to the best are averaged


@dataclass(frozen=True)
class Knob:
    """One range of a recipe, or a coin, whose probability alone is looked for."""

    operation: str
    field: str
    columns: tuple[str, ...]
    bounds: tuple[float, float]
    search: tuple[float, float]
    neutral: float
    low: float
    high: float
    probability: float
    single: bool  # the only range of its operation, so that its probability can be told
    coin: bool = False
    frozen: bool = False  # found to be unneeded: stays neutral

    @property
    def name(self) -> str:
        """As in params.yaml."""
        return f"{self.operation}.{self.field}"


def first_belief() -> list[Knob]:
    """Noise and blur anywhere, everything else neutral."""
    read = [range_knob(place, search) for place, search in SEARCH.items()] + [coin_knob(place) for place in COINS]
    widths = [without(range_knob(place, (-1, 1))) for place in TRIED if not place.startswith("flip.")]
    coins = [without(coin_knob(place)) for place in TRIED if place.startswith("flip.")]
    return [*read, *widths, *coins]


def settings(knob: Knob) -> list[Knob]:
    """What is worth comparing as a whole: geometry at some strengths; everything else always on, or not at all."""
    if knob.name in TRIED and knob.coin:
        return [replace(knob, probability=0.5)]
    if knob.name in TRIED:
        return [replace(knob, low=knob.neutral - width, high=knob.neutral + width) for width in TRIED[knob.name]]
    if does_nothing(knob):
        return []
    always = [replace(knob, probability=1.0, single=False)] if knob.single and knob.probability < 1 else []
    return [*always, without(knob)]


def range_knob(place: str, search: tuple[float, float]) -> Knob:
    """A knob for a range of the schema, as in "blur.sigma"."""
    operation, field = place.split(".")
    ranges = ranges_of(operation)
    extra = ranges[field]
    columns = tuple(columns_of(operation, field))
    low, high = search if operation in ("blur", "noise") else (extra["neutral"], extra["neutral"])
    single = len(ranges) == 1
    return Knob(
        operation, field, columns, extra["bounds"], search, extra["neutral"], low, high, 0.8 if single else 1.0, single
    )  # fmt: skip


def neutral_entry(operation: str) -> dict[str, Any]:
    """All ranges of an operation at their neutral points."""
    return {field: [extra["neutral"], extra["neutral"]] for field, extra in ranges_of(operation).items()}


def coin_knob(place: str) -> Knob:
    """A knob for a coin of the schema, as in "flip.vertical"."""
    operation, field = place.split(".")
    column = "noise_first" if field == "before_blur" else f"{operation}_{field}"
    return Knob(operation, field, (column,), (0, 1), (0, 1), 0, 0, 1, 0.0, single=False, coin=True)


def reach(knob: Knob, early: bool) -> tuple[float, float]:
    """Where a knob explores: all of the search range at first, later the neighbourhood of its belief."""
    low, high = knob.search
    if early:
        return min(low, knob.low), max(high, knob.high)
    margin = 0.2 * (knob.high - knob.low) + 0.08 * (high - low)
    return max(knob.bounds[0], knob.low - margin), min(knob.bounds[1], knob.high + margin)


def draw_belief(
    knobs: Sequence[Knob], count: int, random: np.random.Generator, *, explore: bool, early: bool = False
) -> dict[str, Floats]:
    """Drawn columns of `count` copies; where asked, a share of them explores, for each column on its own."""
    columns: dict[str, Floats] = {}
    for knob in knobs:
        far = FAR if explore and not knob.frozen else 0.0
        for column in knob.columns:
            explores = random.random(count) < far
            odds = np.where(explores, 0.5 if knob.single or knob.coin else 1.0, knob.probability)
            active = random.random(count) < odds
            near = random.uniform(knob.low, knob.high, count)
            values = np.where(explores, random.uniform(*reach(knob, early), count), near)
            columns[column] = active.astype(np.float64) if knob.coin else np.where(active, values, knob.neutral)
    return columns


def moved(knob: Knob, drawn: Floats, read: Floats, wanted: Floats, *, early: bool, step: float) -> Knob:
    """The knob after a round, `step` of the way to what fits best.

    `drawn` are its values in the copies, `read` what was read off them  # (n_copies * n_columns,)
    `wanted` is what was read off the test images  # (n_test * n_columns,)
    """
    levels = np.quantile(wanted, (np.arange(N_LEVELS) + 1) / (N_LEVELS + 1))
    target = share_below(wanted, levels)
    if knob.frozen:
        return knob
    if knob.coin:
        return replace(knob, probability=fitted_odds(drawn, read, levels, target))
    low, high = reach(knob, early)
    active = drawn != knob.neutral
    inside = active & (drawn >= low) & (drawn <= high)
    place = np.clip(((drawn - low) / (high - low) * N_BINS).astype(int), 0, N_BINS - 1)
    counts = np.array([np.sum((place == b) & inside) for b in range(N_BINS)], dtype=float)
    raw = np.stack([share_below(read[(place == b) & inside], levels) for b in range(N_BINS)])
    near = np.exp(-(((np.arange(N_BINS)[:, None] - np.arange(N_BINS)) / 0.7) ** 2))
    smooth = near @ (raw * counts[:, None]) / (near @ counts + 1e-9)[:, None]  # (n_bins, n_levels)
    edges = np.linspace(low, high, N_BINS + 1)
    home = int(np.clip((knob.neutral - low) / (high - low) * N_BINS, 0, N_BINS - 1))
    off = share_below(read[~active], levels) if np.sum(~active) >= 50 else smooth[home]
    candidates = ranges(smooth, off, edges, target, knob)
    best = candidates[:, 0].min()
    unexplained = np.mean((off - target) ** 2)
    if unexplained < best + TOLERANCE or best > unexplained / 2:
        p, new_low, new_high = (1.0, knob.neutral, knob.neutral)
    else:
        weight = np.exp(-(candidates[:, 0] - best) / TEMPERATURE)
        p, new_low, new_high = (weight / weight.sum()) @ candidates[:, 1:]
    return replace(
        knob,
        low=float((1 - step) * knob.low + step * new_low),
        high=float((1 - step) * knob.high + step * new_high),
        probability=float((1 - step) * knob.probability + step * p) if knob.single else 1.0,
    )


def ranges(smooth: Floats, off: Floats, edges: Floats, target: Floats, knob: Knob) -> Floats:
    """All candidates: loss, probability, low, high.  # (n_candidates, 4)"""
    sums = np.concatenate([np.zeros((1, N_LEVELS)), np.cumsum(smooth, axis=0)])
    odds = ODDS[2:] if knob.single else np.array([1.0])
    rows = []
    span = knob.search[1] - knob.search[0]
    for i in range(N_BINS):
        for j in range(i + 1, N_BINS + 1):
            inside = (sums[j] - sums[i]) / (j - i)
            losses = np.mean((np.outer(1 - odds, off) + np.outer(odds, inside) - target) ** 2, axis=1)
            away = (abs(edges[i] - knob.neutral) + abs(edges[j] - knob.neutral)) / span
            losses += TOLERANCE * odds * away + 0.5 * TOLERANCE * (1 - odds)
            rows += [(loss, p, edges[i], edges[j]) for loss, p in zip(losses, odds, strict=True)]
    return np.array(rows)


def fitted_odds(drawn: Floats, read: Floats, levels: Floats, target: Floats) -> float:
    """The probability of a coin; 0 where it explains nothing."""
    off, on = share_below(read[drawn == 0], levels), share_below(read[drawn != 0], levels)
    losses = np.mean((np.outer(1 - ODDS, off) + np.outer(ODDS, on) - target) ** 2, axis=1)
    if losses[0] < losses.min() + TOLERANCE:
        return 0.0
    weight = np.exp(-(losses - losses.min()) / TEMPERATURE)
    return float(weight @ ODDS / weight.sum())


def does_nothing(knob: Knob) -> bool:
    """Whether the knob stands at its neutral point, or nearly never moves."""
    if knob.coin:
        return knob.probability < 0.05
    width = knob.search[1] - knob.search[0]
    return knob.probability < 0.05 or max(abs(knob.low - knob.neutral), abs(knob.high - knob.neutral)) < 0.01 * width


def without(knob: Knob) -> Knob:
    """The knob at its neutral point for good."""
    return replace(knob, low=knob.neutral, high=knob.neutral, probability=0.0 if knob.coin else 1.0, frozen=True)


def share_below(values: Floats, levels: Floats) -> Floats:
    """The empirical distribution function at `levels`.  # (n_levels,)"""
    below: Floats = np.searchsorted(np.sort(values), levels, side="right") / max(1, len(values))
    return below
