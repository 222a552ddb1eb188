"""Every way in which Podium refuses, as one tree; each message says what is wrong, where, and what to do.

PodiumError
├── DataError        input data cannot be used as it is
├── ParamsError      params.yaml or a command's options cannot be used
├── IntegrityError   a file is not what its hash, or the data it was made from, says
└── ResourceError    the machine lacks something: disk, memory, a package
"""

from __future__ import annotations

from collections.abc import Sequence


class PodiumError(Exception):
    """The base of all refusals; `exit_code` is what the process ends with, `items` the problems one by one."""

    exit_code = 1

    def __init__(self, message: str, *, items: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.items = list(items) or [message]


class DataError(PodiumError):
    """Input data cannot be used as it is."""

    exit_code = 2


class ParamsError(PodiumError):
    """params.yaml or a command's options cannot be used."""

    exit_code = 3


class IntegrityError(PodiumError):
    """A file is not what its hash, or the data it was made from, says."""

    exit_code = 4


class ResourceError(PodiumError):
    """The machine lacks something: disk, memory, a package."""

    exit_code = 5


def problems(title: str, items: Sequence[str], *, limit: int = 10) -> str:
    """One message from many problems: the title with their count, then the first `limit` of them."""
    lines = [f"{title} ({len(items):,} in all):" if len(items) > 1 else f"{title}:"]
    lines += [f"  {item}" for item in items[:limit]]
    if len(items) > limit:
        lines.append(f"  ... and {len(items) - limit:,} more")
    return "\n".join(lines)


def missing_extra(package: str, extra: str) -> ResourceError:
    """The refusal for an optional package that is not installed."""
    return ResourceError(f"{package} is not installed. Install it with: pip install -e '.[{extra}]'")


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters but line breaks are written out."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
