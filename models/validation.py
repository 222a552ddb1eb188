"""Judging a network on its held-out rows: scores, how far choosing flatters them, a word when it stays at chance."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from lightning_fabric import Fabric

from models.material import Material, Scores, judged_view, scores_by_view
from models.network import Network
from models.optimism import optimism
from models.predict import LogProbabilities
from models.schema import ModelParams
from models.training import Validate


def validation(
    fabric: Fabric,
    run: Callable[[Network, npt.NDArray[np.int64], tuple[str, ...]], dict[str, LogProbabilities]],
    material: Material,
    looks: list[npt.NDArray[np.int64]],
) -> Validate:
    """The scores of a network on the held-out rows, view by view."""

    def validate(network: Network) -> Scores:
        if not len(material.valid):
            return {}
        logs = run(network, material.valid.picture, ("plain",))["plain"]
        looks.append(logs.argmax(axis=1))
        return fabric.broadcast(scores_by_view(material, logs))  # of the first process, or they part

    return validate


def flattered(looks: list[npt.NDArray[np.int64]], material: Material, *, seed: int) -> float:
    """What keep: best adds to the held-out macro-F1; needs two validations in this process."""
    if len(looks) < 2:
        return 0.0
    judged = material.valid_view == judged_view(material.valid_view)
    labels = material.valid.label[judged]
    return optimism(np.stack(looks)[:, judged], labels, n_classes=len(material.class_names), seed=seed)


def warn_of_chance(title: str, params: ModelParams, material: Material, logs: LogProbabilities) -> None:
    """Say so when a finished network is no better than always naming the most frequent class."""
    labels = material.valid.label
    if not len(labels):
        return
    chance = np.bincount(labels).max() / len(labels)
    accuracy = float((logs.argmax(axis=1) == labels).mean())
    if accuracy <= chance + 2 * (chance * (1 - chance) / len(labels)) ** 0.5:
        frozen = " The backbone is frozen: set freeze: 0, or unfreeze_every." if params.freeze else ""
        start = " Its weights started random: set pretrained." if params.freeze and params.pretrained == "none" else ""
        advice = "Otherwise try" if frozen else "Try"
        print(
            f"podium: warning: {title} stays at chance (accuracy {accuracy:.3f}; the most frequent class alone gives "
            f"{chance:.3f}).{frozen}{start} {advice}: podium lr, more epochs, precision: fp32",
            file=sys.stderr,
        )
