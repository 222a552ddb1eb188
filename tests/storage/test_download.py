"""Downloads: the right file, whole, from the first source that has it; else one message, and never half a file."""

import hashlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage import download
from storage.download import obtain
from storage.errors import DataError, IntegrityError, PodiumError, ResourceError
from tests.web import Web, content, serving, status

DATA = bytes(range(256)) * 4000  # a megabyte
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with serving() as web:
        yield web


@pytest.fixture
def web(server: Web) -> Web:
    server.pages.clear()
    server.asked.clear()
    return server


def get(folder: Path, *sources: str, **options: Any) -> str:
    options = {"largest": 10**7, "patience": 5} | options
    return obtain(folder / "raw/a.bin", sources=sources, sha256=SUM, work=folder / "work", **options)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/a"


@pytest.mark.parametrize("sized", [True, False])
def test_a_file_arrives_whole(web: Web, tmp_path: Path, sized: bool) -> None:
    web.pages["/a"] = content(DATA, sized=sized)
    seen: list[tuple[int, int | None]] = []
    assert get(tmp_path, web.url("/a"), advance=lambda done, total: seen.append((done, total))) == web.url("/a")
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA
    assert left_over(tmp_path) == ["a.bin"]
    assert seen[-1] == (len(DATA), len(DATA) if sized else None)


def test_what_lies_there_is_kept_and_checked(web: Web, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.bin").write_bytes(DATA)
    assert get(tmp_path, web.url("/a")) == "there already"
    (tmp_path / "raw/a.bin").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"raw/a.bin has SHA-256 d9298a10.*, expected .*Delete it"):
        get(tmp_path, web.url("/a"))
    assert not web.asked
    assert (tmp_path / "raw/a.bin").read_bytes() == b"other"


def test_a_file_of_this_machine_needs_no_network(web: Web, tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_bytes(b"other")
    right.write_bytes(DATA)
    assert get(tmp_path, "/nowhere/a", str(wrong), str(right), web.url("/a")) == str(right)
    assert not web.asked
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA


def test_a_cut_connection_is_continued_where_it_broke(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = content(DATA, cut=[100_000, 200_000])
    get(tmp_path, web.url("/a"))
    assert [asked for _, asked in web.asked] == [None, "bytes=100000-", "bytes=300000-"]
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA


def test_the_next_run_or_the_next_mirror_goes_on(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = content(DATA, cut=[1000, 0, 1000, 0])
    with pytest.raises(ResourceError, match=r"(?s)cut off after 1,000 of 1,024,000 bytes.*are kept for the next run"):
        get(tmp_path, web.url("/a"))
    assert left_over(tmp_path) == [f"{SUM}.part"]
    web.pages["/b"] = content(DATA)
    assert get(tmp_path, web.url("/a"), web.url("/b")) == web.url("/b")
    assert web.asked[-1] == ("/b", "bytes=2000-")
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA
    assert left_over(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("page", "requests"),
    [
        (content(DATA, ranges=False), 1),  # starts over by itself
        (content(DATA, shift=7), 2),  # continues at another place: asked for the whole
        (content(DATA), 1),
    ],
)
def test_servers_that_cannot_continue(web: Web, tmp_path: Path, page: Any, requests: int) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / f"work/{SUM}.part").write_bytes(DATA[:5000])
    web.pages["/a"] = page
    get(tmp_path, web.url("/a"))
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA
    assert len(web.asked) == requests


@pytest.mark.parametrize("rest", [b"x" * 5000, DATA + b"more", b"x" * len(DATA)])
def test_a_wrong_rest_of_an_earlier_run_costs_one_more_try(web: Web, tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / f"work/{SUM}.part").write_bytes(rest)
    web.pages["/a"] = content(DATA)
    get(tmp_path, web.url("/a"))
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA


def test_a_complete_rest_only_gets_its_name(web: Web, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / f"work/{SUM}.part").write_bytes(DATA)
    web.pages["/a"] = content(DATA)
    get(tmp_path, web.url("/a"))
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA


def test_redirects_are_followed_to_the_web_only(web: Web, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    web.pages |= {"/a": status(302, Location="/b"), "/b": content(DATA), "/c": status(302, Location=f"file://{secret}")}
    with pytest.raises(PodiumError, match=r"a\.bin could not be fetched"):
        get(tmp_path, web.url("/c"))
    assert left_over(tmp_path) == ["secret"]
    get(tmp_path, web.url("/a"))
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("page", "told", "kind"),
    [
        (content(b"other"), "SHA-256 d9298a10.*, expected", DataError),
        (content(DATA[:-1]), "SHA-256 .*, expected", DataError),
        (content(b"<!DOCTYPE html><title>Sign in"), "this is an HTML page .does the download need a login", DataError),
        (status(404), "the server answers 404 Not Found", DataError),
        (status(403), "the server answers 403", DataError),
        (status(503), "the server answers 503", ResourceError),
        (status(429), "the server answers 429", ResourceError),
        (content(DATA * 11), "has 11,264,000 bytes; the limit of this file is 10,000,000", DataError),
        (content(DATA * 11, sized=False), "has more than 10,000,000 bytes", DataError),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_the_next_mirror_is_asked(
    web: Web, tmp_path: Path, page: Any, told: str, kind: type[PodiumError]
) -> None:
    web.pages |= {"/a": page, "/b": content(DATA)}
    with pytest.raises(kind, match=f"(?s)a.bin could not be fetched.*{told}.*Put it at .*raw/a.bin yourself"):
        get(tmp_path, web.url("/a"))
    assert left_over(tmp_path) == []
    assert get(tmp_path, web.url("/a"), web.url("/b")) == web.url("/b")


def test_without_a_network_the_message_says_where_to_put_the_file(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"(?s)\(no network\?\) \(2 in all\).*refused.*Put it at .*raw/a.bin"):
        get(tmp_path, closed_port(), closed_port())
    assert left_over(tmp_path) == []


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(ResourceError, match="timed out"):
            get(tmp_path, f"http://127.0.0.1:{deaf.getsockname()[1]}/a", patience=0.05)


@pytest.mark.parametrize("source", ["ftp://host/a", "file:///etc/passwd", "a.bin", "http://"])
def test_only_the_web_and_absolute_paths(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match=r"neither an http\(s\) URL nor an absolute path"):
        get(tmp_path, source)


def test_a_full_disk_is_told_before_a_byte_is_written(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.pages["/a"] = content(DATA)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ResourceError, match=r"has 1,024,000 bytes; the disk of .* has 1,000 free"):
        get(tmp_path, web.url("/a"))


def test_onto_another_disk_it_is_copied(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.pages["/a"] = content(DATA)
    real = download.os.replace

    def other_disk(source: Any, target: Any) -> None:
        if str(source).endswith(".part"):
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(download.os, "replace", other_disk)
    get(tmp_path, web.url("/a"))
    assert left_over(tmp_path) == ["a.bin"]
    assert (tmp_path / "raw/a.bin").read_bytes() == DATA
