"""First contact with image files: what every kind becomes, what is refused, and that nothing else can happen."""

import contextlib
import io
import os
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from storage.errors import DataError, IntegrityError
from storage.intake import TruncatedImageError, encode, read_image, shrink
from storage.paths import path_problem, read_below

PHOTO = Image.fromarray(load_sample_image("china.jpg")).resize((64, 43))
LARGE = Image.fromarray(load_sample_image("flower.jpg"))


def data_of(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def png_claiming(width: int, height: int) -> bytes:
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0" * 100)) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(data_of(PHOTO, "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


LOSSLESS = ("PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000")


@pytest.mark.parametrize("format_", [*LOSSLESS, "JPEG", "AVIF"])
def test_formats(format_: str) -> None:
    source = PHOTO.convert("P") if format_ == "GIF" else PHOTO
    intake = read_image(data_of(source, format_, **({"lossless": True} if format_ == "WEBP" else {})))
    assert intake.format == format_
    assert intake.pixels.dtype == np.uint8
    difference = np.abs(intake.pixels.astype(int) - np.asarray(source.convert("RGB"))).mean()
    assert difference == 0 if format_ in LOSSLESS else difference < 8


MODES: dict[str, tuple[Callable[[], Image.Image], str, tuple[int, int, int]]] = {
    "grey": (lambda: Image.new("L", (9, 9), 100), "PNG", (100, 100, 100)),
    "one bit": (lambda: Image.new("1", (9, 9), 1), "PNG", (255, 255, 255)),
    "palette": (lambda: Image.new("RGB", (9, 9), (10, 20, 30)).convert("P", palette=1), "PNG", (10, 20, 30)),
    "transparent": (lambda: Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG", (255, 255, 255)),
    "half transparent": (lambda: Image.new("RGBA", (9, 9), (0, 0, 0, 128)), "PNG", (127, 127, 127)),
    "grey with alpha": (lambda: Image.new("LA", (9, 9), (0, 0)), "PNG", (255, 255, 255)),
    "cmyk": (lambda: Image.new("CMYK", (9, 9), (0, 0, 0, 255)), "JPEG", (0, 0, 0)),
    "16 bits": (lambda: Image.fromarray(np.full((9, 9), 0x6400, np.uint16)), "PNG", (100, 100, 100)),
    "16 bits tiff": (lambda: Image.fromarray(np.full((9, 9), 0xFFFF, np.uint16)), "TIFF", (255, 255, 255)),
}


@pytest.mark.parametrize(("make", "format_", "colour"), MODES.values(), ids=MODES.keys())
def test_colour_rules(make: Callable[[], Image.Image], format_: str, colour: tuple[int, int, int]) -> None:
    intake = read_image(data_of(make(), format_))
    assert np.abs(intake.pixels[4, 4].astype(int) - colour).max() <= (2 if format_ == "JPEG" else 0)
    assert any(note.endswith("to RGB") for note in intake.notes)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_exif_is_applied_once(orientation: int, format_: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    marked = np.zeros((32, 64, 3), np.uint8)
    marked[:16, :32] = 255  # the upper left quarter
    pixels = read_image(data_of(Image.fromarray(marked), format_, exif=exif)).pixels
    assert pixels.shape == ((32, 64, 3) if orientation < 5 else (64, 32, 3))
    height, width = pixels.shape[:2]
    quarters = [[pixels[y, x, 0] > 128 for x in (4, width - 4)] for y in (4, height - 4)]
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    assert [(y, x) for y in (0, 1) for x in (0, 1) if quarters[y][x]] == [corner]


REFUSED = {
    "empty": (b"", "a.jpg is empty"),
    "html": (b"<html><body>login", "an HTML page"),
    "json": (b'{"error": 403}', "JSON"),
    "text": (b"hello world", "not an image"),
    "heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC, which is not supported: convert"),
    "jpeg xl": (b"\xff\x0a" + bytes(40), "JPEG XL"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "pdf": (b"%PDF-1.7\n", "a PDF document"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript document"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
    "bomb png": (png_claiming(65500, 65500), "pixels in"),
    "bomb jpeg": (jpeg_claiming(65500, 65500), "4290250000 pixels in"),
    "large png": (png_claiming(8000, 8000), "8000 x 8000 pixels in"),
    "floating point": (data_of(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point"),
    "damaged png": (png_claiming(30, 30), ""),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(data: bytes, message: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        read_image(data, name="a.jpg")
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.jpg ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_cut_off_files_are_told_from_damaged_ones(format_: str, share: float) -> None:
    source = PHOTO.convert("P") if format_ == "GIF" else PHOTO
    data = data_of(source, format_)
    with pytest.raises(DataError) as caught:
        read_image(data[: int(len(data) * share)], name="a.img")
    if format_ in ("JPEG", "PNG", "BMP"):
        assert isinstance(caught.value, TruncatedImageError)


def test_notes() -> None:
    def notes(data: bytes, name: str) -> tuple[str, ...]:
        return read_image(data, name=name).notes

    frames = [PHOTO.convert("P"), PHOTO.rotate(90).convert("P")]
    assert notes(data_of(PHOTO, "PNG"), "a.jpg") == ("PNG data in .jpg",)
    assert notes(data_of(PHOTO, "JPEG"), "a.JPG") == ()
    assert notes(data_of(Image.new("RGB", (9, 9)), "PNG"), "a.png") == ("one colour only",)
    assert "under 8 pixels" in notes(data_of(PHOTO.resize((1, 43)), "PNG"), "a.png")
    assert "animated" in notes(data_of(frames[0], "GIF", save_all=True, append_images=frames[1:]), "a.gif")[0]


def test_oversized_text_is_left_behind() -> None:
    plain = data_of(PHOTO, "PNG")
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(100_000_000), 9))
    heavy = plain[:33] + bomb + plain[33:]
    assert (read_image(heavy).pixels == read_image(plain).pixels).all()


def test_trailing_bytes_and_profiles_do_not_matter() -> None:
    plain = data_of(PHOTO, "JPEG")
    dressed = data_of(PHOTO, "JPEG", icc_profile=b"x" * 70_000, comment=b"<script>")
    same = {read_image(data).pixels.tobytes() for data in (plain, plain + b"PK\x03\x04" + bytes(999), dressed)}
    assert len(same) == 1


def test_png_keeps_pixels_exactly_and_jpeg_nearly() -> None:
    pixels = np.asarray(PHOTO)
    assert (read_image(encode(pixels, "png")).pixels == pixels).all()
    assert np.abs(read_image(encode(pixels, "jpeg", quality=95)).pixels.astype(int) - pixels).mean() < 8


@pytest.mark.parametrize(("limit", "shape"), [(None, (427, 640)), (640, (427, 640)), (320, (214, 320))])
def test_shrink(limit: int | None, shape: tuple[int, int]) -> None:
    assert shrink(np.asarray(LARGE), limit).shape[:2] == shape


SEEDS = [data_of(PHOTO.convert("P") if name == "GIF" else PHOTO, name) for name in ("JPEG", *LOSSLESS[:-1])]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6), st.data())
def test_damage_ends_in_pixels_or_a_refusal(data: bytes, flips: list[tuple[float, int]], draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for place, value in flips:
        damaged[int(place * len(data))] = value
    cut = draw.draw(st.integers(0, len(data)))
    try:
        intake = read_image(bytes(damaged[:cut] if draw.draw(st.booleans()) else damaged), max_pixels=1_000_000)
    except DataError:
        return
    assert intake.pixels.ndim == 3
    assert (read_image(encode(intake.pixels, "png")).pixels == intake.pixels).all()


OUTSIDE = ["../secret.png", "/etc/passwd", "a/../../secret.png", "C:\\secret.png", "a\\b.png", "~/x.png", "C:x.png"]
ODD = ["", "  ", "a\nb.png", "a\x00b.png", "a\u202egnp.png", "x" * 300 + ".png", "a.png.", "a.png ", "dir /a.png"]


@pytest.mark.parametrize("path", [*OUTSIDE, *ODD])
def test_paths_that_are_refused(tmp_path: Path, path: str) -> None:
    assert path_problem(path)
    with pytest.raises(DataError):
        read_below(tmp_path, path)


@pytest.mark.parametrize(
    "path", ["a.png", "train/a b.png", "train/여권.jpg", "😀.png", "./a.png", "a..b.png", "%2e%2e"]
)
def test_paths_that_are_fine(path: str) -> None:
    assert path_problem(path) is None


SEGMENT = st.sampled_from(["..", ".", "~", "%2e", "NUL", "a", "", "\\", "C:", "/", "link", "loop", "․․", "sub"])


@given(st.lists(SEGMENT, min_size=1, max_size=6))
def test_nothing_outside_the_root_is_read(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    top = tmp_path_factory.getbasetemp() / "guard"
    root = top / "root"
    if not top.exists():
        (root / "sub").mkdir(parents=True)
        (root / "a").write_bytes(b"inside")
        (root / "sub" / "a").write_bytes(b"inside")
        (top / "a").write_bytes(b"outside")
        (root / "link").symlink_to(top)
        (root / "sub" / "link").symlink_to(top / "a")
        (root / "loop").symlink_to("loop")
    with contextlib.suppress(DataError):
        assert read_below(root, "/".join(parts)) == b"inside"


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written anew"])
def test_i19_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path, read = tmp_path / "a.png", os.read
    path.write_bytes(b"half" * 1000)

    def meanwhile(file: int, size: int) -> bytes:
        data = read(file, min(size, 2000))
        new = {"grows": b"half" * 1001, "shrinks": b"half" * 300, "is written anew": b"data" * 1000}[change]
        path.write_bytes(new)
        os.utime(path, ns=(1, 1))
        return data

    monkeypatch.setattr("storage.paths.os.read", meanwhile)
    with pytest.raises(IntegrityError, match=r"^a\.png changed while it was being read\. Is it still being copied\?$"):
        read_below(tmp_path, "a.png")
    monkeypatch.undo()
    assert read_below(tmp_path, "a.png") == path.read_bytes()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    cases = {
        "folder.png": "not a regular file",
        "pipe.png": "not a regular file",
        "dangling.png": "symbolic link",
        "loop.png": "symbolic link",
        "absent.png": "not found",
        "absent/a.png": "not found",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message):
            read_below(tmp_path, name)
    (tmp_path / "big.png").write_bytes(bytes(100))
    with pytest.raises(DataError, match="100 bytes, more than 99"):
        read_below(tmp_path, "big.png", largest=99)
