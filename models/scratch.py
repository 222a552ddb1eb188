"""Arrays in unnamed files, mapped into memory: the system holds and drops their pages as it has room, we hold none."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


def unnamed(folder: Path | None) -> IO[bytes]:
    """A file without a name: it goes with its last user. `folder`: where it takes room, instead of the system's."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


def mapped(file: IO[bytes], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The file as an array, of as many entries as it holds.  # (n_entries,)"""
    size = file.seek(0, 2)
    if not size:
        return np.empty(0, dtype)
    return np.frombuffer(mmap.mmap(file.fileno(), size), dtype)


def scratch(length: int, dtype: np.dtype[Any], *, folder: Path | None) -> npt.NDArray[Any]:
    """An array of zeros to write to.  # (length,)"""
    with unnamed(folder) as file:
        file.truncate(length * dtype.itemsize)
        return mapped(file, dtype)
