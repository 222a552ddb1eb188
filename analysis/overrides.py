"""Labels of test images made by hand, as the gallery writes them: image_id, label, decided_by.

Whatever is built from them is tainted: most contests forbid it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.team_formats import Competition
from storage.csvfile import read_csv
from storage.errors import DataError, problems

Array = np.ndarray[Any, np.dtype[Any]]


def apply_overrides(path: Path, labels: Array, shares: Array, competition: Competition) -> tuple[int, list[str]]:
    """Put hand-made labels in place, in `labels` (n_rows,) and `shares` (n_rows, n_classes).

    Returns how many rows changed, and who decided.

    Raises DataError with the lines of unknown ids and labels.
    """
    table = read_csv(path, columns=["image_id", "label", "decided_by"])
    place = {row_id: row for row, row_id in enumerate(competition.test_ids)}
    position = {value: number for number, value in enumerate(competition.class_values)}
    rows = list(zip(table.index, table["image_id"], table["label"], strict=True))
    wrong = [
        f"line {line}: {key!r}, {value!r}" for line, key, value in rows if key not in place or value not in position
    ]
    if wrong:
        raise DataError(problems(f"{path}: unknown ids or labels", wrong))
    before = labels.copy()
    for _, key, value in rows:
        labels[place[key]] = position[value]
        shares[place[key]] = np.eye(shares.shape[1])[position[value]]
    return int((before != labels).sum()), sorted(set(table["decided_by"]))
