"""Suggestions for params.yaml drawn from what the data look like; each says why, so that a person can disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.adversarial import Adversarial

TELLING = 0.7  # AUC of one measure by itself from which it has to be answered


@dataclass(frozen=True)
class Suggestion:
    """What to set or do, the value, and the reason with its numbers."""

    subject: str
    advice: str
    reason: str


def about_classes(counts: Sequence[int], names: Sequence[str]) -> list[Suggestion]:
    """Loss and sampling, from the number of training images in each class."""
    present = [count for count in counts if count]
    ratio, least = max(present) / min(present), min(present)
    scarce = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True) if count < max(present) / 1.5]
    listed = ", ".join(scarce[:5]) + (f" and {len(scarce) - 5} more" if len(scarce) > 5 else "")
    found = []
    if ratio < 1.5:
        reason = f"The largest class has {ratio:.2f} times the images of the smallest: nothing to correct."
        found.append(Suggestion("Loss", "cross entropy, label smoothing 0.1; plain sampling", reason))
    elif ratio < 20:
        reason = (
            f"The largest class has {ratio:.1f} times the images of the smallest; scarce: {listed}. Macro-F1 counts "
            "every class alike: more copies of scarce classes come first; focal and class-weighted losses "
            "come second, and not on top of balanced copies: that corrects twice."
        )
        found.append(Suggestion("Sampling and loss", "balanced copies in augment, with plain cross entropy", reason))
    else:
        reason = (
            f"The largest class has {ratio:,.0f} times the images of the smallest ({least:,}). Fully balanced copies "
            f"would repeat the same few images {ratio:,.0f} times as often; weights by the effective number of images "
            f"(Cui et al., 2019) or focal and asymmetric losses correct the rest without repeating. Scarce: {listed}."
        )
        found.append(
            Suggestion("Sampling and loss", "partly balanced copies, and a focal or class-weighted loss", reason)
        )
    if least < 30:
        reason = (
            f"The smallest class has {least:,} images: with three folds, each scores about {least / 3:.0f} of them."
        )
        found.append(Suggestion("Folds", "few folds (3), and read per-class scores with care", reason))
    absent = [name for name, count in zip(names, counts, strict=True) if not count]
    if absent:
        reason = f"No training image shows them, so no model can name them: {', '.join(absent[:8])}."
        found.append(Suggestion("Classes", f"{len(absent)} classes without images", reason))
    return found


def about_sizes(train: pd.DataFrame, test: pd.DataFrame) -> list[Suggestion]:
    """Input size and shape, from width and height in pixels."""
    found = []
    side = float(np.median(np.sqrt(train["width"] * train["height"])))
    first, last = input_size(side), input_size(side, largest=768)
    reason = f"The median image has {side:,.0f} px (root of the area); larger inputs only enlarge pixels."
    if last > first:
        reason = (
            f"The median image has {side:,.0f} px (root of the area). Cost grows with the square: compare backbones at "
            f"{first} px, then train the best few at up to {last} px."
        )
    found.append(Suggestion("Input size", f"{first} px", reason))
    narrow = float(((train["aspect"] < 0.8) | (train["aspect"] > 1.25)).mean())
    if narrow > 0.3:
        reason = f"{narrow:.0%} of the training images are far from square; squeezing them distorts shapes."
        found.append(Suggestion("Shape", "pad to a square, or keep the ratio", reason))
    if len(test) and abs(_wide(train) - _wide(test)) > 0.1:
        reason = (
            f"Of the training images that are not square {_wide(train):.0%} are wider than high, of those of the test "
            f"{_wide(test):.0%}: the test seems to be turned by quarters too."
        )
        found.append(Suggestion("Rotation", "any angle, 180° included", reason))
    return found


def input_size(side: float, *, largest: int = 384) -> int:
    """The next multiple of 16 up to 64 pixels, of 32 above (backbones halve their input), from 32 to `largest`."""
    step = 16 if side <= 64 else 32
    return int(np.clip(step * math.ceil(side / step), 32, largest))


def about_duplicates(*, train: int, conflicts: int, across: int) -> list[Suggestion]:
    """What to do about pairs of equal or nearly equal images: inside train, with two labels, between train and test."""
    found = []
    if conflicts:
        reason = f"{conflicts:,} pairs of the same picture carry two labels: at least one of them is wrong."
        found.append(Suggestion("Labels", "look at the pairs with two labels, and patch them", reason))
    if train:
        reason = f"{train:,} pairs of training images are the same picture; torn apart, they would flatter every score."
        found.append(Suggestion("Folds", "nothing: the split keeps duplicates together", reason))
    if across:
        reason = f"{across:,} pairs of a training and a test image are the same picture: memory answers them."
        found.append(Suggestion("Leak", "training images in the test: read the rules before you use them", reason))
    return found


def about_shift(train: pd.DataFrame, test: pd.DataFrame, found: Adversarial | None) -> list[Suggestion]:
    """What the augmentation has to add, from the statistics of train against test."""
    if found is None:
        return []
    if found.auc < 0.6:
        reason = f"A classifier tells train from test with an AUC of only {found.auc:.2f}: they look alike."
        return [Suggestion("Validation", "plain held-out images are a fair sample", reason)]
    strongest = ", ".join(f"{name.replace('_', ' ')} ({value:.2f})" for name, value in list(found.alone.items())[:3])
    reason = f"A classifier tells train from test with an AUC of {found.auc:.2f}; most telling alone: {strongest}."
    checks = (_blur, _noise, _turns, _light, _contrast, _tint)
    advice = [said for check in checks if (said := check(train, test, found.alone))]
    if not advice and found.auc > 0.9:
        told = "No rule here says how they differ: let the strengths of the augmentation be fitted to the test images."
        advice = [Suggestion("Noise", "explore.fit_noise: true, then augment.strength: fitted", told)]
    return [Suggestion("Validation", "trust the test-like view, not the clean one", reason), *advice]


def _blur(train: pd.DataFrame, test: pd.DataFrame, alone: Mapping[str, float]) -> Suggestion | None:
    before, after = train["sharpness"].median(), test["sharpness"].median()
    if not (after < 0.7 * before or (after < before and _tells(alone, "sharpness"))):
        return None
    return Suggestion("Blur", "add blur", f"Median sharpness falls from {before:,.0f} to {after:,.0f}.")


def _noise(train: pd.DataFrame, test: pd.DataFrame, alone: Mapping[str, float]) -> Suggestion | None:
    before, after = train["noise"].median(), test["noise"].median()
    if not (after > 1.2 * before + 0.5 or (after > before and _tells(alone, "noise"))):
        return None
    reason = f"Median noise rises from {before:.1f} to {after:.1f} grey values; blur after noise hides part of it."
    return Suggestion("Noise", "add Gaussian noise", reason)


def _turns(train: pd.DataFrame, test: pd.DataFrame, alone: Mapping[str, float]) -> Suggestion | None:
    for name, fold in (("rotation", 4), ("axis", 2)):
        before, after = (agreement(table[name], fold) for table in (train, test))
        if after < before and ((after < 0.8 * before and before > 0.2) or _tells(alone, name)):
            reason = (
                f"The images' {name} agrees with a common direction by {before:.2f} in train, by {after:.2f} in test."
            )
            return Suggestion("Rotation", "add rotation", reason)
    return None


def _tells(alone: Mapping[str, float], name: str) -> bool:
    """Whether a measure by itself tells train from test."""
    return alone.get(name, 0.5) > TELLING


def agreement(degrees: pd.Series[float], fold: int) -> float:
    """How far angles that repeat `fold` times a turn agree: the length of their mean direction, 0 to 1."""
    return float(np.abs(np.exp(1j * fold * np.radians(degrees.to_numpy(np.float64))).mean()))


def _light(train: pd.DataFrame, test: pd.DataFrame, alone: Mapping[str, float]) -> Suggestion | None:
    before, after = train["brightness"], test["brightness"]
    shifted = abs(after.median() - before.median()) >= 8 or after.std() >= before.std() + 5
    if not (shifted or _tells(alone, "brightness")):
        return None
    reason = (
        f"Median brightness goes from {before.median():.0f} to {after.median():.0f}, its spread from "
        f"{before.std():.0f} to {after.std():.0f}."
    )
    return Suggestion("Light", "add brightness jitter", reason)


def _contrast(train: pd.DataFrame, test: pd.DataFrame, alone: Mapping[str, float]) -> Suggestion | None:
    before, after = train["contrast"].median(), test["contrast"].median()
    if abs(after - before) < 0.2 * before and not _tells(alone, "contrast"):
        return None
    reason = f"Median contrast goes from {before:.0f} to {after:.0f}."
    return Suggestion("Contrast", f"add contrast jitter around {after / max(before, 1):.1f}", reason)


def _tint(train: pd.DataFrame, test: pd.DataFrame, alone: Mapping[str, float]) -> Suggestion | None:
    before, after = train["saturation"].median(), test["saturation"].median()
    if abs(after - before) < 5 and not _tells(alone, "saturation"):
        return None
    return Suggestion("Colour", "add colour jitter", f"Median saturation goes from {before:.0f} to {after:.0f}.")


def _wide(table: pd.DataFrame) -> float:
    """The share of wide images among those that are not square; not a number where nearly all are."""
    wide, high = (table["aspect"] > 1.02).mean(), (table["aspect"] < 0.98).mean()
    return float(wide / (wide + high)) if wide + high > 0.1 else math.nan
