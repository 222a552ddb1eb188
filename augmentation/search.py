"""The search behind noise fitting: a belief that moves, round by round, to where its copies look like the test.

Each round draws copies by the present belief (belief.py), and explorers around it. From the latest copies it learns how
the moments of the images' features respond to what was drawn, and moves the belief most of the way to where that
response equals the test's (response.py). A belief whose own copies are no nearer to the test than the best so far is
taken back, and the next step is half as long. What cannot be seen on these training images, as hue on grey ones, is
never searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from augmentation.belief import Knob, draw_belief, draw_explorers, first_belief, toward
from augmentation.copies import Copier
from augmentation.drawing import Draws, copy_keys
from augmentation.features import feature_table
from augmentation.prepared import Prepared
from augmentation.response import Moments, Response

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Reader = Callable[[int], Pixels]  # the pixels of an image by its position
EARLY = 3  # rounds that look everywhere
BELIEVED = 0.25  # share of a round's copies that are drawn by the belief alone
STEP = 0.7  # of the way to what the response says
LEARNT = 25_000  # copies, the latest, that the response is learnt from
FADES = 0.85  # weight of a copy, for each round since
TRIED = 16  # training images on which a knob has to be seen
REMEMBERED = 2**28  # bytes of prepared sources, about: the first ones stay, as all are asked for equally often


@dataclass(frozen=True)
class Images:
    """Images that are read one by one."""

    read: Reader
    count: int


class Search:
    """The belief, the best one so far, and the copies of all rounds."""

    def __init__(
        self, copier: Copier, train: Images, test: Iterable[Pixels], random: np.random.Generator, *, per_round: int
    ) -> None:
        self.copier, self.train, self.random = copier, train, random
        self.per_round, self.copies, self.step = per_round, 0, STEP
        self.known: dict[int, Prepared] = {}
        self.bytes = 0
        self.knobs = self.best = self.visible(first_belief())
        self.coloured = any(knob.name == "jitter.hue" for knob in self.knobs)
        self.wanted = self.table(test)
        self.size = 1 / (1 / len(self.wanted) + 1 / train.count)  # images that speak for a difference of means
        self.best_features: Floats | None = None
        self.features: list[Floats] = []
        self.columns: list[dict[str, Floats]] = []
        self.distances: list[float] = []

    def visible(self, knobs: list[Knob]) -> list[Knob]:
        """The knobs that change a copy of at least one of a few training images."""
        sources = some_sources(self.train, TRIED, self.random)
        columns = draw_belief(knobs, len(sources), self.random)

        def with_knob(knob: Knob, value: float) -> Iterator[Pixels]:
            return self.render(sources, columns | dict.fromkeys(knob.columns, np.full(len(sources), float(value))))

        def seen(knob: Knob) -> bool:
            pairs = [zip(with_knob(knob, knob.neutral), with_knob(knob, end), strict=True) for end in knob.search]
            return any(not np.array_equal(without, there) for copies in pairs for without, there in copies)

        return [knob for knob in knobs if seen(knob)]

    def table(self, images: Iterable[Pixels]) -> Floats:
        """What is compared of each image; hue only where something can change it.  # (n_images, n_features)"""
        return feature_table(images, coloured=self.coloured)

    def round(self, *, early: bool) -> None:
        """Render copies, judge the belief by those that are its own, and move it."""
        own = min(self.train.count, int(BELIEVED * self.per_round))
        believed = draw_belief(self.knobs, own, self.random)
        explorers = draw_explorers(self.knobs, self.per_round - own, self.random, early=early)
        columns = {name: np.concatenate([believed[name], explorers[name]]) for name in believed}
        sources = some_sources(self.train, own, self.random)
        sources += some_sources(self.train, self.per_round - own, self.random, again=True)
        features = self.table(self.render(sources, columns))
        self.copies += len(features)
        self.features.append(features)
        self.columns.append(columns)
        moments = Moments(self.wanted, features[:own])
        self.judge(moments, features[:own])
        target = self.response(moments).solve(self.best, size=self.size, early=early)
        self.knobs = [toward(knob, aim, self.step) for knob, aim in zip(self.best, target, strict=True)]

    def render(self, sources: list[int], columns: dict[str, Floats]) -> Iterator[Pixels]:
        """One copy of each source with the drawn columns."""
        draws = Draws(copy_keys(0, "fit", [str(i) for i in sources], np.arange(len(sources))), columns)
        return (self.copier.render_drawn(self.prepared(s), draws, i) for i, s in enumerate(sources))

    def prepared(self, source: int) -> Prepared:
        """A training image at about the size of its copies; decoding a photo takes longer than copying it."""
        if source in self.known:
            return self.known[source]
        new = self.copier.prepare(self.train.read(source))
        if self.bytes < REMEMBERED:
            self.known[source] = new
            self.bytes += new.most_bytes
        return new

    def judge(self, moments: Moments, own: Floats) -> None:
        """Keep the belief if its own copies are nearer to the test than the best one's, else step more carefully."""
        distance = moments.distance(own)
        self.distances.append(distance)
        if self.best_features is None or distance < 1.02 * moments.distance(self.best_features):
            self.best, self.best_features, self.step = self.knobs, own, STEP
        else:
            self.step /= 2

    def response(self, moments: Moments) -> Response:
        """What the latest copies teach."""
        latest = max(1, LEARNT // self.per_round)
        features, drawn = self.features[-latest:], self.columns[-latest:]
        columns = {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}
        weights = np.repeat([FADES**age for age in reversed(range(len(features)))], [len(part) for part in features])
        return Response.learn(self.best, columns, moments.of(np.concatenate(features)), weights)


def some_sources(train: Images, count: int, random: np.random.Generator, *, again: bool = False) -> list[int]:
    """At most `count` sources: each once, or as often as it takes; once, as a classifier would know them again."""
    repeats = -(-count // train.count) if again else 1
    pool = np.concatenate([random.permutation(train.count) for _ in range(repeats)])
    return [int(i) for i in pool[:count]]
