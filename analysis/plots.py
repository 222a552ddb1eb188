"""Charts as plain records that the templates draw: heat maps, lines, densities. No text becomes markup here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Cell = tuple[str, float] | None
WIDTH, HEIGHT = 640, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 28
COLOURS = 8


@dataclass(frozen=True)
class Line:
    """One line of a chart: an SVG path, a colour 1..8, its name."""

    name: str
    path: str
    colour: int


@dataclass(frozen=True)
class Chart:
    """Lines in a frame of WIDTH x HEIGHT; ticks are (position, text)."""

    lines: list[Line]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]
    label: str

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    floor: int = HEIGHT - BOTTOM


def heat_rows(matrix: Array, order: Sequence[int], *, digits: int = 2, low: float | None = None) -> list[list[Cell]]:
    """The matrix in a given order as (text, shade): `low` or the smallest value is palest, the largest darkest.

    The diagonal is left out; NaN is a dash.
    """
    apart = matrix[~np.eye(len(matrix), dtype=bool)]
    known = apart[np.isfinite(apart)]
    floor = (float(known.min()) if len(known) else 0.0) if low is None else low
    span = max((float(known.max()) if len(known) else 1.0) - floor, 1e-9)
    return [[None if i == j else heat_cell(matrix[i, j], floor, span, digits) for j in order] for i in order]


def heat_cell(value: float, floor: float, span: float, digits: int) -> Cell:
    """One value as (text, shade 0..1)."""
    if not np.isfinite(value):
        return "–", 0.0
    text = f"{value:.{digits}f}"
    if abs(value) < 1:
        text = text.replace("0.", ".", 1)
    return text, round(float(np.clip((value - floor) / span, 0, 1)), 3)


def line_chart(
    series: Mapping[str, tuple[Array, Array]], *, label: str, colours: Mapping[str, int] | None = None
) -> Chart:
    """Lines by name, each (x, y); points without a number are left out."""
    found = {name: finite(x, y) for name, (x, y) in series.items()}
    found = {name: points for name, points in found.items() if len(points[0])}
    if not found:
        return Chart([], [], [], label)
    x_low, x_high = bounds([x for x, _ in found.values()])
    y_low, y_high = bounds([y for _, y in found.values()])
    apart = 1.0 if all((x == np.round(x)).all() for x, _ in found.values()) else 0.0  # epochs are whole
    lines = []
    for number, (name, (x, y)) in enumerate(found.items()):
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        up = HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(across, up, strict=True))
        lines.append(Line(name, path, (colours or {}).get(name, number % COLOURS + 1)))
    x_ticks = [
        (LEFT + (t - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), short(t))
        for t in ticks(x_low, x_high, least=apart)
    ]
    y_ticks = [
        (HEIGHT - BOTTOM - (t - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), short(t))
        for t in ticks(y_low, y_high)
    ]
    return Chart(lines, x_ticks, y_ticks, label)


def density_chart(samples: Mapping[str, Array], *, label: str, colours: Mapping[str, int] | None = None) -> Chart:
    """Smoothed histograms of several samples over one axis, each as high as its peak, extreme hundredths cut off."""
    every = np.concatenate([values[np.isfinite(values)] for values in samples.values()])
    if not len(every):
        return Chart([], [], [], label)
    low, high = (float(value) for value in np.quantile(every, [0.005, 0.995]))
    high = high if high > low else low + 1
    edges = np.linspace(low, high, 49)
    kernel = np.exp(-(np.arange(-4, 5) ** 2) / 8)
    series = {}
    for name, values in samples.items():
        heights = np.histogram(np.clip(values, low, high), edges)[0] / max(len(values), 1)
        smooth = np.convolve(heights, kernel / kernel.sum(), "same")
        series[name] = ((edges[:-1] + edges[1:]) / 2, smooth / max(float(smooth.max()), 1e-12))
    chart = line_chart(series, label=label, colours=colours)
    return Chart(chart.lines, chart.across, [], label)


def finite(x: Array, y: Array) -> tuple[Array, Array]:
    """The points of which both numbers are finite."""
    kept = np.isfinite(x) & np.isfinite(y)
    return x[kept], y[kept]


def bounds(values: Sequence[Array]) -> tuple[float, float]:
    """Smallest and largest value of all, apart by at least a little."""
    low, high = min(float(part.min()) for part in values), max(float(part.max()) for part in values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float, count: int = 5, *, least: float = 0.0) -> list[float]:
    """Round numbers between two bounds, about `count` of them, at least `least` apart."""
    raw = max((high - low) / count, least)
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = np.ceil(low / step - 1e-9)
    return [float(step * (first + i)) for i in range(int((high - first * step) / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A tick's number without needless zeros."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
