"""Simulated teams: the vote against plain majority; and the speed of the diversity matrices against deslib.

Run: python -m benchmarks.team        (writes benchmarks/results/team.json)
deslib is optional: without it, its pairwise loop is stood in for by numpy, pair by pair and measure by measure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.disagreement import diversity
from analysis.voting import agreement_weights, best_first, majority, ranking, weighted_vote
from storage.atomic import write_json

Array = np.ndarray[Any, np.dtype[Any]]
RESULTS = "benchmarks/results/team.json"
N_ROWS, N_CLASSES, SEEDS = 3140, 17, 40
KINDS = ("diverse", "similar", "near copies", "two cliques", "one weak file", "three files")


def independent(truth: Array, rival: Array, hardness: Array, skill: float, generator: np.random.Generator) -> Array:
    """Labels of one file: wrong more often on hard rows, and then mostly with the row's likeliest rival."""
    chance = np.clip(hardness * (1 - skill) / hardness.mean(), 0, 0.97)
    wrong = generator.random(len(truth)) < chance
    error = np.where(generator.random(len(truth)) < 0.6, rival, generator.integers(0, N_CLASSES, len(truth)))
    return np.where(wrong, error, truth)


def near_copy(labels: Array, rival: Array, generator: np.random.Generator, rate: float = 0.03) -> Array:
    """The same file with a few rows changed to the rival class."""
    return np.where(generator.random(len(labels)) < rate, rival, labels)


def team(kind: str, generator: np.random.Generator) -> tuple[Array, Array]:
    """(truth, labels) of a simulated team.  # (n_rows,), (n_rows, n_files)"""
    truth = generator.integers(0, N_CLASSES, N_ROWS)
    rival = (truth + generator.integers(1, N_CLASSES, N_ROWS)) % N_CLASSES
    hardness = generator.beta(0.6, 2.0, N_ROWS)
    skills = generator.uniform(0.80, 0.92, 9)
    files = [independent(truth, rival, hardness, skill, generator) for skill in skills]
    if kind == "similar":
        shared = generator.random(N_ROWS) < 0.7
        files = [np.where(shared, files[0], file) for file in files]
    if kind == "near copies":
        copied = files[4]
        files = [*files[:4], *(near_copy(copied, rival, generator) for _ in range(5))]
    if kind == "two cliques":
        first, second = files[0], files[1]
        copies = [near_copy(file, rival, generator, 0.05) for file in [first] * 5 + [second] * 3]
        files = [*copies, files[2]]
    if kind == "one weak file":
        files = [*files[:3], independent(truth, rival, hardness, 0.65, generator)]
    if kind == "three files":
        files = files[:3]
    return truth, np.stack(files, axis=1)


def board(labels: Array, truth: Array, generator: np.random.Generator) -> list[float]:
    """Public scores: accuracy on a random half."""
    half = generator.permutation(len(truth))[: len(truth) // 2]
    return [float(value) for value in (labels[half] == truth[half, None]).mean(axis=0)]


def votes() -> dict[str, dict[str, float]]:
    """Gain of each vote over majority in points of accuracy, on average and in the worst run."""
    result = {}
    for kind in KINDS:
        gains, blind = zip(*(gain(kind, seed) for seed in range(SEEDS)), strict=True)
        result[kind] = {
            "gain": float(np.mean(gains)),
            "worst": min(gains),
            "gain_without_scores": float(np.mean(blind)),
            "worst_without_scores": min(blind),
        }
    return result


def gain(kind: str, seed: int) -> tuple[float, float]:
    """Points of accuracy over majority in one simulated team: with board scores, and without any."""
    generator = np.random.default_rng(seed)
    truth, labels = team(kind, generator)
    scores = board(labels, truth, generator)
    order = best_first(scores, labels.shape[1])
    known = weighted_vote(labels, agreement_weights(labels, N_CLASSES, scores=scores), N_CLASSES, order=order)
    ranked = [column for column, _ in ranking(labels, N_CLASSES)]
    blind = weighted_vote(labels, agreement_weights(labels, N_CLASSES), N_CLASSES, order=ranked)
    return (
        points(known, truth) - points(majority(labels, N_CLASSES, scores=scores), truth),
        points(blind, truth) - points(majority(labels, N_CLASSES), truth),
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
    simulated = votes()
    speed = [matrices(n_rows, n_files) for n_rows, n_files in ((1570, 9), (3140, 9), (20000, 20))]
    write_json(RESULTS, {"votes": simulated, "matrices": speed, "diff_seconds": seconds})
    print(f"{'team':<16}{'gain':>8}{'worst':>8}{'without scores':>16}{'worst':>8}")
    for kind, row in simulated.items():
        print(
            f"{kind:<16}"
            + "".join(f"{value:>{width}.2f}" for value, width in zip(row.values(), (8, 8, 16, 8), strict=True))
        )
    print(f"podium diff, ten files of {N_ROWS:,} rows: {seconds:.2f} s")
    for row in speed:
        print("  ".join(f"{key} {value:,.4g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
