"""Fitting a blend by the name of its method: temperatures, the method's pools within their limits, calibration.

Pure functions from a `Library` and `Options` to a `Blend`. `auto` is a fixed recipe, nothing in it is chosen by score:
each member at its own temperature, the mean of the weighted linear and the log-linear pool, a little more for the label
that soft voting gives (HOLD), one temperature, and a bias per class that is held near 0 (PRIOR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.calibration import calibrated, temperature
from analysis.ensemble import Blend, Options, heated, mean_of, tilted
from analysis.library import Library
from analysis.methods import METHODS, uniform
from analysis.pools import KINDS, LinearPool, LogLinearPool, Pool, StackPool

Array = NDArray[Any]
PRIOR = 20.0  # precision of the bias per class: around 0 with a standard deviation of 0.22
HOLD = 0.2  # logit: a row leaves soft voting's label where another is likelier by a fifth; docs/blending.md says why


@dataclass(frozen=True)
class Warm:
    """A library as it came, its table with each member at its own temperature, and these (none: the same table)."""

    library: Library
    table: Array  # (n_members, n_rows, n_classes)
    before: tuple[float, ...] = ()

    def without(self, member: str) -> Warm:
        """Without one member."""
        kept = [place for place, name in enumerate(self.library.members) if name != member]
        before = tuple(self.before[place] for place in kept) if self.before else ()
        rest = self.library.without(member)
        return Warm(rest, self.table[kept] if self.before else rest.log_probabilities, before)


def fit(method: str, library: Library, options: Options) -> Blend:
    """Fit a method by its name in `METHODS` on the rows of a library.

    A blend of one member is that member, whatever the method.
    """
    return fit_warm(method, warm(method, library, options), options)


def warm(method: str, library: Library, options: Options) -> Warm:
    """Each member at its own temperature, where the method or the options ask for it."""
    if asked(method, options).calibration not in ("before", "both") or len(library.members) == 1:
        return Warm(library, library.log_probabilities)
    before = tuple(temperature(member, library.labels) for member in library.log_probabilities)
    return Warm(library, heated(library.log_probabilities, before), before)


def fit_warm(method: str, ready: Warm, options: Options) -> Blend:
    """Fit a method on members that were brought to their temperatures."""
    library, told = ready.library, asked(method, options)
    members, labels = library.members, library.labels
    if len(members) == 1:
        return Blend(method, members, (LinearPool((1.0,)),), routes=options.routes)
    fitted = METHODS[method](replace(library, log_probabilities=ready.table), options)
    blend = Blend(method, members, tuple(limited(pool, members, options.limits) for pool in fitted), ready.before)
    if method == "auto":
        blend = replace(blend, soft=limited(LinearPool(uniform(library)), members, options.limits).weights, hold=HOLD)
    after = told.calibration in ("after", "both")
    if after or told.bias != "none":
        pooled = mean_of([pool.apply(ready.table) for pool in blend.pools])
        pooled = tilted(pooled, library.log_probabilities, blend.soft, blend.hold)
        ridge = PRIOR / len(np.unique(library.groups))
        heat, shift = calibrated(pooled, labels, after=after, bias=told.bias, metric=options.metric, ridge=ridge)
        blend = replace(blend, temperature=heat, bias=tuple(shift.tolist()))
    return replace(blend, routes=options.routes)


def asked(method: str, options: Options) -> Options:
    """The options with `auto` calibration and bias as the method asks."""
    calibration, bias = ("both", "loss") if method == "auto" else ("none", "none")
    return replace(
        options,
        calibration=calibration if options.calibration == "auto" else options.calibration,
        bias=bias if options.bias == "auto" else options.bias,
    )


def possible(method: str, members: Sequence[str], options: Options) -> bool:
    """Whether the given weights and the limits leave these members a blend."""
    weighs = method != "given" or any(options.weights.get(name, 0.0) > 0 for name in members)
    return weighs and (not options.limits or sum(options.limits.get(name, (0.0, 1.0))[1] for name in members) >= 1)


def as_before(options: Options, blend: Blend) -> Options:
    """The options with what `blend` chose by cross-validation, for another fit on the same rows."""
    for pool in blend.pools:
        if isinstance(pool, LinearPool) and pool.shrink:
            options = replace(options, shrink=pool.shrink)
        if isinstance(pool, LogLinearPool) and pool.ridge:
            options = replace(options, ridge=pool.ridge)
    return options


def limited(pool: Pool, members: Sequence[str], limits: Mapping[str, tuple[float, float]]) -> Pool:
    """The pool with each member's share of the weights held within its limits (low, high)."""
    if not limits or isinstance(pool, StackPool):
        return pool
    low = np.array([limits.get(name, (0.0, 1.0))[0] for name in members])
    high = np.array([limits.get(name, (0.0, 1.0))[1] for name in members])
    total = max(float(sum(pool.weights)), 1e-12)
    shares = project(np.asarray(pool.weights) / total, low=low, high=high)
    content = asdict(pool)
    return KINDS[pool.kind](**{**content, "weights": tuple((total * shares).tolist())})  # type: ignore[no-any-return]


def project(shares: Array, *, low: Array, high: Array) -> Array:
    """The nearest shares that sum to 1 within [low, high]; raises ValueError where none exist."""
    if low.sum() > 1 + 1e-9 or high.sum() < 1 - 1e-9:
        raise ValueError("blend.limits: no weights within these limits sum to 1")
    lower, upper = float((low - shares).min()) - 1.0, float((high - shares).max()) + 1.0
    for _ in range(100):
        middle = 0.5 * (lower + upper)
        lower, upper = (middle, upper) if np.clip(shares + middle, low, high).sum() < 1 else (lower, middle)
    return np.clip(shares + upper, low, high)
