"""Checkpoints: whole or absent, hashed, the previous good one kept, one training of a key at a time.

`folder/step-<step>-<sha256>.safetensors`: the tensors, and in the file's metadata everything else as JSON.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from storage.atomic import sha256, write_bytes
from storage.errors import IntegrityError, ResourceError

KEPT = 2
Tree = Any  # dicts, lists and tuples of tensors and plain values


class Checkpoints:
    """The checkpoints of one training in `folder`."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def files(self) -> list[Path]:
        """Newest first."""
        found = self.folder.glob("step-*-*.safetensors")
        return sorted(found, key=lambda path: int(path.name.split("-")[1]), reverse=True)

    def save(self, step: int, state: Tree) -> Path:
        """Write a state; older files beyond the last good ones go. Raises ResourceError on a full disk."""
        tensors: dict[str, torch.Tensor] = {}
        skeleton = flatten(state, "", tensors)
        data = save(tensors, metadata={"state": json.dumps(skeleton)})
        path = self.folder / f"step-{step:09d}-{hashlib.sha256(data).hexdigest()}.safetensors"
        try:
            write_bytes(path, data)
        except OSError as error:
            free = shutil.disk_usage(self.folder).free
            raise ResourceError(
                f"{path}: {error.strerror}; {len(data):,} bytes are needed, {free:,} are free. The previous checkpoint "
                "is intact; free some space and run the same command again"
            ) from None
        for old in self.files()[KEPT:]:
            old.unlink()
        return path

    def load(self) -> Tree | None:
        """The newest state that is whole; bad files are set aside and named on stderr.

        Raises IntegrityError where there are checkpoints but none is good: starting over is the user's decision.
        """
        bad = []
        for path in self.files():
            try:
                return read(path)
            except IntegrityError as error:
                bad.append(str(error))
                print(f"podium: {error}; using the previous checkpoint", file=sys.stderr)
                os.replace(path, path.with_suffix(".bad"))
        if bad:
            raise IntegrityError(
                f"no good checkpoint is left in {self.folder} ({'; '.join(bad)}). To start this training over: "
                f"rm -r {self.folder}"
            )
        return None

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Hold the training; raises ResourceError at once, naming the holder, where another process does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ResourceError(f"training of {what} is still running as {file.read().strip()}") from None
            file.seek(0)
            file.truncate()
            started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            file.write(f"pid {os.getpid()} on {socket.gethostname()} since {started} UTC\n")
            file.flush()
            yield


def read(path: Path) -> Tree:
    """A checkpoint's state; raises IntegrityError saying what is wrong with the file."""
    size = path.stat().st_size
    if size == 0:
        raise IntegrityError(f"{path} is an empty file")
    if sha256(path) != path.stem.rsplit("-", 1)[1]:
        raise IntegrityError(f"{path}: sha256 mismatch (the file was cut off or changed)")
    try:
        with safe_open(path, framework="pt") as file:
            skeleton = json.loads(file.metadata()["state"])
            return unflatten(skeleton, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise IntegrityError(f"{path} is not a checkpoint ({error})") from None


def flatten(tree: Tree, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The JSON skeleton of a tree; its tensors go into `tensors` under their place in the tree."""
    if isinstance(tree, torch.Tensor):
        tensors[name] = tree.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"dict": [[key, flatten(value, f"{name}/{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return {"list": [flatten(value, f"{name}/{i}", tensors) for i, value in enumerate(tree)]}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {"value": tree}
    raise TypeError(f"a checkpoint cannot hold {type(tree).__name__} ({name})")


def unflatten(skeleton: Any, tensors: dict[str, torch.Tensor]) -> Tree:
    """The inverse of `flatten`; tuples come back as lists."""
    ((kind, content),) = skeleton.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unflatten(value, tensors) for key, value in content}
    if kind == "list":
        return [unflatten(value, tensors) for value in content]
    return content
