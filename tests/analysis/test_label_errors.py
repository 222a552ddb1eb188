"""Suspicious labels: planted mistakes come first, clean labels stay unsuspected."""

import numpy as np
import pytest

from analysis.label_errors import suspects


def told(labels: np.ndarray, n_classes: int) -> np.ndarray:  # type: ignore[type-arg]
    """Fairly sure probabilities for the true labels."""
    random = np.random.default_rng(0)
    values = random.dirichlet(np.ones(n_classes), len(labels)) * 0.3
    values[np.arange(len(labels)), labels] += 0.7
    return values


def test_planted_mistakes_are_found_worst_first() -> None:
    truth = np.arange(300) % 4
    given = truth.copy()
    given[[5, 77, 200]] = (truth[[5, 77, 200]] + 1) % 4
    found = suspects(given, told(truth, 4))
    assert set(found["row"]) == {5, 77, 200}
    assert (found["suggested"].to_numpy() == truth[found["row"]]).all()
    assert found["own"].is_monotonic_increasing
    assert (found["other"] > found["own"]).all()


def test_clean_labels_raise_no_suspicion() -> None:
    truth = np.arange(100) % 3
    assert len(suspects(truth, told(truth, 3))) == 0


@pytest.mark.parametrize("labels", [np.zeros(20, int), np.repeat([0, 2], 10)])
def test_absent_classes_do_no_harm(labels: np.ndarray) -> None:  # type: ignore[type-arg]
    assert len(suspects(labels, told(labels, 3))) == 0
