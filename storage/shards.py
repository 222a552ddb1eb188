"""Tar shards: many small payloads in few plain tar files, written once, read at random by offset.

Any tool opens them; the same members give the same bytes. A table beside them holds shard, offset and size.
"""

from __future__ import annotations

import os
import tarfile
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from storage.atomic import replacing
from storage.errors import IntegrityError

BLOCK = tarfile.BLOCKSIZE
TEMPLATE = (  # a header without name (100 bytes), size (11 octal digits from 124 on) and checksum (6 from 148 on)
    bytes(100) + b"0000644\0" + b"0000000\0" * 2 + bytes(11) + b"\0" + b"00000000000\0"
    + b" " * 8 + b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
)  # fmt: skip
TEMPLATE_SUM = sum(TEMPLATE)
REST = b"\0 " + TEMPLATE[156:]


class ShardWriter:
    """Writes `folder/name.tar`, which appears whole when the block ends without an error.

    with ShardWriter(folder, "images-00000") as shard:
        offset, size = shard.add("a.jpg", data)
    """

    def __init__(self, folder: str | Path, name: str, *, durable: bool = True) -> None:
        self.path, self._durable = Path(folder) / f"{name}.tar", durable
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._position = 0

    def __enter__(self) -> ShardWriter:
        self._file = self._stack.enter_context(replacing(self.path, durable=self._durable))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write(bytes(2 * BLOCK))  # a tar file ends with two empty blocks
        self._stack.__exit__(kind, error, trace)

    def add(self, name: str, data: bytes | memoryview) -> tuple[int, int]:
        """Append one member; returns (offset, size) of its payload in the file, in bytes."""
        head = header(name, len(data))
        offset = self._position + len(head)
        self._write(b"".join((head, data, bytes(-len(data) % BLOCK))))
        return offset, len(data)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            raise RuntimeError("a ShardWriter is used in a with block")
        self._file.write(data)
        self._position += len(data)


def header(name: str, size: int) -> bytes:
    """What stands before a member: owner, group and time are 0, the mode is 0644.

    The same bytes as `tarfile` writes, which takes seventeen microseconds; put together from a template for the usual
    name of at most 100 ASCII characters (POSIX 1003.1-1988, ustar).
    """
    if len(name) > 100 or not name.isascii() or not name.isprintable() or size >= 8**11:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o644
        return entry.tobuf(tarfile.PAX_FORMAT)
    text, digits = name.encode("ascii"), b"%011o" % size
    checksum = TEMPLATE_SUM + sum(text) + sum(digits)
    return b"".join((text.ljust(100, b"\0"), TEMPLATE[100:124], digits, TEMPLATE[135:148], b"%06o" % checksum, REST))


class Shards:
    """Reads payloads of the shards in one folder; safe in threads, picklable, and opened again in each process."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._descriptors: dict[str, int] = {}
        self._process = os.getpid()
        self._lock = threading.Lock()

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset` of `folder/shard`.

        Raises IntegrityError where the shard is absent or cut short.
        """
        data = os.pread(self._descriptor(shard), size, offset)
        if len(data) != size:
            raise IntegrityError(
                f"{self.folder / shard} is cut short: {len(data):,} of {size:,} bytes at {offset:,}. "
                "Delete it and run dvc repro again"
            )
        return data

    def close(self) -> None:
        """Close all open files; the next read opens them again."""
        with self._lock:
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors = {}

    def _descriptor(self, shard: str) -> int:
        with self._lock:
            if self._process != os.getpid():  # forked: the parent's descriptors are not ours to count on
                self._descriptors, self._process = {}, os.getpid()
            if shard not in self._descriptors:
                try:
                    self._descriptors[shard] = os.open(self.folder / shard, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    raise IntegrityError(f"{self.folder / shard} is missing. Run dvc repro again") from None
            return self._descriptors[shard]

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        Shards.__init__(self, state["folder"])

    def __del__(self) -> None:
        if self._process == os.getpid():
            for descriptor in self._descriptors.values():
                os.close(descriptor)
