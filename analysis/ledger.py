"""The ledger of submissions: what was sent, what it was worth in validation, what the board said; as CSV and picture.

Pure functions on text and records; `podium ledger` reads and writes the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from html import escape
from typing import Any

import numpy as np

from storage.spreadsheet import guarded


@dataclass(frozen=True)
class Row:
    """One submission; numbers are "" where nobody knows them."""

    time: str
    file: str
    sha256: str
    commit: str = ""
    params: str = ""
    method: str = ""
    members: str = ""  # names joined by +
    metric: str = ""
    honest: str = ""
    error: str = ""
    low: str = ""
    high: str = ""
    public: str = ""
    private: str = ""
    tainted: str = ""
    note: str = ""
    competition: str = ""  # "" in rows of files that do not say


def from_sidecar(content: dict[str, Any], *, time: str) -> Row:
    """A row from a submission's sidecar."""
    honest, git = content.get("honest") or {}, content.get("git") or {}
    if content.get("metric") == "log_loss" and honest:  # greater is better in a sidecar; a board shows it as it is
        low, high = -honest["high"], -honest["low"]
        honest = {**honest, "score": -honest["score"], "low": low, "high": high}
    numbers = {key: _number(honest.get(name)) for key, name in NUMBERS.items()}
    return Row(
        time,
        content["file"],
        content["sha256"],
        git.get("commit") or "",
        content.get("params", ""),
        content.get("method", ""),
        "+".join(content.get("members") or {}),
        content.get("metric", ""),
        tainted="yes" if content.get("tainted") else "",
        competition=content.get("competition", ""),
        **numbers,
    )


NUMBERS = {"honest": "score", "error": "error", "low": "low", "high": "high"}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def parse(text: str) -> list[Row]:
    """Rows of a ledger; columns that are missing are empty, others are ignored."""
    known = {field.name for field in fields(Row)}
    rows = []
    for line in csv.DictReader(io.StringIO(text)):
        values = {key: value or "" for key, value in line.items() if key in known}
        rows.append(Row(**{"time": "", "file": "", "sha256": "", **values}))
    return rows


def render(rows: Sequence[Row]) -> str:
    """The ledger as CSV; notes that a spreadsheet would run are made text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(asdict(row) | {"note": guarded(row.note)})
    return text.getvalue()


def added(rows: Sequence[Row], new: Row) -> list[Row]:
    """The ledger with a submission added; the same bytes again update what is known about them."""
    for place, row in enumerate(rows):
        if row.sha256 == new.sha256:
            told = {key: value for key, value in asdict(new).items() if value and key != "time"}
            return [*rows[:place], replace(row, **told), *rows[place + 1 :]]
    return [*rows, new]


def of_competition(rows: Sequence[Row], competition: str) -> list[Row]:
    """The rows of a competition, and those that do not say; all where it is not known."""
    return [row for row in rows if competition in ("", row.competition) or not row.competition]


def rank_correlation(rows: Sequence[Row]) -> float | None:
    """Spearman's correlation of honest and public score; None below three rows that have both."""
    pairs = [(float(row.honest), float(row.public)) for row in rows if row.honest and row.public]
    if len(pairs) < 3:
        return None
    ranks = [np.argsort(np.argsort(values)) for values in zip(*pairs, strict=True)]
    if any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def picture(rows: Sequence[Row]) -> str:
    """Validation against board as SVG: a point per submission with its standard error; the diagonal is agreement."""
    known = [row for row in rows if row.honest and (row.public or row.private)]
    size, edge = 480, 60
    values = [float(text) for row in known for text in (row.honest, row.public, row.private) if text]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.1 * (high - low) or 0.01
    low, high = low - pad, high + pad

    def place(value: float) -> float:
        return edge + (value - low) / (high - low) * (size - 2 * edge)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{size}" height="{size}" fill="#fff"/>',
        '<text x="16" y="24" font-size="15" font-weight="600" fill="#222">Validation against the board</text>',
        f'<line x1="{edge}" y1="{size - edge}" x2="{size - edge}" y2="{edge}" stroke="#bbb" stroke-dasharray="4 4"/>',
        f'<text x="{size / 2}" y="{size - 14}" text-anchor="middle" fill="#555">honest validation score</text>',
        '<text x="16" y="44"><tspan fill="#3867b7">● public</tspan> <tspan fill="#2f7d5d">● private</tspan> '
        '<tspan fill="#777">dashed: both agree</tspan></text>',
        f'<text x="16" y="{size / 2}" fill="#555" transform="rotate(-90 16 {size / 2})">board</text>',
    ]
    for value in (low + pad, high - pad):
        parts.append(f'<text x="{place(value):.0f}" y="{size - edge + 18}" text-anchor="middle">{value:.3f}</text>')
        parts.append(f'<text x="{edge - 8}" y="{size - place(value):.0f}" text-anchor="end">{value:.3f}</text>')
    for row in known:
        for text, colour, name in ((row.public, "#3867b7", "public"), (row.private, "#2f7d5d", "private")):
            if text:
                parts += _point(row, place, size, board=float(text), colour=colour, name=name)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _point(row: Row, place: Any, size: int, *, board: float, colour: str, name: str) -> list[str]:
    x, y = place(float(row.honest)), size - place(board)
    reach = abs(place(float(row.honest) + float(row.error or 0)) - x)
    title = escape(f"{row.file}: honest {row.honest}, {name} {board}")
    return [
        f'<line x1="{x - reach:.1f}" x2="{x + reach:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" opacity="0.5"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"><title>{title}</title></circle>',
    ]
