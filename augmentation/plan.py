"""Which copies of which sources there are: growth, balance between classes, partners inside the fold.

The plan is a table with one row per copy, in the order of the index; it is known before any pixel is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from augmentation.copies import Copier
from augmentation.drawing import Draws, Floats, uniform
from augmentation.recipe import AugmentParams
from storage.errors import ParamsError, problems

MOST_COPIES = 10_000_000  # the plan is held in memory
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """One row per copy everywhere; `table` has the columns of the contract but for the place on disk."""

    table: pd.DataFrame
    draws: Draws
    source: Integers  # (n_copies,)
    partner: Integers  # (n_copies,) -1 without


def plan_copies(params: AugmentParams, train: pd.DataFrame, folds: Integers, class_names: Sequence[str]) -> Plan:
    """All copies of the training images: train copies of each, test-like copies of those in a fold that is scored.

    `train` is the index's table, `folds` (n_sources,) its folds. Raises ParamsError for classes that don't exist.
    """
    strengths = class_strengths(params, class_names)
    labels = train["label"].to_numpy()
    online = params.mode == "online"
    growth = np.zeros(len(train), dtype=np.int64) if online else grow(params, labels)
    growth[folds < -1] = 0  # left out by the split
    validation = np.where(folds >= 0, params.validation_copies, 0)
    counts = np.stack([growth, validation], axis=1).ravel()  # per source: train, test-like
    if counts.sum() > MOST_COPIES:
        raise ParamsError(f"augment asks for {counts.sum():,} copies; at most {MOST_COPIES:,} are possible")
    block = np.repeat(np.arange(len(counts)), counts)
    source, testlike = block // 2, block % 2 == 1
    copy = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
    draws = draw_views(params, train["image_id"].to_numpy()[source], copy, testlike, strengths[labels[source]])
    partner = partners(draws, source, train["image_id"], folds)
    table = describe(train, folds, source=source, partner=partner, testlike=testlike, copy=copy, draws=draws)
    return Plan(table, draws, source, partner)


def class_strengths(params: AugmentParams, class_names: Sequence[str]) -> Floats:
    """The strength of each class.  # (n_classes,)"""
    unknown = [f"augment.classes.{name}" for name in params.classes if name not in class_names]
    if unknown:
        raise ParamsError(problems(f"classes that don't exist; the index has {list(class_names)[:20]}", unknown))
    return np.array([params.classes[name].strength if name in params.classes else 1.0 for name in class_names])


def grow(params: AugmentParams, labels: Integers) -> Integers:
    """Training copies of each source: by factor or to a total, shared between classes by `balance`.  # (n_sources,)

    A class of n sources gets items in proportion to n^(1-balance) x n_largest^balance; the clean sources count as
    items where they are included. Inside a class, sources differ by at most one copy.
    """
    sizes = np.bincount(labels)
    clean = int(params.include_clean)
    weights = np.where(sizes > 0, sizes ** (1 - params.balance) * float(sizes.max()) ** params.balance, 0.0)
    items = weights * (params.copies + clean)
    if params.total is not None:
        items = weights * params.total / weights.sum()
        rounded = np.floor(np.cumsum(items) + 1e-6)  # whole numbers that sum to the total
        items = np.diff(rounded, prepend=0)
    wanted = np.maximum(np.rint(items).astype(np.int64) - clean * sizes, 0)
    rank = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    quotient, remainder = np.divmod(wanted, np.maximum(sizes, 1))
    counts: Integers = quotient[labels] + (rank < remainder[labels])
    return counts


def draw_views(
    params: AugmentParams,
    ids: npt.NDArray[np.object_],
    copy: Integers,
    testlike: npt.NDArray[np.bool_],
    strength: Floats,
) -> Draws:
    """The drawn values of both views, put together row by row; test-like copies have no strength of their class."""
    copier = Copier(params)
    parts = {
        view: (
            rows,
            copier.draw(list(ids[rows]), copy[rows], view=view, strength=strength[rows] if view == "train" else None),
        )
        for view, rows in (("train", np.flatnonzero(~testlike)), ("testlike", np.flatnonzero(testlike)))
    }
    keys = np.zeros(len(ids), dtype=np.uint64)
    columns: dict[str, Floats] = {}
    for rows, draws in parts.values():
        keys[rows] = draws.keys
        for name, values in draws.columns.items():
            neutral = 1.0 if name in ("mixup", "cutmix") else 0.0
            columns.setdefault(name, np.full(len(ids), neutral))[rows] = values
    return Draws(keys, columns)


def partners(draws: Draws, source: Integers, image_ids: Sequence[Any] | pd.Series, folds: Integers) -> Integers:
    """For each copy the position of its partner, from the source's fold and never itself; -1 without.  # (n_copies,)

    `source` (n_copies,) are positions in `image_ids` and `folds` (n_sources,).
    """
    partner = np.full(len(draws), -1, dtype=np.int64)
    mixed = np.flatnonzero(source_shares(draws) < 1)
    order = np.argsort(np.asarray(image_ids, dtype=str), kind="stable")  # the same pool whatever the rows' order
    drawn = uniform(draws.keys[mixed], "partner")
    for fold in np.unique(folds):
        pool = order[folds[order] == fold]
        rows = mixed[folds[source[mixed]] == fold]
        if len(pool) < 2:
            continue
        own = np.empty(len(folds), dtype=np.int64)
        own[pool] = np.arange(len(pool))
        step = 1 + (drawn[folds[source[mixed]] == fold] * (len(pool) - 1)).astype(np.int64)
        partner[rows] = pool[(own[source[rows]] + step) % len(pool)]
    return partner


def source_shares(draws: Draws) -> Floats:
    """The drawn share of the source in each copy, 1 where it is not mixed.  # (n_copies,)"""
    shares = [draws.columns[name] for name in ("mixup", "cutmix") if name in draws.columns]
    return np.min(shares, axis=0) if shares else np.ones(len(draws))


def weights(draws: Draws, partner: Integers) -> npt.NDArray[np.float32]:
    """The share of the source's label; 1 where no partner was found.  # (n_copies,)"""
    return np.where(partner >= 0, source_shares(draws), 1.0).astype(np.float32)


def describe(
    train: pd.DataFrame,
    folds: Integers,
    *,
    source: Integers,
    partner: Integers,
    testlike: npt.NDArray[np.bool_],
    copy: Integers,
    draws: Draws,
) -> pd.DataFrame:
    """The columns of the contract that are known before the pixels, and the drawn values."""
    ids, labels = train["image_id"].to_numpy(dtype=object), train["label"].to_numpy()
    view = np.where(testlike, "testlike", "train").astype(object)
    paired = partner >= 0
    contract = {
        "copy_id": ids[source] + "." + view + "." + copy.astype(str).astype(object),
        "source_id": ids[source],
        "partner_id": np.where(paired, ids[partner], ""),
        "weight": weights(draws, partner),
        "fold": folds[source],
        "view": view,
        "copy": copy,
        "label": labels[source],
        "partner_label": np.where(paired, labels[partner], -1),
    }
    drawn = {name: values.astype(np.float32) for name, values in draws.columns.items()}
    return pd.DataFrame(contract | drawn)
