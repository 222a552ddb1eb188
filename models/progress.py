"""Progress for people: a bar in a terminal, one line a minute elsewhere; images per second and the time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SILENCE = 60.0  # seconds between two lines where there is no terminal


class Report:
    """with Report("resnet fold 0", total=300, start=0) as report: report.step(images=64, loss=0.7)"""

    def __init__(self, title: str, *, total: int, start: int = 0, epochs: int = 1, silent: bool = False) -> None:
        self.silent, self.epochs = silent, epochs
        self.title, self.total, self.done, self.first = title, total, start, start
        self.images, self.loss = 0, 0.0
        self.started = self.spoken = time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"))
        self.bar = (
            Progress(*columns, TimeRemainingColumn(), console=console) if console.is_terminal and not silent else None
        )

    def __enter__(self) -> Report:
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=self.total, completed=self.done, speed=self.place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    @property
    def place(self) -> str:
        """The epoch, where there are several, and the step."""
        epoch = min(self.epochs, 1 + self.done * self.epochs // max(self.total, 1))
        return (
            f"epoch {epoch} of {self.epochs}, " if self.epochs > 1 else ""
        ) + f"step {self.done:,} of {self.total:,}"

    @property
    def speed(self) -> float:
        """Images per second so far."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def step(self, *, images: int, loss: float) -> None:
        """One step more."""
        self.done, self.images, self.loss = self.done + 1, self.images + images, loss
        if self.bar:
            self.bar.update(self.task, advance=1, speed=f"{self.place}, loss {loss:.4f}, {self.speed:,.0f} images/s")
        elif time.monotonic() - self.spoken > SILENCE:
            self.spoken = time.monotonic()
            left = (self.spoken - self.started) / (self.done - self.first) * (self.total - self.done)
            self.say(f"{self.place}, loss {loss:.4f}, {self.speed:,.0f} images/s, {left / 60:.1f} minutes left")

    def say(self, text: str) -> None:
        """A line that stays."""
        line = f"{self.title}: {text}"
        if self.bar:
            self.bar.console.print(line, highlight=False, markup=False)
        elif not self.silent:
            print(line, file=sys.stderr, flush=True)
