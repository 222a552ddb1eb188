"""How far a stage is: a line that moves in a terminal, a line a minute elsewhere, and no rests of either."""

import io
import sys

import pytest

from stages.progress import line, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("stages.progress.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("done", "total", "scale", "told"),
    [
        (1_500, 50_000, 1, "1,500 of 50,000 images, 150 images/s, 323 s left"),
        (1_500, None, 1, "1,500 images, 150 images/s"),
        (0, 50_000, 1, "0 of 50,000 images, 0 images/s"),
        (25_000_000, 100_000_000, 1e6, "25.0 of 100.0 images, 2.5 images/s, 30 s left"),
    ],
)
def test_amount_speed_and_time_left(done: int, total: int | None, scale: float, told: str) -> None:
    assert line(done, total, 10.0, unit="images", scale=scale) == told


def test_without_a_terminal_it_speaks_once_a_minute(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("prepare", unit="images") as advance:
        for clock[0] in range(0, 150, 10):
            advance(int(clock[0]) * 10, 1500)
    lines = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [text.split(",")[0] for text in lines] == ["prepare: 600 of 1", "prepare: 1"]


def test_a_terminal_is_left_clean_even_by_an_error(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="stop"), progress("fetch: a.tar", unit="MB", scale=1e6) as advance:
        clock[0] = 1.0
        advance(1_000_000, None)
        clock[0] = 1.1
        advance(1_100_000, None)  # too soon
        raise ValueError("stop")
    assert sys.stderr.getvalue() == "\rfetch: a.tar: 1.0 MB, 1.0 MB/s\x1b[K\r\x1b[K"  # type: ignore[attr-defined]
