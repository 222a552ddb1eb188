"""Files kept as they are: later readers see the pixels that intake saw, and nothing but the picture comes along."""

import io
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sklearn.datasets import load_sample_image

from storage.bare import IEND, JFIF, bare
from storage.errors import DataError
from storage.intake import TURNED, read_image

PHOTO = Image.fromarray(load_sample_image("china.jpg")).resize((75, 43))
PHP, ZIP = b"<?php system($_GET['x']); ?>", b"PK\x03\x04" + bytes(99)


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def by_opencv(extension: str, image: Image.Image, *options: int) -> bytes:
    return bytes(cv2.imencode(extension, np.asarray(image)[:, :, ::-1], options)[1])


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def png(stream: bytes, *before: bytes, head: str = "0000000700000005 08 02 000000", parts: int = 1) -> bytes:
    """A PNG of 7 x 5 pixels out of its parts."""
    step = -(-len(stream) // parts)
    coded = [chunk(b"IDAT", stream[start : start + step]) for start in range(0, len(stream), step)]
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", bytes.fromhex(head)), *before, *coded, IEND))


LINES = bytes(range(1, 22)).join([b"\0"] * 6)[: 5 * 22]  # 5 lines: no filter, 7 pixels
STREAM = zlib.compress(LINES)
NARROWLY = zlib.compressobj(wbits=9)  # looks back 512 bytes
NARROW = NARROWLY.compress(bytes(5 * (1 + 3 * 0x700))) + NARROWLY.flush()
EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 1, "a description"
TEXT = PngInfo()
TEXT.add_text("Comment", PHP.decode())
DRESSED = {"exif": EXIF, "icc_profile": b"x" * 70_000, "comment": PHP}
S440 = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440)
JPEG, LARGE = saved(PHOTO, "JPEG", quality=90), PHOTO.resize((400, 300))
KEPT: dict[str, tuple[str, bytes]] = {
    "4:2:0": ("jpeg", JPEG),
    "4:2:2": ("jpeg", saved(PHOTO, "JPEG", subsampling=1)),
    "4:4:4": ("jpeg", saved(PHOTO, "JPEG", subsampling=0, quality=100)),
    "4:4:0": ("jpeg", by_opencv(".jpg", PHOTO, *S440)),
    "grey": ("jpeg", saved(PHOTO.convert("L"), "JPEG")),
    "optimised": ("jpeg", saved(PHOTO, "JPEG", optimize=True)),
    "restarts": ("jpeg", saved(PHOTO, "JPEG", restart_marker_blocks=1)),
    "restarts of rows": ("jpeg", saved(PHOTO, "JPEG", restart_marker_rows=1, subsampling=0)),
    "dressed": ("jpeg", saved(PHOTO, "JPEG", **DRESSED)),
    "zip behind it": ("jpeg", JPEG + ZIP + PHP),
    "picture behind it": ("jpeg", JPEG + saved(PHOTO.rotate(90), "JPEG")),
    "thumbnail in it": ("jpeg", JPEG[:2] + b"\xff\xe1" + (2 + len(JPEG)).to_bytes(2, "big") + JPEG + JPEG[2:]),
    "from Adobe": ("jpeg", JPEG[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x01" + JPEG[2:]),
    "png": ("png", saved(PHOTO, "PNG")),
    "grey png": ("png", saved(PHOTO.convert("L"), "PNG")),
    "png with profile and text": ("png", saved(PHOTO, "PNG", icc_profile=b"x" * 999, pnginfo=TEXT, exif=EXIF)),
    "png without compression": ("png", saved(LARGE, "PNG", compress_level=0)),
    "many parts": ("png", saved(LARGE, "PNG")),
    "few bytes each": ("png", png(STREAM, parts=9)),
    "png and more": ("png", saved(PHOTO, "PNG") + ZIP + PHP),
    "small window": ("png", by_opencv(".png", PHOTO.resize((9, 9)))),
}


@pytest.mark.parametrize(("encoding", "data"), KEPT.values(), ids=KEPT.keys())
def test_what_is_kept_is_read_alike_and_holds_the_picture_only(encoding: str, data: bytes) -> None:
    seen = read_image(data).pixels
    height, width = seen.shape[:2]
    kept = bare(data, encoding, width=width, height=height)
    assert kept is not None
    assert (cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_COLOR_RGB) == seen).all()
    assert (read_image(kept).pixels == seen).all()
    assert not any(word in kept for word in (b"php", b"PK\x03\x04", b"Exif", b"description", b"xxx", b"Adobe", b"tEXt"))
    assert kept.startswith(JFIF) if encoding == "jpeg" else kept.endswith(IEND)
    assert bare(kept, encoding, width=width, height=height) == kept
    other = {"jpeg": "png", "png": "jpeg"}[encoding]
    assert bare(data, other, width=width, height=height) is None
    assert bare(data, encoding, width=width + 1, height=height) is None


def test_dressed_and_plain_files_become_the_same_bytes() -> None:
    same = ["4:2:0", "zip behind it", "picture behind it", "thumbnail in it", "from Adobe"]
    assert len({bare(KEPT[name][1], "jpeg", width=75, height=43) for name in same}) == 1


def edited(data: bytes, old: str, new: str) -> bytes:
    """The file with the first `old` (hexadecimal) made `new`."""
    assert bytes.fromhex(old) in data
    return data.replace(bytes.fromhex(old), bytes.fromhex(new), 1)


FRAME, SCAN = "ffc0001108002b004b03 01 22 00", "ffda000c03 01 00 02 11 03 11 003f00"
RESTARTS, MARKS = KEPT["restarts"][1], [bytes((0xFF, 0xD0 + i)) for i in range(8)]
ANEW: dict[str, tuple[str, bytes]] = {
    "progressive": ("jpeg", saved(PHOTO, "JPEG", progressive=True)),
    "cmyk": ("jpeg", saved(PHOTO.convert("CMYK"), "JPEG")),
    "colours as they are": ("jpeg", saved(PHOTO, "JPEG", keep_rgb=True)),
    "names of colours": ("jpeg", edited(JPEG, FRAME, FRAME.replace("03 01", "03 52"))),
    "other numbers": ("jpeg", edited(JPEG, FRAME, FRAME.replace("03 01", "03 00"))),
    "Adobe without transform": ("jpeg", JPEG[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0" + JPEG[2:]),
    "extended": ("jpeg", edited(JPEG, "ffc0", "ffc1")),
    "lossless": ("jpeg", edited(JPEG, "ffc0", "ffc3")),
    "arithmetic": ("jpeg", edited(JPEG, "ffc0", "ffc9")),
    "12 bits": ("jpeg", edited(JPEG, FRAME, FRAME.replace("1108", "110c"))),
    "4:1:1": ("jpeg", edited(JPEG, FRAME, FRAME.replace("22", "41"))),
    "odd sampling of grey": ("jpeg", edited(KEPT["grey"][1], "002b004b01 01 11", "002b004b01 01 22")),
    "height comes later": ("jpeg", edited(JPEG, "002b004b", "0000004b")),
    "one of several scans": ("jpeg", edited(JPEG, SCAN, "ffda000801 01 00 003f00")),
    "other order": ("jpeg", edited(JPEG, SCAN, SCAN.replace("02 11 03", "03 11 02"))),
    "half precision": ("jpeg", edited(JPEG, SCAN, SCAN.replace("003f00", "003f01"))),
    "two frames": ("jpeg", JPEG[: JPEG.index(b"\xff\xc0")] + bytes.fromhex(FRAME + "021101031101") + JPEG[2:]),
    "no mark": ("jpeg", edited(JPEG, "ffdb", "fedb")),
    "length of nothing": ("jpeg", JPEG[:2] + b"\xff\xe1\0\0" + JPEG[2:]),
    "long claim of a segment": ("jpeg", JPEG[:2] + b"\xff\xe1\xff\xff" + JPEG[2:]),
    "interval of four bytes": ("jpeg", JPEG[:2] + b"\xff\xdd\0\6\0\0\0\0" + JPEG[2:]),
    "no choice of tables": ("jpeg", edited(KEPT["grey"][1], "ffda000801 01 00", "ffda000701 01")),
    "tables without end": ("jpeg", JPEG[:2] + 400 * JPEG[20 : 20 + 69] + JPEG[2:]),
    "two starts": ("jpeg", JPEG[:2] + JPEG),
    "bytes that fill": ("jpeg", edited(JPEG, "ffdb", "ffffdb")),
    "bytes that fill at the end": ("jpeg", JPEG[:-2] + b"\xff" + JPEG[-2:]),
    "no scan": ("jpeg", JPEG[: JPEG.index(b"\xff\xda")] + b"\xff\xd9"),
    "scan without a frame": ("jpeg", JPEG[:2] + JPEG[JPEG.index(b"\xff\xda") :]),
    "no end": ("jpeg", JPEG[:-2]),
    "another scan": ("jpeg", JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") :]),
    "tables behind the scan": ("jpeg", JPEG[:-2] + b"\xff\xc4\0\2\xff\xd9"),
    "number of lines behind the scan": ("jpeg", JPEG[:-2] + b"\xff\xdc\0\4\0\x2b\xff\xd9"),
    "a restart too many": ("jpeg", JPEG[:-2] + b"\xff\xd0\xff\xd9"),
    "restarts out of turn": ("jpeg", edited(RESTARTS, "ffd1", "ffd2")),
    "a restart is missing": ("jpeg", edited(RESTARTS, "ffd1", "0000")),
    "the last restart is missing": ("jpeg", RESTARTS[: max(map(RESTARTS.rindex, MARKS))] + b"\xff\xd9"),
    "palette": ("png", saved(PHOTO.convert("P"), "PNG")),
    "transparent": ("png", saved(PHOTO.convert("RGBA"), "PNG")),
    "a transparent colour": ("png", saved(PHOTO, "PNG", transparency=(1, 2, 3))),
    "16 bits": ("png", saved(Image.fromarray(np.full((9, 9), 0x6400, np.uint16)), "PNG")),
    "one bit": ("png", saved(PHOTO.convert("1"), "PNG")),
    "moving": ("png", saved(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(90)])),
    "one moving picture": ("png", png(STREAM, chunk(b"acTL", bytes(8)))),
    "interlaced": ("png", png(STREAM, head="0000000700000005 08 02 000001")),
    "another compression": ("png", png(STREAM, head="0000000700000005 08 02 010000")),
    "suggested palette": ("png", png(STREAM, chunk(b"PLTE", bytes(3)))),
    "unknown and needed": ("png", png(STREAM, chunk(b"CgBI", bytes(4)))),
    "no name": ("png", png(STREAM, chunk(b"a\0bc"))),
    "two heads": ("png", png(STREAM, chunk(b"IHDR", bytes.fromhex("0000000700000005 08 02 000000")))),
    "text between": ("png", png(STREAM[5:], chunk(b"IDAT", STREAM[:5]), chunk(b"tEXt", b"a\0b"))),
    "empty text between": ("png", png(STREAM[5:], chunk(b"IDAT", STREAM[:5]), chunk(b"tEXt"))),
    "empty part": ("png", png(STREAM, chunk(b"IDAT"))),
    "too short": ("png", png(zlib.compress(LINES[:-1]))),
    "too long": ("png", png(zlib.compress(LINES + b"\0"))),
    "far too long": ("png", png(zlib.compress(LINES + bytes(9999)), parts=30)),
    "more behind": ("png", png(STREAM + b"\0")),
    "stopped": ("png", png(STREAM[:-5])),
    "wrong sum of all": ("png", png(STREAM[:-1] + bytes((STREAM[-1] ^ 1,)))),
    "small window for much": ("png", png(NARROW, head="0000070000000005 08 02 000000")),
    "wrong sum": ("png", png(STREAM)[: -len(IEND) - 4] + b"????" + IEND),
    "wrong sum of the head": ("png", png(STREAM)[:29] + b"????" + png(STREAM)[33:]),
    "end with content": ("png", png(STREAM)[: -len(IEND)] + chunk(b"IEND", b"x")),
    "never ends": ("png", png(STREAM)[: -len(IEND)]),
    "long claim": ("png", png(STREAM)[: -len(IEND)] + b"\xff\xff\xff\xffIDAT" + bytes(99)),
}


@pytest.mark.parametrize(("encoding", "data"), ANEW.values(), ids=ANEW.keys())
def test_anything_else_is_encoded_anew(encoding: str, data: bytes) -> None:
    for width, height in ((75, 43), (7, 5), (9, 9), (75, 0), (1792, 5)):
        assert bare(data, encoding, width=width, height=height) is None


@pytest.mark.parametrize(("encoding", "data"), [KEPT["restarts"], KEPT["dressed"], KEPT["png"], KEPT["few bytes each"]])
def test_nothing_that_is_cut_off_is_kept(encoding: str, data: bytes) -> None:
    width, height = Image.open(io.BytesIO(data)).size
    for cut in [*range(120), *range(120, len(data), 97), len(data) - 1]:
        assert bare(data[:cut], encoding, width=width, height=height) is None


def test_sides_that_no_reader_takes() -> None:
    for width, height in ((0, 0), (70_000, 1), (2**31 - 1, 2**31 - 1)):
        assert bare(png(STREAM), "png", width=width, height=height) is None
        assert bare(JPEG, "jpeg", width=width, height=height) is None


def flip(data: bytearray, place: int, value: int) -> None:
    data[place] = value


def remove(data: bytearray, place: int, value: int) -> None:
    del data[place : place + value % 9]


def repeat(data: bytearray, place: int, value: int) -> None:
    data[place:place] = data[place : place + value % 99]


def mark(data: bytearray, place: int, value: int) -> None:
    data[place : place + 2] = bytes((255, value))


def with_sums(data: bytes) -> bytes:
    """A PNG with the sums of its chunks made right, so that the damage is found inside them."""
    fixed, position = bytearray(data), 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        fixed[end : end + 4] = zlib.crc32(data[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(fixed[: len(data)])


Change = tuple[Callable[[bytearray, int, int], None], float, int]
CHANGES = st.lists(
    st.tuples(st.sampled_from([flip, remove, repeat, mark]), st.floats(0, 0.999), st.integers(0, 255)), max_size=4
)


@given(st.sampled_from([*KEPT.values(), *ANEW.values()]), CHANGES, st.booleans())
def test_damaged_files_are_refused_encoded_anew_or_read_alike(
    source: tuple[str, bytes], changes: list[Change], head: bool
) -> None:
    encoding, data = source
    damaged = bytearray(data)
    for change, place, value in changes:
        change(damaged, int(place * min(len(damaged), 700 if head else len(damaged))), value)
    data = with_sums(bytes(damaged)) if encoding == "png" else bytes(damaged)
    bare(data, encoding, width=75, height=43)
    try:
        seen = read_image(data, max_pixels=1_000_000)
    except DataError:
        return
    height, width = seen.pixels.shape[:2]
    kept = bare(data, encoding, width=width, height=height)
    if kept is not None and TURNED not in seen.notes:
        assert (cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_COLOR_RGB) == seen.pixels).all()
