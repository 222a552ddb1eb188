"""Contests with hidden answers: which way of blending wins on the test, and can its score be believed?

Two simulated regimes (similar members, mixed members; 9-45 of them, 500-50,000 rows) and one real: quick classifiers
trained on the embedded handwritten digits, three classes scarce, on a noisy test. Each method blends on out-of-fold
tables; the test's labels are read only to score. All methods play a grid of sizes; soft voting, greedy and `auto` also
play some hundred small contests, enough to judge an interval's coverage by.

Written as the key `contests` of benchmarks/results/blend.json, per regime and method, in points of macro-F1:
- gain: over plain soft voting on the test; for auto also over_greedy, and the worst single gain;
- bias: the score that is promised (honest, plus what averaging the folds and the number of rows bring) minus the
  test's; honest_bias: the out-of-fold score alone minus the test's; own_rows_bias: the score on the rows that chose
  the weights minus the test's; each `_error` is the standard error of the mean over contests;
- coverage: how often the promised 95% interval held the test's score; spread: the standard deviation of the promise's
  error in units of the promised error, 1 where it is right.
Each contest is kept in .podium/contests/ when it is played, by the code that played it: an interrupted run goes on.
Run: python -m benchmarks.contests   (--quick for a few, --seed N for fresh contests, which are only printed)
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.decision import decide
from analysis.ensemble import Options
from analysis.leaderboard import Held, fold_gain
from analysis.metrics import score
from analysis.nested import fitter, nested
from analysis.uncertainty import Resamples
from benchmarks.libraries import Contest, digits, simulated

Array = NDArray[Any]
METHODS = ("soft", "best_member", "geometric", "weighted", "log_linear", "greedy", "greedy_bagged", "auto")
FEW = ("soft", "greedy", "auto")
GRID = ((500, 9), (500, 20), (1_500, 9), (1_500, 20), (1_500, 45), (5_000, 9), (5_000, 20))
SMALL = ((500, 9), (1_500, 9))


@dataclass(frozen=True)
class Play:
    """One method on one contest, in points."""

    test: float
    honest: float  # out of fold, nested
    own: float  # on the rows that chose the weights
    promised: float
    error: float  # of the promise
    inside: bool  # the test's score lies in the promised interval


Plays = dict[str, Play]  # by method


def played(contest: Contest, methods: tuple[str, ...]) -> Plays:
    """Every method on one contest."""
    test = contest.test
    return {name: played_method(contest, test, name) for name in methods}


def played_method(contest: Contest, test: Array, name: str) -> Play:
    """One method on one contest: fitted, scored out of fold, promised, and compared with the answers."""
    library, answers, options = contest.library, contest.answers, Options()
    blend = fitter(name, options)(library)
    table = nested(library, fitter(name, options)).table

    def labels_of(table: Array) -> Array:
        return decide("macro_f1", table) if name == "auto" else table.argmax(axis=1)

    def value(truth: Array, table: Array) -> float:
        return score("macro_f1", truth, labels=labels_of(table), log_probabilities=table)

    pooled, honest = blend.apply(test), value(library.labels, table)
    resamples = Resamples.of(library.groups, draws=1000, seed=0)
    decided, n_classes = [labels_of(table)], table.shape[1]
    held = Held.of("macro_f1", library.labels, decided, resamples=resamples, n_classes=n_classes)
    gain = fold_gain("macro_f1", [blend.apply(part) for part in contest.fold_tests], pooled, honest=honest)
    (promise, _), scored = held.expected(len(answers), gain=gain), value(answers, pooled)
    own = value(library.labels, blend.apply(library.log_probabilities))
    inside = bool(promise.low <= scored <= promise.high)
    return Play(100 * scored, 100 * honest, 100 * own, 100 * promise.score, 100 * promise.error, inside)


@dataclass(frozen=True)
class Fixture:
    """A contest to be made, and who plays; the real ones have their own size."""

    regime: str
    rows: int
    members: int
    seed: int
    methods: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its name in the notes."""
        return " ".join(map(str, (self.regime, self.rows, self.members, self.seed, *self.methods)))

    def make(self) -> Contest:
        """The contest itself."""
        if self.regime == "real":
            return digits(self.seed)
        return simulated(self.regime, rows=self.rows, members=self.members, seed=self.seed)


