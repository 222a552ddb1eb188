"""How far a long stage is, told on stderr: one line that moves in a terminal, one line a minute elsewhere.

with progress("prepare", unit="images") as advance:
    advance(1_000, 50_000)   # done so far, and in all where that is known
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int | None], None]
MOMENT = 0.2  # seconds between two looks in a terminal


@contextmanager
def progress(label: str, *, unit: str, scale: float = 1.0, every: float = 60.0) -> Iterator[Advance]:
    """What to call with (done, total) as the work goes on; both are told divided by `scale`, in `unit`."""
    terminal, started = sys.stderr.isatty(), time.monotonic()
    spoken = started

    def advance(done: int, total: int | None) -> None:
        nonlocal spoken
        now = time.monotonic()
        if now - spoken >= (MOMENT if terminal else every):
            spoken = now
            told = f"{label}: {line(done, total, now - started, unit=unit, scale=scale)}"
            print(f"\r{told}\x1b[K" if terminal else told, end="" if terminal else "\n", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        if terminal and spoken > started:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def line(done: int, total: int | None, seconds: float, *, unit: str, scale: float) -> str:
    """So much of so much, how fast, and how long it will take at that."""
    digits, speed = 0 if scale == 1 else 1, done / max(seconds, 1e-9)
    whole = f" of {total / scale:,.{digits}f}" if total else ""
    left = f", {(total - done) / speed:,.0f} s left" if total and speed else ""
    return f"{done / scale:,.{digits}f}{whole} {unit}, {speed / scale:,.{digits}f} {unit}/s{left}"
