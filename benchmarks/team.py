"""Simulated teams: the vote against plain majority; and the speed of the diversity matrices against deslib.

Run: python -m benchmarks.team        (writes benchmarks/results/team.json; five minutes)
Fresh teams of each kind in several settings: numbers of files, classes and rows, and the part that the board shows.
No constant of the vote was fitted on these seeds. A row of 3,140 is 0.032 points.
deslib is optional: without it, its pairwise loop is stood in for by numpy, pair by pair and measure by measure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.disagreement import diversity
from analysis.voting import majority, ranking, weighted_vote
from analysis.voting_guard import careful_vote
from storage.atomic import write_json

Array = np.ndarray[Any, np.dtype[Any]]
RESULTS = "benchmarks/results/team.json"
N_ROWS, N_CLASSES = 3140, 17
FIRST_SEED, SEEDS, FEWER_SEEDS = 1_000_000, 300, 60  # fewer in all settings but the first
KINDS = ("diverse", "similar", "near copies", "two cliques", "one weak file", "three files")


@dataclass(frozen=True)
class Setting:
    """The size of a contest, and the part of its rows that the public board shows."""

    n_files: int = 9
    n_classes: int = N_CLASSES
    n_rows: int = N_ROWS
    board: float = 0.5


SETTINGS = (
    Setting(),
    Setting(board=0.1),
    Setting(n_files=5, board=0.3),
    Setting(n_files=15, board=0.3),
    Setting(n_files=7, n_classes=3, board=0.3),
    Setting(n_files=7, n_classes=100, board=0.3),
    Setting(n_rows=10_000, n_classes=10, board=0.3),
)


def independent(
    truth: Array, rival: Array, hardness: Array, *, skill: float, n_classes: int, generator: np.random.Generator
) -> Array:
    """Labels of one file: wrong more often on hard rows, and then mostly with the row's likeliest rival."""
    chance = np.clip(hardness * (1 - skill) / hardness.mean(), 0, 0.97)
    wrong = generator.random(len(truth)) < chance
    error = np.where(generator.random(len(truth)) < 0.6, rival, generator.integers(0, n_classes, len(truth)))
    return np.where(wrong, error, truth)


def near_copy(labels: Array, rival: Array, generator: np.random.Generator, rate: float = 0.03) -> Array:
    """The same file with a few rows changed to the rival class."""
    return np.where(generator.random(len(labels)) < rate, rival, labels)


def team(kind: str, generator: np.random.Generator, setting: Setting | None = None) -> tuple[Array, Array]:
    """(truth, labels) of a simulated team.  # (n_rows,), (n_rows, n_files)"""
    size = setting or Setting()
    n_rows, n_files = size.n_rows, size.n_files
    truth = generator.integers(0, size.n_classes, n_rows)
    rival = (truth + generator.integers(1, size.n_classes, n_rows)) % size.n_classes
    hardness = generator.beta(0.6, 2.0, n_rows)

    def file(skill: float) -> Array:
        return independent(truth, rival, hardness, skill=skill, n_classes=size.n_classes, generator=generator)

    files = [file(skill) for skill in generator.uniform(0.80, 0.92, n_files)]
    if kind == "similar":
        shared = generator.random(n_rows) < 0.7
        files = [np.where(shared, files[0], file) for file in files]
    if kind == "near copies":  # just more than half of the files
        apart = (n_files - 1) // 2
        files = [*files[:apart], *(near_copy(files[apart], rival, generator) for _ in range(n_files - apart))]
    if kind == "two cliques":  # just more than half, and all others but one
        first = n_files // 2 + 1
        copied = [files[0]] * first + [files[1]] * (n_files - first - 1)
        files = [*(near_copy(file, rival, generator, 0.05) for file in copied), files[2]]
    if kind == "one weak file":
        files = [*files[:3], file(0.65)]
    if kind == "three files":
        files = files[:3]
    return truth, np.stack(files, axis=1)


def board(labels: Array, truth: Array, part: float, generator: np.random.Generator) -> list[float]:
    """Public scores: accuracy on a random part."""
    shown = generator.permutation(len(truth))[: int(len(truth) * part)]
    return [float(value) for value in (labels[shown] == truth[shown, None]).mean(axis=0)]


def votes() -> list[dict[str, Any]]:
    """Gain of the vote over majority in points of accuracy: the mean and the worst of all runs."""
    result = []
    for setting in SETTINGS:
        seeds = range(FIRST_SEED, FIRST_SEED + (SEEDS if setting == SETTINGS[0] else FEWER_SEEDS))
        for kind in KINDS:
            runs = [gain(kind, seed, setting) for seed in seeds]
            gains, blind = (np.array(column) for column in zip(*runs, strict=True))
            result.append(
                {
                    "kind": kind,
                    **asdict(setting),
                    "runs": len(runs),
                    "gain": float(gains.mean()),
                    "worst": float(gains.min()),
                    "below_a_tenth": int((gains < -0.1).sum()),
                    "gain_without_scores": float(blind.mean()),
                    "worst_without_scores": float(blind.min()),
                }
            )
            print_votes(result[-1])
    return result


def print_votes(row: dict[str, Any]) -> None:
    """One line of the table, as soon as it is known."""
    names = ("n_files", "n_classes", "n_rows", "board")
    sizes = "".join(f"{row[name]:>10,}" for name in names)
    numbers = ("gain", "worst", "gain_without_scores", "worst_without_scores")
    print(f"{row['kind']:<16}{sizes}" + "".join(f"{row[name]:>12.3f}" for name in numbers), flush=True)


