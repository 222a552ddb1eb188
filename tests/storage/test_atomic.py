"""Nothing half-written is ever read: a path holds the whole new content, or what it held before."""

import os
from pathlib import Path

import pytest

from storage.atomic import TEMPORARY, building, replacing, write_json, write_text


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_failed_write_keeps_the_old_content_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "old")
    with pytest.raises(RuntimeError, match="boom"), replacing(tmp_path / "a.csv") as file:
        file.write(b"ne")
        raise RuntimeError("boom")
    assert (tmp_path / "a.csv").read_text() == "old"
    assert names(tmp_path) == {"a.csv"}


def test_a_disk_that_cannot_sync_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.csv", "new")
    assert names(tmp_path) == set()


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    with building(tmp_path / "out") as folder:
        (folder / "one").write_text("1")
        assert not (tmp_path / "out").exists()
        assert folder.name.startswith(TEMPORARY)
    with building(tmp_path / "out") as folder:
        (folder / "two").write_text("2")
    assert names(tmp_path / "out") == {"two"}
    with pytest.raises(RuntimeError), building(tmp_path / "out") as folder:
        (folder / "three").write_text("3")
        raise RuntimeError
    assert names(tmp_path / "out") == {"two"}
    assert names(tmp_path) == {"out"}


def test_json_with_nan_is_refused_rather_than_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"f1": float("nan")})
    assert names(tmp_path) == set()
