"""Every method: a blend of one is that member, JSON keeps it, order means nothing, nested scores are honest."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.ensemble import Options, Route, from_json
from analysis.fitting import fit, project
from analysis.judge import Plan
from analysis.methods import METHODS
from analysis.nested import best_member, fitter, nested
from analysis.scoreboard import blend_and_score
from tests.blend_tables import library_of_members

FITTED = [method for method in METHODS if method not in ("given", "cma_es")]
OPTIONS = Options(rounds=10, bags=4)


@pytest.mark.parametrize("method", FITTED)
def test_a_blend_of_one_member_is_that_member(method: str) -> None:
    library = library_of_members(n_members=1)
    blend = fit(method, library, OPTIONS)
    np.testing.assert_array_equal(blend.apply(library.log_probabilities), library.log_probabilities[0])
    assert blend.weights == {"net0": 1.0}


@pytest.mark.parametrize("method", FITTED)
def test_a_blend_is_a_distribution_and_survives_json(method: str) -> None:
    library = library_of_members()
    blend = fit(method, library, replace(OPTIONS, calibration="both", bias="loss"))
    table = blend.apply(library.log_probabilities)
    np.testing.assert_allclose(np.exp(table).sum(axis=1), 1.0, atol=1e-6)
    assert sum(blend.weights.values()) == pytest.approx(1)
    again = from_json(json.loads(json.dumps(blend.to_json())))
    assert again == blend
    np.testing.assert_array_equal(again.apply(library.log_probabilities), table)


@pytest.mark.parametrize("method", ["auto", "soft", "weighted", "log_linear", "geometric", "stacking"])
def test_the_order_of_rows_and_members_means_nothing(method: str) -> None:
    library = library_of_members(n_rows=150, n_members=3)
    random = np.random.default_rng(0)
    rows, members = random.permutation(150), random.permutation(3)
    shuffled = replace(
        library.rows(rows),
        members=tuple(library.members[m] for m in members),
        log_probabilities=library.log_probabilities[members][:, rows],
    )
    blend, other = fit(method, library, OPTIONS), fit(method, shuffled, OPTIONS)
    for name, weight in blend.weights.items():
        assert other.weights[name] == pytest.approx(weight, abs=1e-3)
    ours, theirs = blend.apply(library.log_probabilities)[rows], other.apply(shuffled.log_probabilities)
    np.testing.assert_allclose(np.exp(theirs), np.exp(ours), atol=2e-3)


def test_scores_that_chose_their_rows_flatter_and_nested_ones_do_not() -> None:
    library = library_of_members(n_rows=300, n_members=30)
    random = np.random.default_rng(0)
    noise = np.log(random.dirichlet(np.ones(4), size=(30, 300))).astype(np.float32)
    guessing = replace(library, log_probabilities=noise)
    flattered = fit("greedy", guessing, OPTIONS).apply(noise).argmax(axis=1)
    honest = nested(guessing, fitter("greedy", OPTIONS)).table.argmax(axis=1)
    assert (flattered == guessing.labels).mean() > 0.3
    assert (honest == guessing.labels).mean() < 0.3


def test_weights_given_limited_and_routed() -> None:
    library = library_of_members()
    given = fit("given", library, replace(OPTIONS, weights={"net2": 3.0, "net0": 1.0}))
    assert given.weights == pytest.approx({"net0": 0.25, "net1": 0.0, "net2": 0.75, "net3": 0.0})
    limits = {"net0": (0.0, 0.0), "net1": (0.5, 1.0), "net2": (0.0, 0.1)}
    held = fit("auto", library, replace(OPTIONS, limits=limits)).weights
    assert held["net0"] == pytest.approx(0, abs=1e-9)
    assert held["net1"] >= 0.5 - 1e-9
    assert held["net2"] <= 0.1 + 1e-9
    routed = fit("soft", library, replace(OPTIONS, routes=(Route((0, 1), 3),)))
    plain, table = fit("soft", library, OPTIONS).apply(library.log_probabilities), library.log_probabilities
    changed = routed.apply(table)
    pair = (np.sort(np.argsort(-plain, axis=1)[:, :2], axis=1) == [0, 1]).all(axis=1)
    np.testing.assert_allclose(changed[~pair], plain[~pair])
    np.testing.assert_allclose(
        (changed[:, 0] - changed[:, 1])[pair], (table[3, :, 0] - table[3, :, 1])[pair], atol=1e-5
    )
    np.testing.assert_allclose(np.exp(changed).sum(axis=1), 1.0, atol=1e-6)


def test_limits_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        project(np.array([0.5, 0.5]), low=np.zeros(2), high=np.array([0.3, 0.3]))


def test_the_best_member_is_chosen_inside_the_nesting() -> None:
    library = library_of_members(n_members=3)
    worse = library.log_probabilities.copy()
    worse[0], worse[2] = worse[0, ::-1], worse[2, ::-1]
    assert best_member(replace(library, log_probabilities=worse), OPTIONS).weights["net1"] == 1.0


def test_choosing_by_nested_score_and_evolution() -> None:
    library = library_of_members(n_rows=150)
    assert fitter("choose", OPTIONS)(library).method in ("soft", "weighted", "greedy_bagged", "auto")
    pytest.importorskip("cma")
    assert sum(fit("cma_es", library, OPTIONS).weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss", "qwk"])
def test_the_scoreboard_is_whole(metric: str) -> None:
    library = library_of_members(n_rows=200, copies=2)
    views = np.where(np.arange(200) % 2, "testlike", "clean").astype(object)
    test = library_of_members(n_rows=60, seed=5).log_probabilities
    plan = Plan(options=Options(metric=metric), draws=200)
    result = blend_and_score(library, test, views=views, plan=plan)
    json.dumps(result.metrics, allow_nan=False)
    assert result.metrics["view"] == "testlike"
    assert set(result.metrics["views"]) == {"testlike", "clean"}
    assert result.oof.shape == (200, 4)
    assert result.labels.shape == (60,)
    assert [line.split(",")[0] for line in result.methods_csv.splitlines()[1:]] == [
        "auto",
        "soft",
        "weighted",
        "greedy",
        "best_member",
    ]
    first = result.methods_csv.splitlines()[1].split(",")
    assert float(first[1]) == pytest.approx(result.metrics["score"], abs=1e-6)  # log-loss is positive everywhere
    assert f"  auto          {result.metrics['score']:.4f} ± " in result.text
    assert result.ablation_csv.count("member,") == 4
    assert result.ablation_svg.startswith("<svg")
    if metric != "log_loss":
        board = result.metrics["board"]["private"]
        assert board["low"] < result.metrics["score"] < board["high"]


@pytest.mark.parametrize(
    ("plan", "left_out"),
    [
        (Plan(method="given", options=Options(weights={"net0": 1.0})), ["net1", "net2", "net3"]),
        (
            Plan(options=Options(limits={f"net{number}": (0.0, 0.4 - 0.3 * (number == 2)) for number in range(4)})),
            ["net2"],
        ),
        (Plan(method="best_member"), ["net0", "net1", "net2", "net3"]),
    ],
)
def test_a_member_that_cannot_be_done_without_is_not_left_out(plan: Plan, left_out: list[str]) -> None:
    library, views = library_of_members(), np.array(["clean"] * 200, dtype=object)
    result = blend_and_score(library, library.log_probabilities, views=views, plan=replace(plan, draws=100))
    lines = [line.split(",") for line in result.ablation_csv.splitlines()]
    assert [line[1].strip('"') for line in lines if line[0] == "member"] == left_out


def test_the_ablation_of_a_large_table_is_of_some_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    library, views = library_of_members(), np.array(["clean", "testlike"] * 100, dtype=object)
    plan = Plan(draws=100)
    whole = blend_and_score(library, library.log_probabilities, views=views, plan=plan)
    monkeypatch.setattr("analysis.judge.MOST_CELLS", 4 * 4 * 150)
    some = blend_and_score(library, library.log_probabilities, views=views, plan=plan)
    assert some.ablation_csv != whole.ablation_csv
    assert some.ablation_csv.count("member,") == 4
    assert some.methods_csv == whole.methods_csv


def test_a_blend_can_be_moved_to_the_tests_class_shares() -> None:
    library = library_of_members(n_rows=400)
    scarce = np.flatnonzero((library.labels == 0) | (np.arange(400) % 8 == 0))
    test = library.log_probabilities[:, scarce]
    views = np.array(["clean"] * 400, dtype=object)
    plan = Plan(method="soft", options=OPTIONS, with_ablation=False, draws=100)
    plain, moved = (
        blend_and_score(library, test, views=views, plan=replace(plan, to_test_priors=move)) for move in (False, True)
    )
    assert (moved.labels == 0).sum() > (plain.labels == 0).sum()


@pytest.mark.parametrize("method", FITTED)
def test_a_member_that_rules_the_truth_out_breaks_nothing(method: str) -> None:
    library = library_of_members(n_rows=120)
    tables = library.log_probabilities.copy()
    tables[:, :3] = [0.0, -np.inf, -np.inf, -np.inf]  # sure, and for some rows wrong
    spoiled = replace(library, log_probabilities=tables)
    views = np.array(["clean"] * 120, dtype=object)
    with np.errstate(divide="ignore"):
        plan = Plan(method=method, options=replace(OPTIONS, metric="log_loss"), with_ablation=False, draws=100)
        result = blend_and_score(spoiled, tables, views=views, plan=plan)
    json.dumps(result.metrics, allow_nan=False)
    assert np.isfinite(np.exp(result.test)).all()
