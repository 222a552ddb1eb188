"""Files of far more rows than ours are refused before they are parsed: the contest bounds the time, not the file."""

from __future__ import annotations

from pathlib import Path

from storage.errors import DataError

LARGE_FILE = 4 * 2**20  # bytes, from which on lines are counted first
BLOCK = 2**20


def refuse_many_lines(path: Path, n_test: int, n_train: int) -> None:
    """Count the lines of a large text in a stream, and stop where they are too many; quoted line breaks leave room."""
    if path.stat().st_size < LARGE_FILE:
        return
    most = 2 * max(n_test, n_train) + 100
    lines = 0
    with path.open("rb") as file:
        while lines <= most and (block := file.read(BLOCK)):
            lines += block.count(b"\n")
    if lines > most:
        raise too_long(path, f"more than {most:,}", n_test, n_train)


def refuse_many_rows(path: Path, n_rows: int, n_test: int, n_train: int) -> None:
    """Refuse by the number of rows that a header tells."""
    if n_rows > max(n_test, n_train):
        raise too_long(path, f"{n_rows:,}", n_test, n_train)


def too_long(path: Path, rows: str, n_test: int, n_train: int) -> DataError:
    """The refusal of a table whose rows cannot be ours."""
    return DataError(f"{path}: {rows} rows; the test set has {n_test:,}, the training set {n_train:,}. Read no further")
