"""Frames: what is kept shows as much of a group as so few pictures can."""

import numpy as np

from analysis.frames import informative, spread


def scenes(counts: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    """So many nearly equal frames of each scene, (n, 16, 16)."""
    random = np.random.default_rng(0)
    base = random.integers(0, 255, (len(counts), 16, 16))
    frames = np.repeat(base, counts, axis=0) + random.integers(-3, 4, (sum(counts), 16, 16))
    return np.clip(frames, 0, 255).astype(np.uint8)


def test_one_frame_of_each_scene_is_kept_however_long_it_is() -> None:
    counts = [40, 3, 25, 1]
    frames, scene = scenes(counts), np.repeat(np.arange(4), counts)
    assert sorted(scene[spread(frames, 4)].tolist()) == [0, 1, 2, 3]


def test_small_groups_are_kept_whole_and_large_ones_cut_to_k() -> None:
    groups = np.repeat([0, 1, 2], [2, 30, 5])
    frames = scenes([2, 30, 5])
    kept = informative(groups, lambda rows: frames[rows], 5)
    assert np.bincount(groups[kept]).tolist() == [2, 5, 5]


def test_equal_frames_are_kept_once_each() -> None:
    frames = np.zeros((6, 8, 8), np.uint8)
    assert len(set(spread(frames, 3).tolist())) == 3
