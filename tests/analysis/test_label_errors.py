"""Suspicious labels: planted mistakes come first, clean labels stay unsuspected."""

import numpy as np
import pytest

from analysis.label_errors import suspects


def told(labels: np.ndarray, n_classes: int) -> np.ndarray:  # type: ignore[type-arg]
    """The probabilities of a good classifier: mostly near 1 for the true label, sometimes unsure."""
    logits = np.random.default_rng(0).normal(0, 1.5, (len(labels), n_classes))
    logits[np.arange(len(labels)), labels] += 7
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_planted_mistakes_are_found_worst_first() -> None:
    truth = np.arange(1200) % 4
    planted = np.arange(7, 1200, 31)  # 39 of them
    given = truth.copy()
    given[planted] = (truth[planted] + 1) % 4
    found = suspects(given, told(truth, 4))
    right = np.isin(found["row"], planted)
    assert right.mean() > 0.95
    assert right.sum() > 0.6 * len(planted)
    assert (found["suggested"].to_numpy() == truth[found["row"]])[right].all()
    assert found["own"].is_monotonic_increasing
    assert (found["other"] > found["own"])[right].all()


def test_clean_labels_raise_no_suspicion() -> None:
    truth = np.arange(100) % 3
    assert len(suspects(truth, told(truth, 3))) == 0


@pytest.mark.parametrize("labels", [np.zeros(20, int), np.repeat([0, 2], 10)])
def test_absent_classes_do_no_harm(labels: np.ndarray) -> None:  # type: ignore[type-arg]
    assert len(suspects(labels, told(labels, 3))) == 0
