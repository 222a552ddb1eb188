"""Checkpoints: what goes in comes out; what is damaged is refused and named."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.checkpoint import Checkpoints
from storage.errors import IntegrityError, ResourceError

STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "half": torch.ones(2, dtype=torch.bfloat16)},
    "numbers": [1, 2.5, None, True, "text"],
    "by_position": {0: {"step": torch.tensor(3.0)}, 1: {}},
}


def test_a_state_survives_with_types_and_integer_keys(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, STATE)
    loaded = store.load()
    assert torch.equal(loaded["weights"]["a"], STATE["weights"]["a"])  # type: ignore[index, call-overload]
    assert loaded["weights"]["half"].dtype is torch.bfloat16
    assert loaded["numbers"] == STATE["numbers"]
    assert list(loaded["by_position"]) == [0, 1]
    assert Checkpoints(tmp_path / "none").load() is None


def test_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for step in (9, 10, 100):
        store.save(step, {"step": step})
    assert [path.name.split("-")[1] for path in store.files()] == ["000000100", "000000010"]
    assert store.load() == {"step": 100}


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "html", "foreign"])
def test_a_damaged_file_falls_back_to_the_previous_one_and_says_so(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, {"step": 1})
    path = store.save(2, {"step": 2, "w": torch.ones(100)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    content = {"empty": b"", "cut": bytes(data[:50]), "flip": bytes(data), "html": b"<html>", "foreign": b"x" * 900}
    path.write_bytes(content[damage])
    assert store.load() == {"step": 1}
    said = capsys.readouterr().err
    assert path.name in said and ("empty file" if damage == "empty" else "sha256 mismatch") in said
    assert path.with_suffix(".bad").is_file()


def test_when_none_is_good_it_does_not_start_over_silently(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, {"step": 1}).write_bytes(b"")
    with pytest.raises(IntegrityError, match="no good checkpoint is left"):
        store.load()


def test_a_second_training_of_the_same_key_is_refused_at_once_by_name(tmp_path: Path) -> None:
    code = (
        "import sys; from models.checkpoint import Checkpoints\n"
        "with Checkpoints(sys.argv[1]).locked('cnn fold 2'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin and holder.stdout and holder.stdout.readline() == "held\n"
    message = rf"cnn fold 2 is still running as pid {holder.pid} on"
    with pytest.raises(ResourceError, match=message), Checkpoints(tmp_path).locked("cnn fold 2"):
        pass
    holder.kill()
    holder.communicate()
    with Checkpoints(tmp_path).locked("cnn fold 2"):
        pass


def test_no_space_left_names_the_need_and_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, {"step": 1})

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.checkpoint.write_bytes", full)
    with pytest.raises(ResourceError, match=r"No space left on device; [\d,]+ bytes are needed, [\d,]+ are free"):
        store.save(2, {"step": 2})
    assert store.load() == {"step": 1}
