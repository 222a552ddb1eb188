"""Reasons to stop early: a signal, a time budget."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType


class Signals:
    """with Signals() as signals: `signals.caught` turns into the number of the first SIGTERM or SIGINT.

    The second one acts at once, as if nobody had listened.
    """

    def __init__(self) -> None:
        self.caught = 0
        self.previous: dict[int, object] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self.previous[number] = signal.signal(number, self.catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self.previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self.previous = {}

    def catch(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; the next one is no longer ours."""
        self.caught = number
        self.restore()


class Budget:
    """A deadline that leaves time to predict: `seconds` from `started` (time.monotonic), None for no limit."""

    def __init__(self, seconds: float | None, *, started: float, images_to_predict: int) -> None:
        self.deadline = None if seconds is None else started + seconds
        self.images_to_predict = images_to_predict
        self.begun = time.monotonic()
        self.seen = 0

    def spent(self, images: int) -> bool:
        """Whether training has to end now; `images` were trained on since the last question.

        A trained image costs more than a predicted one, so its price is a safe guess of what predicting takes.
        """
        self.seen += images
        if self.deadline is None:
            return False
        now = time.monotonic()
        price = (now - self.begun) / max(self.seen, 1)
        return now + price * self.images_to_predict >= self.deadline
