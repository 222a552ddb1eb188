"""Blends: what they can be told (`Options`), and a fitted `Blend` as a small record that can be written as JSON.

`fitting` fits a blend on a `Library`; it applies to any table of the same members and classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.calibration import estimated_priors, scaled
from analysis.decision import DECIMALS
from analysis.pools import FLOOR, KINDS, Pool, log_softmax, slabs

Array = NDArray[Any]


@dataclass(frozen=True)
class Route:
    """A specialist: where the blend hesitates between two classes, their shares come from one member."""

    classes: tuple[int, int]
    member: int


@dataclass(frozen=True)
class Options:
    """What the methods can be told; the names are those of `blend` in params.yaml."""

    metric: str = "macro_f1"
    power: float = 0.5
    shrink: float = 0.0  # of the linear weights; 0: chosen by cross-validated log-loss
    ridge: float = 0.0  # of the log-linear pool; 0: chosen by cross-validated log-loss
    rounds: int = 50
    bags: int = 20
    calibration: str = "auto"  # none, before, after, both; auto: what the method asks for
    bias: str = "auto"  # none, loss, metric; auto: what the method asks for
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)  # of method `given`
    routes: tuple[Route, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Blend:
    """A fitted blend: the mean of its pools, more for soft voting's label, a temperature, a bias, and routes to
    specialists, in this order."""

    method: str
    members: tuple[str, ...]
    pools: tuple[Pool, ...]
    before: tuple[float, ...] = ()  # a temperature per member, applied before pooling
    soft: tuple[float, ...] = ()  # weights of the soft vote whose label gets `hold` more
    hold: float = 0.0  # logit
    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def weights(self) -> dict[str, float]:
        """Each member's share: the mean over pools of its weight, scaled to sum to 1."""
        shares = np.mean([np.asarray(pool.weights) / max(sum(pool.weights), 1e-12) for pool in self.pools], axis=0)
        return {name: float(share) for name, share in zip(self.members, shares, strict=True)}

    def apply(self, log_probabilities: Array, *, rows: Array | None = None, members: Array | None = None) -> Array:
        """(n_members, n_rows, n_classes), members in the blend's order -> log-probabilities (n_rows, n_classes).

        `rows`, `members`: positions in the table, where the blend is of some of them only; read in slabs, so that a
        memory-mapped table stays where it is.
        """
        n_members, n_rows, n_classes = log_probabilities.shape

        def part(chosen: slice) -> Array:
            table = log_probabilities[:, chosen if rows is None else rows[chosen]]
            return self._apply(np.asarray(table if members is None else table[members]))

        n_chosen = n_rows if rows is None else len(rows)
        if any(pool.kind == "rank" for pool in self.pools):
            return part(slice(0, n_chosen))  # ranks need all rows at once
        parts = [part(chosen) for chosen in slabs(n_members, n_chosen, n_classes)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _apply(self, table: Array) -> Array:
        raw, table = table, heated(table, self.before) if self.before else table
        pooled = mean_of([pool.apply(table) for pool in self.pools])
        pooled = tilted(pooled, raw, self.soft, self.hold)
        pooled = scaled(pooled, self.temperature)
        if self.bias:
            pooled = log_softmax(pooled + np.asarray(self.bias))
        for route in self.routes:
            pooled = routed(pooled, table[route.member], route.classes)
        return pooled

    def to_json(self) -> dict[str, Any]:
        """The blend as plain values; `from_json` reads it back exactly."""
        return {
            "method": self.method,
            "members": list(self.members),
            "pools": [{"kind": pool.kind, **asdict(pool)} for pool in self.pools],
            "before": list(self.before),
            "soft": list(self.soft),
            "hold": self.hold,
            "temperature": self.temperature,
            "bias": list(self.bias),
            "routes": [asdict(route) for route in self.routes],
        }


def from_json(content: Mapping[str, Any]) -> Blend:
    """A blend from `Blend.to_json`."""
    pools = []
    for values in content["pools"]:
        arguments = {key: _tuples(value) for key, value in values.items() if key != "kind"}
        pools.append(KINDS[values["kind"]](**arguments))
    return Blend(
        content["method"],
        tuple(content["members"]),
        tuple(pools),
        before=tuple(content["before"]),
        soft=tuple(content.get("soft", ())),
        hold=content.get("hold", 0.0),
        temperature=content["temperature"],
        bias=tuple(content["bias"]),
        routes=tuple(Route(tuple(route["classes"]), route["member"]) for route in content["routes"]),
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def heated(log_probabilities: Array, temperatures: Sequence[float]) -> Array:
    """Each member at its own temperature, (n_members, n_rows, n_classes)."""
    result = np.empty(log_probabilities.shape)
    for position, heat in enumerate(temperatures):
        result[position] = scaled(log_probabilities[position], heat)
    return result


def mean_of(tables: Sequence[Array]) -> Array:
    """The mean of probability tables, in logs; of one table: itself."""
    if len(tables) == 1:
        return tables[0]
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.mean([np.exp(table) for table in tables], axis=0)))


def tilted(pooled: Array, log_probabilities: Array, weights: Sequence[float], hold: float) -> Array:
    """Log-probabilities (n_rows, n_classes) with `hold` more logit for the label that soft voting gives each row."""
    if not hold:
        return pooled
    soft = np.zeros(pooled.shape)
    for weight, member in zip(weights, log_probabilities, strict=True):
        if weight:
            soft += weight * np.exp(member)
    result = np.array(pooled, dtype=np.float64)
    result[np.arange(len(soft)), np.round(soft, DECIMALS).argmax(axis=1)] += hold
    return log_softmax(result)


def routed(pooled: Array, specialist: Array, classes: tuple[int, int]) -> Array:
    """Where `classes` are the two likeliest, split their mass as the specialist does."""
    first, second = classes
    top_two = np.sort(np.argpartition(-pooled, 1, axis=1)[:, :2], axis=1)
    rows = np.flatnonzero((top_two == sorted(classes)).all(axis=1))
    result = np.array(pooled, dtype=np.float64)
    mass = np.logaddexp(pooled[rows, first], pooled[rows, second])
    own = log_softmax(np.maximum(specialist[rows][:, [first, second]], FLOOR))
    result[rows, first], result[rows, second] = mass + own[:, 0], mass + own[:, 1]
    return result


def adjusted_to_test(blend: Blend, test: Array, shares: Array) -> Blend:
    """The blend with a bias that moves it from the training class shares to those estimated on the test set."""
    table = blend.apply(test)
    estimated = estimated_priors(table, old=shares)
    moved = np.log(np.maximum(estimated, 1e-6)) - np.log(np.maximum(shares, 1e-6))
    bias = moved + (np.asarray(blend.bias) if blend.bias else 0.0)
    return replace(blend, bias=tuple(bias.tolist()))
