"""The optimism of a chosen checkpoint is what a simulation with known truth finds."""

import numpy as np

from models.optimism import macro_f1, optimism


def test_it_matches_the_true_gap_of_equally_good_epochs() -> None:
    rng = np.random.default_rng(0)
    estimates, truths = [], []
    for trial in range(40):
        labels = rng.integers(0, 4, 300)
        right = rng.random((12, 300)) < 0.8  # twelve epochs, equally good: any difference is luck
        predicted = np.where(right, labels, (labels + rng.integers(1, 4, (12, 300))) % 4)
        estimates.append(optimism(predicted, labels, n_classes=4, seed=trial))
        truths.append(macro_f1(predicted, labels, 4).max() - 0.8)
    assert abs(np.mean(estimates) - np.mean(truths)) < 0.01


def test_one_epoch_has_none() -> None:
    labels = np.arange(200) % 4
    assert abs(optimism(np.roll(labels, 1)[None], labels, n_classes=4, seed=0)) < 0.02
