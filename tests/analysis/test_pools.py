"""Pools: identity of one, absence of zero, no order, sums of one; weights against scipy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from analysis.metrics import true_class
from analysis.pool_weights import Features, choose_ridge, choose_shrink, linear_weights, log_linear_weights
from analysis.pools import LinearPool, LogLinearPool, Pool, PowerPool, RankPool, VotePool
from tests.blend_tables import library_of_members

MAKERS = {
    "linear": LinearPool,
    "log_linear": LogLinearPool,
    "power": PowerPool,
    "rank": RankPool,
    "vote": VotePool,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_pool_of_one_member_is_the_identity(kind: str) -> None:
    table = library_of_members(n_members=1).log_probabilities
    np.testing.assert_allclose(MAKERS[kind]((1.0,)).apply(table), table[0], atol=2e-6)


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), n_members=st.integers(2, 5))
def test_sums_order_and_absence(kind: str, seed: int, n_members: int) -> None:
    random = np.random.default_rng(seed)
    table = library_of_members(n_rows=40, n_members=n_members, seed=seed).log_probabilities
    weights = random.dirichlet(np.ones(n_members))
    pool: Pool = MAKERS[kind](tuple(weights))
    pooled = pool.apply(table)
    np.testing.assert_allclose(np.exp(pooled).sum(axis=1), 1.0, atol=1e-9)
    order, rows = random.permutation(n_members), random.permutation(40)
    np.testing.assert_allclose(MAKERS[kind](tuple(weights[order])).apply(table[order]), pooled, atol=1e-9)
    np.testing.assert_allclose(pool.apply(table[:, rows]), pooled[rows], atol=1e-9)
    silent = np.concatenate([table, table[:1, ::-1]])
    np.testing.assert_array_equal(MAKERS[kind]((*weights, 0.0)).apply(silent), pooled)


def test_power_one_is_the_linear_pool_and_power_near_zero_the_geometric_mean() -> None:
    table = library_of_members().log_probabilities
    weights = (0.25,) * 4
    np.testing.assert_allclose(PowerPool(weights, 1.0).apply(table), LinearPool(weights).apply(table), atol=1e-9)
    np.testing.assert_allclose(PowerPool(weights, 1e-4).apply(table), LogLinearPool(weights).apply(table), atol=1e-3)


def test_soft_voting_is_scikit_learns() -> None:
    from sklearn.datasets import load_digits
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.tree import DecisionTreeClassifier

    images, labels = load_digits(return_X_y=True)
    models = [
        ("bayes", GaussianNB(var_smoothing=0.01)),
        ("tree", DecisionTreeClassifier(min_samples_leaf=5, random_state=0)),
        ("logistic", LogisticRegression(C=0.01, max_iter=300)),
    ]
    voting = VotingClassifier(models, voting="soft").fit(images[:900] / 16, labels[:900])
    tables = [model.predict_proba(images[900:] / 16) for model in voting.estimators_]
    with np.errstate(divide="ignore"):
        logs = np.log(np.stack(tables))
    ours = np.exp(LinearPool((1 / 3,) * 3).apply(logs))
    np.testing.assert_allclose(ours, voting.predict_proba(images[900:] / 16), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(ours.argmax(axis=1), voting.predict(images[900:] / 16))


@pytest.mark.parametrize("shrink", [0.0, 0.2])
def test_linear_weights_find_the_minimum_that_scipy_finds(shrink: float) -> None:
    library = library_of_members(n_rows=300, n_members=5)
    own = true_class(library.log_probabilities, library.labels).astype(np.float64)

    def objective(weights: np.ndarray) -> float:
        pull = shrink / 5 * np.log(np.maximum(weights, 1e-12)).sum() if shrink else 0.0
        return float(-np.log(weights @ np.exp(own)).mean() - pull)

    simplex = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    found = minimize(objective, np.full(5, 0.2), bounds=[(0, 1)] * 5, constraints=simplex, tol=1e-10)
    weights = linear_weights(own, shrink=shrink)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert objective(weights) <= found.fun + 1e-6


def test_a_useless_member_gets_no_linear_weight() -> None:
    own = np.log(np.stack([np.full(50, 0.9), np.full(50, 0.3)]))
    np.testing.assert_allclose(linear_weights(own, shrink=0.0), [1.0, 0.0], atol=1e-6)
    assert linear_weights(own, shrink=1.0)[1] > 0.1


def test_log_linear_terms_are_the_derivatives_of_the_loss() -> None:
    library = library_of_members(n_rows=60, n_members=3)
    features = Features.of(library.log_probabilities, library.labels, dtype=np.float64)
    parameters = np.random.default_rng(0).normal(size=7) * 0.3
    loss, gradient, hessian = features.terms(parameters)
    pool = LogLinearPool(tuple(parameters[:3]), tuple(parameters[3:]))
    assert loss == pytest.approx(-true_class(pool.apply(library.log_probabilities), library.labels).mean())
    for place in range(7):
        step = np.eye(7)[place] * 1e-5
        up, down = features.terms(parameters + step), features.terms(parameters - step)
        assert (up[0] - down[0]) / 2e-5 == pytest.approx(gradient[place], abs=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-5, hessian[place], atol=1e-6)


def test_log_linear_with_a_heavy_ridge_is_the_geometric_mean_and_a_light_one_lowers_the_loss() -> None:
    library = library_of_members(n_rows=300, n_members=3)
    features = Features.of(library.log_probabilities, library.labels)
    np.testing.assert_allclose(log_linear_weights(features, ridge=1e6)[:3], 1 / 3, atol=1e-3)
    light, heavy = (features.loss(log_linear_weights(features, ridge=ridge)) for ridge in (1e-3, 10.0))
    assert light < heavy
    assert choose_ridge(library.log_probabilities, library.labels, library.folds) in (1.0, 0.1, 0.01, 0.001)


def test_weights_are_shrunk_where_members_are_alike_and_hardly_where_one_is_plainly_better() -> None:
    random = np.random.default_rng(0)
    folds = np.arange(600) % 3
    alike = np.log(random.uniform(0.3, 0.9, (4, 600)))
    assert choose_shrink(alike, folds) == 0.2
    better = alike.copy()
    better[0] = np.log(random.uniform(0.9, 0.99, 600))
    assert choose_shrink(better, folds) < 0.05
