"""Matching a team-mate's ids and class columns with ours: by name, only where it is unique, never by guess.

Pure functions on texts. What was dropped to make the names meet is returned as a note for the report.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.errors import DataError, problems

Array = np.ndarray[Any, np.dtype[Any]]
Key = Callable[[str], str]


def plain(text: str) -> str:
    """Without outer blanks, in one Unicode form (macOS writes decomposed Korean and accents)."""
    return unicodedata.normalize("NFC", text).strip()


def without_folder(text: str) -> str:
    """The part after the last slash of either kind."""
    return re.split(r"[/\\]", plain(text))[-1]


def without_extension(text: str) -> str:
    """Without a file ending of two to five letters or digits, one of them a letter."""
    return re.sub(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,5}$", "", without_folder(text))


def without_zeros(text: str) -> str:
    """Without the leading zeros that a spreadsheet drops."""
    return re.sub(r"^0+(?=\d)", "", without_extension(text))


KEYS: tuple[tuple[str, Key], ...] = (
    ("", str),
    ("blanks and Unicode form", plain),
    ("folders", without_folder),
    ("file endings", without_extension),
    ("file endings and upper case", lambda text: without_extension(text).casefold()),
    ("leading zeros, file endings and upper case", lambda text: without_zeros(text).casefold()),
)


@dataclass(frozen=True)
class Matched:
    """`positions[i]` is the place of the i-th given id among ours; `note` says what was dropped, "" if nothing."""

    positions: Array  # (n_given,)
    note: str


def match_ids(given: Sequence[str], known: Sequence[str]) -> Matched | None:
    """Place the given ids among the known ones; none unless all are placed, each on one of its own."""
    for dropped, key in KEYS:
        places: dict[str, int] = {}
        for position, name in enumerate(known):
            places.setdefault(key(name), position)
        if len(places) < len(known):
            continue  # this much dropping makes two of our ids the same
        found = [places.get(key(name), -1) for name in given]
        if -1 not in found and len(set(found)) == len(found):
            note = f"ids matched after dropping {dropped} ({len(given):,} of {len(given):,})" if dropped else ""
            return Matched(np.array(found, dtype=np.int64), note)
    return None


def explain_ids(name: str, given: Sequence[str], known: Sequence[str]) -> DataError:
    """Why the ids do not fit: repeated, unknown, missing; under the weakest change that fits best."""
    key = max((key for _, key in KEYS), key=lambda key: len({key(i) for i in given} & {key(i) for i in known}))
    ours, theirs = {key(i): i for i in known}, [key(i) for i in given]
    seen: set[str] = set()
    found: list[str] = []
    for place, written in zip(theirs, given, strict=True):
        if place in seen:
            found.append(f"{written!r} appears twice")
        elif place not in ours:
            found.append(f"{written!r} is not an id of the test set")
        seen.add(place)
    missing = [text for place, text in ours.items() if place not in seen]
    found += [f"{text!r} is missing" for text in missing]
    title = f"{name}: {len(given):,} rows, the sample has {len(known):,}; ids do not match"
    return DataError(problems(title, found or ["ids match in more than one way"]))


def match_classes(columns: Sequence[str], names: Sequence[str], values: Sequence[str]) -> Array | None:
    """The class of each column; none unless each class has exactly one column.  # (n_classes,)

    By the submission's values, by names, both again in lower case, then after the words all columns share
    (`class_3`, `prob_cat`).
    """
    for label_sets in (
        (columns, values),
        (columns, names),
        (folded(columns), folded(values)),
        (folded(columns), folded(names)),
        (folded(unadorned(columns)), folded(values)),
        (folded(unadorned(columns)), folded(names)),
    ):
        given, known = label_sets
        if len(set(known)) == len(known) == len(given) and set(given) == set(known):
            places = {text: position for position, text in enumerate(known)}
            return np.array([places[text] for text in given], dtype=np.int64)
    return None


def folded(texts: Sequence[str]) -> list[str]:
    """Plain and in lower case."""
    return [plain(text).casefold() for text in texts]


def unadorned(columns: Sequence[str]) -> list[str]:
    """Columns without the beginning and the end that all of them share; digits are never part of those."""
    texts = [plain(column) for column in columns]
    start = re.sub(r"\d+$", "", shared_start(texts))
    texts = [text[len(start) :] for text in texts]
    end = re.sub(r"\d+$", "", shared_start([text[::-1] for text in texts]))
    return [text[: len(text) - len(end)] for text in texts]


def shared_start(texts: Sequence[str]) -> str:
    """The longest beginning that all texts have."""
    low, high = min(texts), max(texts)
    for position, letter in enumerate(low):
        if position == len(high) or high[position] != letter:
            return low[:position]
    return low


def label_positions(labels: Sequence[str], names: Sequence[str], values: Sequence[str]) -> tuple[Array, str, list[str]]:
    """(position of each label's class, -1 where unknown; note; the unknown labels).  # (n_rows,)"""
    written = {label: plain(label) for label in set(labels)}
    best: tuple[Array, str, list[str]] | None = None
    for known, note in ((values, ""), (names, "labels are class names"), (folded(names), "labels are class names")):
        places = {text: position for position, text in enumerate(known)}
        if len(places) < len(known):
            continue
        table = {label: places.get(text, places.get(whole(text), -1)) for label, text in written.items()}
        if note and -1 in table.values():
            table = {label: place if place >= 0 else places.get(label.casefold(), -1) for label, place in table.items()}
        unknown = sorted(label for label, place in table.items() if place < 0)
        if best is None or len(unknown) < len(best[2]):
            best = (np.array([table[label] for label in labels], dtype=np.int64), note, unknown)
        if not unknown:
            break
    assert best is not None
    return best


def whole(text: str) -> str:
    """`3.0` as `3`, if it is an exact whole number in ASCII digits; else the text."""
    return re.sub(r"\.0*$", "", text) if re.fullmatch(r"-?[0-9]+\.0*", text) else text


def text_order(values: Sequence[str]) -> list[int]:
    """The classes as a program sorts them that takes numbers for text: 0, 1, 10, 11, ..., 2."""
    return sorted(range(len(values)), key=lambda position: values[position])
