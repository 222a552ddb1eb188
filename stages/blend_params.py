"""The section `blend` of params.yaml, and its translation into the analysis' options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from analysis.ensemble import Options, Route
from analysis.judge import Plan
from analysis.metrics import MetricName
from storage.errors import ParamsError
from storage.names import nearest
from storage.section import Section

Method = Literal[
    "auto",
    "soft",
    "given",
    "geometric",
    "power",
    "rank",
    "hard",
    "weighted",
    "log_linear",
    "greedy",
    "greedy_bagged",
    "cma_es",
    "stacking",
    "choose",
    "best_member",
]


class RouteParams(Section):
    """A pair of confusable classes and the member that decides between them."""

    classes: tuple[str, str] = Field(description="names of the two classes")
    member: str = Field(description="the member whose shares of the two are used where the blend hesitates")


class BlendParams(Section):
    """How the members become one."""

    method: Method = Field(
        "auto",
        description="auto: mean of the weighted linear and the log-linear pool, soft voting's label kept in near ties, "
        "one temperature, labels by expected metric (docs/blending.md); soft: soft voting; given: `weights`; "
        "geometric, power, rank: other means; hard: one vote each; weighted: convex log-loss weights; "
        "log_linear: softmax(sum w log p + b); greedy: selection with replacement "
        "by the metric; greedy_bagged: its mean over bags of members and rows; cma_es: weights by evolution (needs "
        "the package cma); stacking: regularised logistic regression; choose: the best of four by nested score; "
        "best_member: no blend",
    )
    metric: MetricName = Field(
        "macro_f1", description="the contest's metric: labels maximise its expectation, scores are measured by it"
    )
    view: Literal["testlike", "clean", "both"] = Field(
        "testlike", description="the held-out rows that weights are fitted on; clean where there are no test-like ones"
    )
    decision: Literal["expected", "likeliest"] = Field(
        "expected", description="expected: labels that maximise the expected metric; likeliest: the top class"
    )
    calibration: Literal["auto", "none", "before", "after", "both"] = Field(
        "auto", description="one temperature per member before pooling, one after it, or both; auto: as the method asks"
    )
    bias: Literal["auto", "none", "loss", "metric", "priors"] = Field(
        "auto",
        description="bias per class after pooling: loss: by log-loss, held near 0; metric: by the metric (flatters "
        "the rows it was tuned on); auto: as the method asks (loss for auto, else none); priors: as auto, then toward "
        "the class shares estimated on the test set",
    )
    weights: dict[str, float] = Field({}, description="weights of method `given`: {member: weight}")
    limits: dict[str, tuple[float, float]] = Field(
        {}, description="share of each member: {name: [least, most]}; [0, 0] excludes, [0.1, 1] forces, [0, 0.3] caps"
    )
    routes: list[RouteParams] = Field([], description="pairs of classes that a specialist decides")
    others: dict[str, str] = Field(
        {},
        description="blends of blends: {name: folder}, each with oof.parquet and test.parquet from the same "
        "index and folds, for example a team-mate's data/blend; list the folder under blend's deps in dvc.yaml",
    )
    power: float = Field(0.5, gt=0, le=10, description="exponent of the power mean")
    shrink: float = Field(
        0.0,
        ge=0,
        le=10,
        description="pseudo-rows toward uniform weights, as a share of the rows; 0: chosen by cross-validated log-loss",
    )
    rounds: int = Field(50, ge=1, le=1000, description="rounds of greedy selection")
    bags: int = Field(20, ge=1, le=1000, description="bags of the bagged greedy selection")
    compare_with: list[Method] = Field(
        ["soft", "weighted", "greedy"], description="methods scored beside the chosen one, each nested"
    )
    ablation: bool = Field(True, description="score the blend without each member, and without each of its steps")
    draws: int = Field(1000, ge=100, le=100_000, description="bootstrap draws behind every error and interval")
    public_share: float = Field(0.5, ge=0, le=1, description="share of the test set on the public board")
    seed: int = Field(0, description="seed of bags and bootstrap")

    @model_validator(mode="after")
    def check_limits(self) -> BlendParams:
        """Limits are shares, weights are not negative."""
        wrong = [name for name, (low, high) in self.limits.items() if not 0 <= low <= high <= 1]
        if wrong:
            raise ValueError(f"limits of {wrong} must be [least, most] with 0 <= least <= most <= 1")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and sum(self.weights.values()) <= 0):
            raise ValueError("weights must be >= 0 and not sum to 0")
        if self.method == "given" and not self.weights:
            raise ValueError("method given needs weights: {member: weight}")
        return self


def options(chosen: BlendParams, members: list[str], class_names: list[str]) -> Options:
    """The methods' options; raises ParamsError where a name in them is no member or class."""
    named = [*chosen.weights, *chosen.limits, *(route.member for route in chosen.routes)]
    unknown = [f"{name!r}{nearest(name, members)}" for name in named if name not in members]
    classes = [name for route in chosen.routes for name in route.classes]
    unknown += [f"{name!r}{nearest(name, class_names)}" for name in classes if name not in class_names]
    if unknown:
        raise ParamsError(f"params.yaml: blend names what does not exist: {', '.join(unknown)}")
    return Options(
        metric=chosen.metric,
        power=chosen.power,
        shrink=chosen.shrink,
        rounds=chosen.rounds,
        bags=chosen.bags,
        calibration=chosen.calibration,
        bias="auto" if chosen.bias == "priors" else chosen.bias,
        limits=chosen.limits,
        weights=chosen.weights,
        routes=tuple(
            Route(
                (class_names.index(route.classes[0]), class_names.index(route.classes[1])), members.index(route.member)
            )
            for route in chosen.routes
        ),
        seed=chosen.seed,
    )


def plan(chosen: BlendParams, told: Options) -> Plan:
    """The parameters as the analysis takes them."""
    return Plan(
        method=chosen.method,
        options=told,
        fit_view=chosen.view,
        decision=chosen.decision,
        to_test_priors=chosen.bias == "priors",
        compare_with=chosen.compare_with,
        with_ablation=chosen.ablation,
        draws=chosen.draws,
        public_share=chosen.public_share,
    )