def gain(kind: str, seed: int, setting: Setting) -> tuple[float, float]:
    """Points of accuracy over majority in one simulated team: with board scores, and without any.

    Without scores, ties of both votes go to the file that agrees most with the others.
    """
    generator = np.random.default_rng(seed)
    truth, labels = team(kind, generator, setting)
    n_classes = setting.n_classes
    scores = board(labels, truth, setting.board, generator)
    known = careful_vote(labels, n_classes, scores=scores).labels
    ranked = [column for column, _ in ranking(labels, n_classes)]
    blind = careful_vote(labels, n_classes, order=ranked).labels
    even = weighted_vote(labels, np.ones(labels.shape[1]), n_classes, order=ranked)
    return (
        points(known, truth) - points(majority(labels, n_classes, scores=scores), truth),
        points(blind, truth) - points(even, truth),
    )


def points(said: Array, truth: Array) -> float:
    """Accuracy in percent."""
    return 100 * float((said == truth).mean())


def matrices(n_rows: int, n_files: int) -> dict[str, float]:
    """Seconds for all pairwise diversity measures: ours from one product, and the peer's loop over pairs."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, N_CLASSES, n_rows)
    wrong = generator.random((n_rows, n_files)) < 0.1
    labels = np.where(wrong, generator.integers(0, N_CLASSES, (n_rows, n_files)), truth[:, None])
    start = time.process_time()
    ours = diversity(labels, truth)
    ours_seconds = time.process_time() - start
    name, peer = peer_measures()
    start = time.process_time()
    theirs = [pairwise(peer_measure, truth, labels) for peer_measure in peer]
    peer_seconds = time.process_time() - start
    differ = ours.only_first + ours.only_first.T
    for mine, other in zip((ours.q_statistic, ours.double_fault, ours.correlation, differ), theirs, strict=True):
        above = np.triu_indices(n_files, 1)
        np.testing.assert_allclose(mine[above], other[above], rtol=1e-3, atol=1e-5)
    times = peer_seconds / max(ours_seconds, 1e-4)
    return {
        "n_rows": n_rows,
        "n_files": n_files,
        "seconds": ours_seconds,
        f"seconds_{name}": peer_seconds,
        "times": times,
    }


def pairwise(measure: Callable[[Array, Array, Array], float], truth: Array, labels: Array) -> Array:
    """A measure of every pair of columns, one call each.  # (n_files, n_files)"""
    n_files = labels.shape[1]
    result = np.zeros((n_files, n_files))
    for i in range(n_files):
        for j in range(i + 1, n_files):
            result[i, j] = measure(truth, labels[:, i], labels[:, j])
    return result


def peer_measures() -> tuple[str, list[Callable[[Array, Array, Array], float]]]:
    """(name, [Q, double fault, correlation, disagreement]): deslib's functions, or the same loop written out."""
    try:
        from deslib.util import diversity as peer
    except ImportError:
        return "pair_by_pair", [naive_q, naive_double_fault, naive_correlation, naive_disagreement]
    return "deslib", [peer.Q_statistic, peer.double_fault, peer.correlation_coefficient, peer.disagreement_measure]


def naive_q(truth: Array, first: Array, second: Array) -> float:
    a, b = first == truth, second == truth
    both, only_a, only_b, none = (a & b).mean(), (a & ~b).mean(), (~a & b).mean(), (~a & ~b).mean()
    return float((both * none - only_a * only_b) / (both * none + only_a * only_b))


def naive_double_fault(truth: Array, first: Array, second: Array) -> float:
    return float(((first != truth) & (second != truth)).mean())


def naive_correlation(truth: Array, first: Array, second: Array) -> float:
    return float(np.corrcoef(first == truth, second == truth)[0, 1])


def naive_disagreement(truth: Array, first: Array, second: Array) -> float:
    return float(((first == truth) != (second == truth)).mean())


def diff_seconds(n_files: int = 10, runs: int = 5) -> float:
    """Median seconds of `podium diff` on so many CSVs of N_ROWS rows, start of Python included."""
    generator = np.random.default_rng(0)
    _, labels = team("similar", generator)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"file{number}.csv" for number in range(n_files)]
        for number, path in enumerate(paths):
            said = labels[:, number % labels.shape[1]]
            path.write_text("ID,target\n" + "".join(f"{row:05d}.jpg,{label}\n" for row, label in enumerate(said)))
        for _ in range(runs):
            start = time.perf_counter()
            command = [sys.executable, "-m", "commands.main", "diff", *map(str, paths)]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
            seconds.append(time.perf_counter() - start)
            assert done.returncode == 1
    return float(np.median(seconds))


def main() -> None:
    """Measure, print, write."""
    warnings.simplefilter("ignore")
    seconds = diff_seconds()
    heads = ("gain", "worst", "no scores", "worst")
    print(f"{'team':<16}" + "".join(f"{name:>10}" for name in ("files", "classes", "rows", "board")), end="")
    print("".join(f"{name:>12}" for name in heads))
    simulated = votes()
    speed = [matrices(n_rows, n_files) for n_rows, n_files in ((1570, 9), (3140, 9), (20000, 20))]
    write_json(RESULTS, {"votes": simulated, "matrices": speed, "diff_seconds": seconds})
    print(f"podium diff, ten files of {N_ROWS:,} rows: {seconds:.2f} s")
    for row in speed:
        print("  ".join(f"{key} {value:,.4g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
