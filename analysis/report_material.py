"""What the report is made of, and the frame that its pages share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.pictures import Pictures
from analysis.sources import Array, Held, Source

PAGES = (
    ("index.html", "Overview"),
    ("gallery.html", "Disputed images"),
    ("classes.html", "Classes"),
    ("training.html", "Training data"),
    ("runs.html", "Runs"),
)


@dataclass(frozen=True)
class Material:
    """All that the report is made of; test rows in the order of `test_ids`, training rows of `train_ids`."""

    sources: Sequence[Source]
    held: Held
    class_names: Sequence[str]
    class_values: Sequence[str]
    test_ids: Sequence[str]
    train_ids: Sequence[str]
    train_labels: Array  # (n_train,)
    test_pictures: Pictures
    train_pictures: Pictures
    train_shares: Mapping[str, Array]  # out of fold, clean view: {member: (n_train, n_classes)}
    fold_labels: Mapping[str, Array] = field(default_factory=dict)  # {member: (n_test, n_folds)}
    refused: Mapping[str, str] = field(default_factory=dict)  # {file: why}
    metrics: Mapping[str, Any] = field(default_factory=dict)  # of the blend
    curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # {"model/fold": one row per epoch}
    ledger: pd.DataFrame | None = None
    duplicates: pd.DataFrame | None = None
    exploration: str = ""  # link to the exploration page, if there is one
    copies: Sequence[Array] = ()  # some test-like copies, RGB pixels


@dataclass(frozen=True)
class Look:
    """Sizes of pictures and lengths of lists."""

    thumbnail: int = 160
    large: int = 900
    neighbours: int = 3
    pictures: int = 20_000
    suspects: int = 500


def frame(material: Material, here: str) -> dict[str, Any]:
    """What base.html shows on every page."""
    pages = [*PAGES, *([(material.exploration, "Exploration")] if material.exploration else [])]
    return {
        "navigation": [(href, text, href == here) for href, text in pages],
        "note": f"{len(material.sources)} sources, {len(material.test_ids):,} test images",
        "tainted": any("tainted" in note for source in material.sources for note in source.notes),
    }


def report_key(material: Material, part: str) -> str:
    """A name under which a browser keeps decisions: the same for the same ids and classes."""
    digest = hashlib.sha256("\0".join([part, *material.class_names, *material.test_ids]).encode()).hexdigest()
    return f"podium-{part}-{digest[:16]}"
