"""What made the difference: the honest score without each member and each step, as one table and one picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from analysis.judge import Entry, Judge

# augmentation changes what a member learns: only members that were trained without it can show what it gains
MORE = "what augmentation gains: podium ablation --against augmentation=FOLDER, of predictions made without it"


@dataclass(frozen=True)
class Effect:
    """The gain of one thing: the blend's score minus the score without it, in points, with its standard error."""

    kind: str  # member or step
    name: str
    gain: float
    error: float
    tie: bool


def effect(kind: str, name: str, judge: Judge, with_it: Entry, without: Entry) -> Effect:
    """The paired difference of two entries, in points."""
    apart = judge.compare(with_it, without)
    return Effect(kind, name, 100 * apart.difference, 100 * apart.error, apart.tie)


def to_csv(found: Sequence[Effect]) -> str:
    """The table: kind, name, gain and its error in points, whether it is a tie."""
    lines = ["kind,name,gain_points,error_points,tie"]
    lines += [f'{one.kind},"{one.name}",{one.gain:.3f},{one.error:.3f},{str(one.tie).lower()}' for one in found]
    return "\n".join(lines) + "\n"


def from_csv(text: str) -> list[Effect]:
    """The effects of a table written by `to_csv`."""
    lines = list(csv.DictReader(io.StringIO(text)))
    return [
        Effect(row["kind"], row["name"], float(row["gain_points"]), float(row["error_points"]), row["tie"] == "true")
        for row in lines
    ]


def to_svg(found: Sequence[Effect]) -> str:
    """The picture: a bar per effect with one standard error; grey where it is a tie."""
    width, left, line = 860, 400, 26
    height = 84 + line * max(len(found), 1)
    low = min([0.0, *(one.gain - one.error for one in found)])
    high = max([0.1, *(one.gain + one.error for one in found)])

    def place(value: float) -> float:
        return left + 10 + (value - low) / (high - low) * (width - 75 - left)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        '<text x="12" y="24" font-size="15" font-weight="600" fill="#222">What made the difference</text>',
        '<text x="12" y="42" fill="#666">points of the metric, honest; line = one standard error; grey = a tie</text>',
    ]
    for number, one in enumerate(found):
        parts += _bar(one, place, top=56 + line * number, left=left)
    parts.append(f'<line x1="{place(0):.1f}" x2="{place(0):.1f}" y1="52" y2="{height - 30}" stroke="#888"/>')
    parts.append(f'<text x="12" y="{height - 10}" fill="#666">{MORE}</text></svg>')
    return "\n".join(parts) + "\n"


def _bar(one: Effect, place: Callable[[float], float], *, top: int, left: int) -> list[Any]:
    start, end = sorted((place(0.0), place(one.gain)))
    low, high = place(one.gain - one.error), place(one.gain + one.error)
    colour = "#b8bec6" if one.tie else "#2f7d5d" if one.gain > 0 else "#b4483c"
    name = f"member {one.name}" if one.kind == "member" else one.name
    label = max(high, end, place(0.0)) + 6
    return [
        f'<text x="{left - 8}" y="{top + 14}" text-anchor="end" fill="#222">{escape(name)}</text>',
        f'<rect x="{start:.1f}" y="{top + 3}" width="{max(end - start, 0.5):.1f}" height="14" rx="2" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{top + 10}" y2="{top + 10}" stroke="#333"/>',
        f'<text x="{label:.1f}" y="{top + 14}" fill="#444">{np.round(one.gain, 2) + 0.0:+.2f}</text>',
    ]
