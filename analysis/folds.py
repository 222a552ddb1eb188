"""Cutting images into folds: parts stay whole, classes stay balanced, every draw follows from the seed.

A part is a set of images that must not be torn apart: near duplicates, pictures of one person, frames of one video.
Large parts are placed first, where they unbalance least; single images then level what is left, class by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class Ledger:
    """What each fold holds and should hold, per class; both (n_folds, n_classes)."""

    have: Floats
    target: Floats

    def deficit(self) -> Floats:
        """How many images each fold still lacks: (n_folds,)."""
        return np.asarray((self.target - self.have).sum(axis=1))


def deal(labels: Integers, parts: Integers, shares: Sequence[float], *, seed: int) -> Integers:
    """A fold number for each image: (n_images,) in 0..len(shares) - 1.

    `shares` are the folds' fractions of the whole. Where all parts are single images, the number of each class in each
    fold is within one of its share. A part larger than a fold is placed all the same: the others share the rest.
    """
    random = np.random.default_rng(seed)
    fractions = np.asarray(shares, float) / np.sum(shares)
    labels = np.unique(labels, return_inverse=True)[1]
    counts = np.bincount(labels)
    ledger = Ledger(np.zeros((len(fractions), len(counts))), fractions[:, None] * counts)
    fold = np.full(len(labels), -1, np.int64)
    sizes = np.bincount(parts)[parts]  # (n_images,) size of the part that each image is in
    _place_parts(fold, labels, _pieces(parts, np.flatnonzero(sizes > 1)), ledger, random)
    singles = np.flatnonzero(sizes == 1)
    for label in np.argsort(counts, kind="stable"):  # scarce classes first
        rows = random.permutation(singles[labels[singles] == label])
        quota = _quota(len(rows), ledger, int(label))
        ledger.have[:, label] += quota
        fold[rows] = np.repeat(np.arange(len(quota)), quota)
    return fold


def _pieces(parts: Integers, rows: Integers) -> list[Integers]:
    """The rows of each part."""
    rows = rows[np.argsort(parts[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(parts[rows])) + 1) if len(rows) else []


def _place_parts(
    fold: Integers, labels: Integers, pieces: list[Integers], ledger: Ledger, random: np.random.Generator
) -> None:
    """Place parts of several images, largest first, each where the squared excess over all its classes grows least."""
    order = random.permutation(len(pieces))
    order = order[np.argsort([-len(pieces[i]) for i in order], kind="stable")]
    weights = 1 / np.maximum(ledger.target.sum(axis=0), 1)  # (n_classes,) one image of a scarce class counts for more
    room = 1 / max(ledger.target.sum(), 1)
    for number in order:
        piece = pieces[number]
        classes, added = np.unique(labels[piece], return_counts=True)
        gap = ledger.have[:, classes] - ledger.target[:, classes]  # (n_folds, n_classes_here)
        growth = ((2 * gap + added) * added * weights[classes]).sum(axis=1)
        growth += (len(piece) - 2 * ledger.deficit()) * len(piece) * room
        best = int(np.argmin(growth))
        fold[piece] = best
        ledger.have[best, classes] += added


def _quota(n_images: int, ledger: Ledger, label: int) -> Integers:
    """How many single images of a class each fold gets: in proportion to what it lacks, remainders where space is."""
    lack = np.maximum(ledger.target[:, label] - ledger.have[:, label], 0)
    if lack.sum() == 0:
        lack = ledger.target[:, label]
    ideal = lack * n_images / max(float(lack.sum()), 1e-12)
    quota = np.floor(ideal + 1e-9).astype(np.int64)
    order = np.lexsort((-ledger.deficit(), -np.round(ideal - quota, 9)))
    quota[order[: n_images - int(quota.sum())]] += 1
    return quota


def parts_per_class(labels: Integers, parts: Integers) -> dict[int, int]:
    """How many separate parts hold at least one image of each class: what can be spread over folds at most."""
    pairs = np.unique(np.column_stack([labels, parts]), axis=0)
    classes, counts = np.unique(pairs[:, 0], return_counts=True)
    return {int(label): int(count) for label, count in zip(classes, counts, strict=True)}


def balance(labels: Integers, fold: Integers, names: Sequence[str]) -> pd.DataFrame:
    """Images per class (rows) and fold (columns), with the ideal and the largest distance from it among the folds."""
    numbers = sorted(set(fold.tolist()))
    table = pd.DataFrame(
        {_title(number): np.bincount(labels[fold == number], minlength=len(names)) for number in numbers},
        index=pd.Index(list(names), name="class"),
    )
    scored = [_title(number) for number in numbers if number >= 0]
    table["all"] = np.bincount(labels, minlength=len(names))
    ideal = table[scored].sum(axis=1) / max(len(scored), 1)
    table["ideal"] = ideal.round(2)
    table["furthest"] = table[scored].sub(ideal, axis=0).abs().max(axis=1).round(2)
    return table


def _title(number: int) -> str:
    return {-1: "train only", -2: "left out"}.get(number, f"fold {number}")
