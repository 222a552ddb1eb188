"""A file from the first of its sources that has it: checked against its SHA-256, continued where it was cut off.

    obtain(folder / "train.gz", sources=["/usr/share/x/train.gz", "https://a/train.gz"], sha256="0ae29f...", ...)

A source is an absolute path on this machine or an http(s) URL. What has arrived waits in `work` under its checksum,
so that the next run, or the next mirror, goes on from there; only a complete and right file gets its name. Nothing is
unpacked: formats that are archives are read as they are.
"""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from storage.atomic import replacing, sync
from storage.atomic import sha256 as sha256_of
from storage.errors import DataError, IntegrityError, PodiumError, ResourceError, problems
from storage.signatures import foreign

BLOCK = 2**20  # bytes that are in memory at one time
TRIES = 3  # connections to one URL, each going on where the last was cut off
PATIENCE = 30.0  # seconds without a byte
BUSY = (408, 425, 429)  # answers that a later try may not get
Advance = Callable[[int, int | None], None]  # bytes so far, bytes in all where the server says so


class _CutOffError(Exception):
    """The connection ended before the file did."""


def obtain(
    target: Path,
    *,
    sources: Sequence[str],
    sha256: str,
    work: Path,
    largest: int,
    patience: float = PATIENCE,
    advance: Advance = lambda done, total: None,
) -> str:
    """Put the file with this checksum under `target`; returns where it came from.

    A file that is there already is kept if its checksum is right and never replaced otherwise (IntegrityError).
    Raises ResourceError where no source could be reached, DataError where none has the file.
    """
    if target.exists():
        if (found := sha256_of(target)) != sha256:
            raise IntegrityError(f"{target} has SHA-256 {found}, expected {sha256}. Delete it to have it fetched again")
        return "there already"
    work.mkdir(parents=True, exist_ok=True)
    part, failures, answered = work / f"{sha256}.part", [], False
    for source in sources:
        try:
            if source.startswith("/"):
                copy(Path(source), target, sha256)
            else:
                download(source, part, sha256=sha256, largest=largest, patience=patience, advance=advance)
                publish(part, target)
        except PodiumError as error:
            failures.append(str(error))
            answered |= isinstance(error, DataError) and not source.startswith("/")
            continue
        return source
    advice = f"\nPut it at {target} yourself, then run again"
    if answered or all(source.startswith("/") for source in sources):
        raise DataError(problems(f"{target.name} could not be fetched", failures) + advice)
    raise ResourceError(problems(f"{target.name} could not be fetched (no network?)", failures) + advice)


def copy(source: Path, target: Path, sha256: str) -> None:
    """A file of this machine; raises DataError where it is not there, or another one."""
    if not source.is_file():
        raise DataError(f"{source} is not there")
    if (found := sha256_of(source)) != sha256:
        raise DataError(f"{source} has SHA-256 {found}, expected {sha256}")
    with open(source, "rb") as file, replacing(target) as copied:
        shutil.copyfileobj(file, copied, BLOCK)


def publish(part: Path, target: Path) -> None:
    """Give a complete file its name: by renaming it, or by a copy where `target` lies on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(part, target)
        sync(target.parent)
    except OSError:
        with open(part, "rb") as file, replacing(target) as copied:
            shutil.copyfileobj(file, copied, BLOCK)
        part.unlink()


def download(url: str, part: Path, *, sha256: str, largest: int, patience: float, advance: Advance) -> None:
    """Fill `part` until its checksum is right, starting with what it holds.

    Raises DataError for a wrong file, ResourceError where the server cannot be reached or is cut off again and again.
    """
    check_url(url)
    for left in reversed(range(TRIES)):
        began = part.stat().st_size if part.exists() else 0
        try:
            with connected(url, began, patience) as answer:
                receive(answer, part, began, url=url, largest=largest, advance=advance)
        except _CutOffError as error:
            size = part.stat().st_size if part.exists() else 0
            if left and size != began:
                continue
            kept = f"; {size:,} bytes are kept for the next run" if size else ""
            raise ResourceError(f"{url}: {error}{kept}") from None
        found = sha256_of(part)
        if found == sha256:
            return
        kind = head_of(part)
        part.unlink()  # never what a later run goes on with
        if not began or not left:  # else: what an earlier run or another mirror left may have been wrong, so once more
            raise DataError(f"{url}: " + (f"this is {kind}" if kind else f"SHA-256 {found}, expected {sha256}"))


def check_url(url: str) -> None:
    """Refuse anything but http and https."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DataError(f"{url!r} is neither an http(s) URL nor an absolute path")


@contextmanager
def connected(url: str, began: int, patience: float) -> Iterator[Any]:
    """An open answer, from byte `began` on if the server can do that."""
    headers = {"User-Agent": "podium", "Accept-Encoding": "identity"} | ({"Range": f"bytes={began}-"} if began else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the scheme was checked
    try:
        answer = OPENER.open(request, timeout=patience)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # nothing is missing
                yield None
                return
            told = f"{url}: the server answers {error.code} {error.reason}"
            raise (ResourceError if error.code >= 500 or error.code in BUSY else DataError)(told) from None
    except (http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        hint = ". Is the clock right?" if isinstance(reason, ssl.SSLError) else ""
        raise ResourceError(f"{url}: {reason}{hint}") from None
    with answer:
        yield answer


def receive(answer: Any, part: Path, began: int, *, url: str, largest: int, advance: Advance) -> None:
    """Append what arrives to `part`; raises _CutOffError where it ends early, DataError beyond `largest` bytes."""
    if answer is None:
        return
    resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    if resumed and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {began}-"):
        part.unlink()
        raise _CutOffError("the server continues at another place")
    done = began if resumed else 0
    total = expected(answer, done)
    check_room(part, total, largest, url)
    with open(part, "r+b" if resumed else "wb") as file:
        file.seek(done)
        try:
            for block in blocks(answer):
                file.write(block)
                done += len(block)
                advance(done, total)
                if done > largest:
                    break
        finally:
            file.flush()
            os.fsync(file.fileno())
    if done > largest:
        part.unlink()
        raise DataError(f"{url} has more than {largest:,} bytes, the limit of this file")
    if total is not None and done < total:
        raise _CutOffError(f"cut off after {done:,} of {total:,} bytes")


def blocks(answer: Any) -> Iterator[bytes]:
    """What arrives, block by block; raises _CutOffError where the connection breaks."""
    while True:
        try:
            block = answer.read(BLOCK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise _CutOffError("cut off in the middle") from None
        except (http.client.HTTPException, OSError) as error:
            raise _CutOffError(f"cut off ({error})") from None
        if not block:
            return
        yield block


def expected(answer: Any, done: int) -> int | None:
    """How many bytes the whole file has, where the server says so."""
    with suppress(ValueError):
        return done + int(answer.headers.get("Content-Length", ""))
    return None


def check_room(part: Path, total: int | None, largest: int, url: str) -> None:
    """Refuse, before a byte is written, a file above its limit or above what the disk has free."""
    if total is not None and total > largest:
        raise DataError(f"{url} has {total:,} bytes; the limit of this file is {largest:,}")
    free = shutil.disk_usage(part.parent).free
    if total is not None and total > free:
        raise ResourceError(f"{url} has {total:,} bytes; the disk of {part.parent} has {free:,} free")


def head_of(part: Path) -> str | None:
    """What a wrong file is, if that can be told from its first bytes: a login page, an error message."""
    with open(part, "rb") as file:
        return foreign(file.read(4096))


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and nowhere else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: PLR0917
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


OPENER = urllib.request.build_opener(_WebOnly)
