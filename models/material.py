"""What one fold is trained and judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.catalogue import Catalogue
from models.feed import Rows
from models.predict import LogProbabilities
from models.scores import scores
from storage.shards import Shards

Scores = dict[str, dict[str, float]]  # {view: {metric: value}}


@dataclass(frozen=True)
class Material:
    """What a fold is trained and judged on; all numbers are rows of `pictures`."""

    pictures: Catalogue
    stores: dict[str, Shards]
    train: Rows
    valid: Rows
    valid_view: npt.NDArray[np.object_]  # clean or testlike, per row of `valid`
    test: npt.NDArray[np.int64]
    class_names: list[str]
    identity: str  # a hash of index, folds and copies


def judged_view(views: npt.NDArray[np.object_]) -> str:
    """The view that decides: testlike where there is one."""
    return "testlike" if (views == "testlike").any() else "clean"


def scores_by_view(material: Material, logs: LogProbabilities) -> Scores:
    """Macro-F1, accuracy and log-loss of each view of the held-out rows."""
    found: Scores = {}
    for view in ("clean", "testlike"):
        rows = material.valid_view == view
        if rows.any():
            found[view] = scores(material.valid.label[rows], logs[rows])
    return found
