"""Tar shards open in any tool, give the same bytes for the same members, and are never read half-written."""

import pickle
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import IntegrityError
from storage.shards import Shards, ShardWriter, header


@given(payloads=st.lists(st.binary(max_size=2000), max_size=8))
def test_payloads_come_back_by_offset_and_from_tar(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, "a") as shard:
        places = [shard.add(f"{i}.bin", data) for i, data in enumerate(payloads)]
    reader = Shards(folder)
    assert [reader.read("a.tar", *place) for place in places] == payloads
    with tarfile.open(folder / "a.tar") as tar:
        members = tar.getmembers()
        assert [tar.extractfile(member).read() for member in members] == payloads  # type: ignore[union-attr]
        assert [member.offset_data for member in members] == [offset for offset, _ in places]


def test_same_members_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with ShardWriter(tmp_path, name) as shard:
            shard.add("x.png", b"abc")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_interrupted_shard_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, "a") as shard:
        shard.add("x.png", b"abc")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_shard_cut_short_or_missing_is_named(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "a") as shard:
        offset, size = shard.add("x.png", b"abc" * 1000)
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:1000])
    with pytest.raises(IntegrityError, match=r"a\.tar is cut short"):
        Shards(tmp_path).read("a.tar", offset, size)
    with pytest.raises(IntegrityError, match=r"b\.tar is missing"):
        Shards(tmp_path).read("b.tar", offset, size)


def test_a_reader_travels_to_other_processes(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "a") as shard:
        place = shard.add("x.png", b"abc")
    reader = Shards(tmp_path)
    reader.read("a.tar", *place)
    assert pickle.loads(pickle.dumps(reader)).read("a.tar", *place) == b"abc"  # noqa: S301


@given(
    st.one_of(st.text(max_size=120), st.text(alphabet="ab/. ", min_size=95, max_size=105)),
    st.one_of(st.integers(0, 600), st.sampled_from([8**11 - 1, 8**11])),
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    try:
        expected = entry.tobuf(tarfile.PAX_FORMAT)
    except UnicodeEncodeError:
        return
    assert header(name, size) == expected
