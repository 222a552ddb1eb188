"""Tables as Podium writes them, for tests of what reads team-mates' files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.probabilities import Probabilities, write_probabilities


def our_parquet(folder: Path, *, ids: Sequence[str], class_names: Sequence[str], folds_hash: str) -> Path:
    """An out-of-fold table, clean and test-like rows of each image, all classes alike."""
    path = folder / "kim.oof.parquet"
    rows = [*ids, *ids]
    shares = np.full((len(rows), len(class_names)), 1 / len(class_names), dtype=np.float32)
    views = np.array(["clean"] * len(ids) + ["testlike"] * len(ids), dtype=object)
    none = np.zeros(len(rows), dtype=np.int64)
    names = list(class_names)
    table = Probabilities(np.array(rows, dtype=object), views, none, none, np.log(shares), names, "data", folds_hash)
    write_probabilities(path, table)
    return path