def fixtures(*, seed: int, quick: bool) -> Iterator[Fixture]:
    """What is played: the many small ones and the real ones, the grid, the large ones."""
    for repeat in range(3 if quick else 100):
        for regime in ("similar", "mixed"):
            for rows, members in SMALL:
                yield Fixture(regime, rows, members, 1_000 + seed + repeat, FEW)
        yield Fixture("real", 1_570, 9, seed + repeat, METHODS if repeat < 6 else FEW)
    for regime in ("similar", "mixed"):
        for repeat in range(1 if quick else 2):
            for rows, members in GRID:
                yield Fixture(regime, rows, members, seed + repeat, METHODS)
        if not quick:
            yield Fixture(regime, 50_000, 20, seed, FEW)


def summary(runs: dict[str, list[Plays]]) -> dict[str, Any]:
    """What is written, per regime and method."""
    result: dict[str, Any] = {}
    for regime, plays in runs.items():
        result[regime] = {"contests": len(plays)}
        for method in METHODS:
            found = [play for play in plays if method in play]
            result[regime][method] = line(method, found)
    return result


def line(method: str, plays: list[Plays]) -> dict[str, Any]:
    """One method over its contests."""
    tests = np.array([play[method].test for play in plays])
    gains = tests - [play["soft"].test for play in plays]
    promised = np.array([play[method].promised for play in plays]) - tests
    found = {
        "gain": gains.mean(),
        "gain_error": error(gains),
        "bias": promised.mean(),
        "bias_error": error(promised),
        "honest_bias": np.mean([play[method].honest for play in plays] - tests),
        "own_rows_bias": np.mean([play[method].own for play in plays] - tests),
        "coverage": np.mean([play[method].inside for play in plays]),
        "spread": np.sqrt(np.mean((promised / [play[method].error for play in plays]) ** 2)),
    }
    if method == "auto":
        found["over_greedy"] = np.mean(tests - [play["greedy"].test for play in plays])
        found["worst"] = gains.min()
    return {"contests": len(plays), **{key: round(float(number), 3) for key, number in found.items()}}


def error(values: Array) -> float:
    """The standard error of a mean."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def run(*, seed: int = 0, quick: bool = False) -> dict[str, Any]:
    """Play all contests that were not played yet, print some as they come, return the summary."""
    runs: dict[str, list[Plays]] = defaultdict(list)
    start, notes = time.process_time(), notes_of_this_code()
    known = dict(json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()) if notes.is_file() else {}
    for fixture in fixtures(seed=seed, quick=quick):
        if fixture.key in known:
            runs[fixture.regime].append({name: Play(**one) for name, one in known[fixture.key].items()})
            continue
        play = played(fixture.make(), fixture.methods)
        runs[fixture.regime].append(play)
        note = json.dumps([fixture.key, {name: asdict(one) for name, one in play.items()}])
        with notes.open("a", encoding="utf-8") as file:
            file.write(note + "\n")
        if fixture.methods == METHODS or len(runs[fixture.regime]) % 25 == 0:
            gains = "  ".join(f"{name} {one.test - play['soft'].test:+.2f}" for name, one in play.items())
            size = f"{fixture.rows}x{fixture.members}"
            print(f"{fixture.regime:<8} {size:<9} {gains}  {time.process_time() - start:.0f} s", flush=True)
    return summary(dict(runs))


def notes_of_this_code() -> Path:
    """Where the contests that this code has played are noted."""
    from benchmarks.blend import code_hash

    code = code_hash("analysis/*.py", "benchmarks/libraries.py", "benchmarks/contests.py")
    notes = Path(".podium/contests") / f"{code}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    return notes


def show(result: dict[str, Any]) -> None:
    """The table."""
    for regime, methods in result.items():
        print(f"\n{regime}: {methods['contests']} contests; points of macro-F1 on the hidden test")
        for name, found in methods.items():
            if name != "contests":
                print(f"  {name:<14}" + "  ".join(f"{key} {value:+.2f}" for key, value in found.items()))


if __name__ == "__main__":
    from benchmarks.blend import merge

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcome = run(seed=arguments.seed, quick=arguments.quick)
    show(outcome)
    if not arguments.quick and arguments.seed == 0:
        merge({"contests": outcome})
