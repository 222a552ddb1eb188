"""Paths out of tables, which may come from anybody: they stay below their root, and only regular files are read.

Every component is opened relative to the folder before it and never through a symbolic link, so that nothing can
be swapped between check and use.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path

from storage.errors import DataError, IntegrityError

LARGEST_FILE = 512 * 2**20  # bytes of one image file
DRIVE = re.compile(r"[A-Za-z]:")
OVERRIDES = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")  # they show a name as another
UNUSUAL = (  # what every path that is refused has, and few others; read alike by re and by Arrow's re2
    r"[\x00-\x1f\x7f-\x9f\\:~" + "".join(sorted(OVERRIDES)) + r"]|\.\.|^/|[. ](?:/|$)|^[./ ]*$|[^/]{64}"
)
SUSPECT = re.compile(UNUSUAL)
PLAIN = re.compile(r"(?:[A-Za-z0-9_-]{1,60}/)*[A-Za-z0-9_-]{1,60}(?:\.[A-Za-z0-9]{1,9})?")  # most paths, found faster
MOST_FOLDERS = 128  # that are open at one time
Stamp = tuple[int, int]  # size in bytes, time of the last change in nanoseconds


def path_problem(relative: str) -> str | None:
    """Why `relative` may not be used as a path below a root, or None where it may."""
    if PLAIN.fullmatch(relative) or not SUSPECT.search(relative):
        return None
    parts = relative.split("/")
    rules = (
        (any(unicodedata.category(letter) == "Cc" for letter in relative), "name not portable (control character)"),
        (bool(OVERRIDES & set(relative)), "name not portable (writing-direction mark)"),
        (relative.startswith(("/", "~")) or "\\" in relative or bool(DRIVE.match(relative)), "path leaves data root"),
        (".." in parts, "path leaves data root"),
        (not relative.strip("./ "), "not the name of a file"),
        (any(len(part.encode(errors="replace")) > 255 for part in parts), "name longer than 255 bytes"),
        (any(part != part.rstrip(". ") != "" for part in parts), "name not portable (dot or space at its end)"),
    )
    return next((f"{problem}: {relative[:80]!r}" for broken, problem in rules if broken), None)


def read_below(root: str | Path, relative: str, *, largest: int = LARGEST_FILE) -> bytes:
    """All bytes of the regular file `relative` below `root`.

    Raises DataError for paths that leave the root, symbolic links below it, folders, pipes, devices, unreadable,
    missing and oversized files; IntegrityError where the file changes while it is read.
    """
    with Below(root) as files:
        return files.read(relative, largest=largest)[0]


class Below:
    """Reads many files below one root as `read_below` does; the folders on the way stay open until the block ends."""

    def __init__(self, root: str | Path) -> None:
        self.root = root
        self._folders: dict[str, int] = {}

    def __enter__(self) -> Below:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders.values():
            os.close(folder)
        self._folders = {}

    def read(self, relative: str, *, largest: int = LARGEST_FILE) -> tuple[bytes, Stamp]:
        """All bytes of one file, and what tells it from a changed one; raises as `read_below` does."""
        if problem := path_problem(relative):
            raise DataError(problem)
        parent, _, name = relative.rpartition("/")
        if not name or name == ".":
            raise DataError(f"{relative} is not the name of a file")
        file = _open(name, self._folder(parent, relative), 0, relative)
        try:
            return _read_steady(file, relative, largest)
        finally:
            os.close(file)

    def _folder(self, path: str, relative: str) -> int:
        """An open folder: every part of its path opened from the one before it."""
        if path in self._folders:
            return self._folders[path]
        if len(self._folders) > MOST_FOLDERS:
            self.__exit__()
        above, _, name = path.rpartition("/")
        if not path:
            try:
                found = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise DataError(f"folder {self.root} cannot be read: {error.strerror}") from None
        else:
            found = _open(name or ".", self._folder(above, relative), os.O_DIRECTORY, relative)
        self._folders[path] = found
        return found


def _open(name: str, folder: int, flags: int, relative: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(_mode(name, folder)):
            raise DataError(f"{relative} is, or lies behind, a symbolic link: path leaves data root") from None
        reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise DataError(f"{relative} {reason}") from None


def _mode(name: str, folder: int) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return 0


def _read_steady(file: int, relative: str, largest: int) -> tuple[bytes, Stamp]:
    before = os.fstat(file)
    if not stat.S_ISREG(before.st_mode):
        raise DataError(f"{relative} is not a regular file")
    if before.st_size > largest:
        raise DataError(f"{relative} has {before.st_size:,} bytes, more than {largest:,}")
    stamp = (before.st_size, before.st_mtime_ns)
    data = os.read(file, before.st_size + 1)
    while len(data) < before.st_size and (block := os.read(file, before.st_size + 1 - len(data))):
        data += block
    after = os.fstat(file)
    if (after.st_size, after.st_mtime_ns) != stamp or len(data) != before.st_size:
        raise IntegrityError(f"{relative} changed while it was being read. Is it still being copied?")
    return data, stamp
