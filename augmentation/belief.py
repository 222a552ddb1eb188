"""What noise fitting believes about the test's noise: a range and a probability for each knob of a recipe.

Copies are drawn by a belief; explorers are drawn farther away in some of their columns, to see what would change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from augmentation.ranges import Operations, columns_of, ranges_of

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
    "rotate.degrees": (-180, 180),
    "shift.fraction": (-0.3, 0.3),
    "scale.factor": (0.5, 1.5),
}
COINS = ("flip.horizontal", "flip.vertical", "noise.before_blur")
SYMMETRIC = ("rotate", "shift", "scale")  # nothing in a test prefers a side
FIRST = {"noise": 0.8, "blur": 0.3, "motion": 0.3, "downscale": 0.3}  # probabilities at first; all else is neutral
FAR, FAR_EARLY = 0.2, 0.1  # share of the explorers' columns that explore: fewer while they go farthest


@dataclass(frozen=True)
class Knob:
    """One range of a recipe; or a coin, whose value is 0 or 1."""

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
    symmetric: bool = False  # about the neutral point

    @property
    def name(self) -> str:
        """As in params.yaml."""
        return f"{self.operation}.{self.field}"

    @property
    def parameters(self) -> int:
        """How many numbers it may choose, its probability aside."""
        return 0 if self.coin else 1 if self.symmetric else 2


def first_belief() -> list[Knob]:
    """Noise and the kinds of blur anywhere, so that all of them are seen alone and together; all else neutral."""
    return [range_knob(place, search) for place, search in SEARCH.items()] + [coin_knob(place) for place in COINS]


def range_knob(place: str, search: tuple[float, float]) -> Knob:
    """A knob for a range of the schema, as in "blur.sigma"."""
    operation, field = place.split(".")
    ranges = ranges_of(operation)
    extra, symmetric = ranges[field], operation in SYMMETRIC
    single = len(ranges) == 1 and not symmetric
    low, high = search if operation in FIRST else (extra["neutral"], extra["neutral"])
    return Knob(
        operation, field, tuple(columns_of(operation, field)), extra["bounds"], search, extra["neutral"], low, high,
        FIRST.get(operation, 0.0) if single else 1.0, single, symmetric=symmetric,
    )  # fmt: skip


def coin_knob(place: str) -> Knob:
    """A knob for a coin of the schema, as in "flip.vertical"."""
    operation, field = place.split(".")
    column = "noise_first" if field == "before_blur" else f"{operation}_{field}"
    return Knob(operation, field, (column,), (0, 1), (0, 1), 0, 1, 1, 0.0, single=True, coin=True)


def reach(knob: Knob, *, early: bool) -> tuple[float, float]:
    """Where a knob explores: all of the search range at first, later the neighbourhood of its belief.

    So a range grows step by step: of its belief there are many copies, and of explorers few.
    """
    low, high = knob.search
    if knob.coin:
        return 1, 1
    if early:
        low, high = min(low, knob.low), max(high, knob.high)
    else:
        margin = 0.3 * (knob.high - knob.low) + 0.12 * (high - low)
        low, high = max(knob.bounds[0], knob.low - margin), min(knob.bounds[1], knob.high + margin)
    if knob.symmetric:
        width = max(knob.neutral - low, high - knob.neutral)
        return knob.neutral - width, knob.neutral + width
    return low, high


def draw_belief(knobs: Sequence[Knob], count: int, random: np.random.Generator) -> dict[str, Floats]:
    """Drawn columns of `count` copies."""
    columns: dict[str, Floats] = {}
    for knob in knobs:
        for column in knob.columns:
            active = random.random(count) < knob.probability
            columns[column] = np.where(active, random.uniform(knob.low, knob.high, count), knob.neutral)
    return columns


def draw_explorers(knobs: Sequence[Knob], count: int, random: np.random.Generator, *, early: bool) -> dict[str, Floats]:
    """The same, but some columns of each copy are drawn from all the knob's reach, or on the way there."""
    columns = draw_belief(knobs, count, random)
    for knob in knobs:
        for column in knob.columns:
            explores = random.random(count) < (FAR_EARLY if early else FAR)
            active = random.random(count) < (0.5 if knob.coin else 0.9)
            near, far = random.uniform(knob.low, knob.high, count), random.uniform(*reach(knob, early=early), count)
            way = np.where(random.random(count) < 0.75, 1.0, random.random(count))
            values = np.where(active, near + way * (far - near), knob.neutral)
            columns[column] = np.where(explores, values, columns[column])
    return columns


def toward(knob: Knob, target: Knob, step: float) -> Knob:
    """The knob, `step` of the way to the target; the ends of a range go with what is drawn from it."""
    probability = (1 - step) * knob.probability + step * target.probability
    share = step * target.probability / probability if probability else step
    low, high = ((1 - share) * a + share * b for a, b in ((knob.low, target.low), (knob.high, target.high)))
    return replace(knob, low=low, high=high, probability=probability)


def at_neutral(knob: Knob) -> Knob:
    """The knob doing nothing; one with a probability keeps its range."""
    return replace(knob, probability=0.0) if knob.single else replace(knob, low=knob.neutral, high=knob.neutral)


def does_nothing(knob: Knob) -> bool:
    """Whether the knob stands at its neutral point, or nearly never moves."""
    width = knob.search[1] - knob.search[0]
    return knob.probability < 0.05 or max(abs(knob.low - knob.neutral), abs(knob.high - knob.neutral)) < 0.01 * width


def as_operations(knobs: Sequence[Knob]) -> Operations:
    """The belief as a block of params.yaml; what does nothing is left out."""
    content: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(knob.operation for knob in knobs):
        group = [knob for knob in knobs if knob.operation == name and not does_nothing(knob)]
        if group:
            content[name] = {} if name == "flip" else neutral_entry(name)
        for knob in group:
            if knob.coin:
                content[name][knob.field] = round(knob.probability, 2)
            else:
                content[name][knob.field] = [float(f"{knob.low:.3g}"), float(f"{knob.high:.3g}")]
                content[name]["probability"] = round(min(1.0, knob.probability), 2)
    return Operations.model_validate(content)


def neutral_entry(operation: str) -> dict[str, Any]:
    """All ranges of an operation at their neutral points."""
    return {field: [extra["neutral"], extra["neutral"]] for field, extra in ranges_of(operation).items()}
