"""Which of the known names somebody meant: the hint in every refusal of a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 40  # so many known names are told in full where none is near


def near(word: str, known: Iterable[str], *, count: int = 1, likeness: float = 0.5) -> list[str]:
    """At most `count` known names that look like `word`, the nearest first; capital letters do not matter."""
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(name.casefold(), name)
    return [names[found] for found in difflib.get_close_matches(word.casefold(), names, n=count, cutoff=likeness)]


def nearest(word: str, known: Iterable[object]) -> str:
    """A hint at the nearest known name, or the list of them where none is near; "" for too many."""
    names = [str(name) for name in known]
    if found := near(word, names):
        return f"; did you mean {found[0]}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= LISTED else ""
