"""The catalogue of bad input, row by row: what `prepare` says of a broken table or image; nothing is published then.

B is about tables, I about images; the numbers are those of the specification. Rows that are about folds stand in
tests/stages/test_split.py, about boxes in tests/layouts/test_layouts.py.
"""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from layouts.csv_images import Options, listing
from stages.prepare import PrepareParams, prepare
from stages.tables import read_index
from storage.errors import DataError, PodiumError
from tests import competitions

Edit = Callable[[Path], object]
FIRST, LAST = 0, -1


def table(change: Callable[[str], str], name: str = "train.csv") -> Edit:
    return lambda root: (root / name).write_text(change((root / name).read_text()))


def raw(change: Callable[[bytes], bytes], name: str = "train.csv") -> Edit:
    return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


def picture(root: Path, place: int = FIRST) -> Path:
    """The file of a row of train.csv."""
    rows = (root / "train.csv").read_text().splitlines()[1:]
    return root / "train" / rows[place].split(",")[0]


def image(data: bytes | Callable[[bytes], bytes]) -> Edit:
    def edit(root: Path) -> None:
        path = picture(root)
        path.write_bytes(data(path.read_bytes()) if callable(data) else data)

    return edit


def pixels(make: Callable[[], Image.Image], format_: str = "PNG", **options: Any) -> Edit:
    return lambda root: make().save(picture(root), format_, **options)


def row(text: str) -> Edit:
    """One more row; {id} and {label} are those of the first."""

    def edit(root: Path) -> None:
        image_id, label = (root / "train.csv").read_text().splitlines()[1].split(",")
        with open(root / "train.csv", "a", encoding="utf-8") as file:
            file.write(text.format(id=image_id, label=label) + "\n")

    return edit


def label(value: str) -> Edit:
    return table(lambda text: text.replace(",0\n", f",{value}\n", 1))


def instead(make: Callable[[Path], object]) -> Edit:
    """Something else in place of the first image."""

    def edit(root: Path) -> None:
        path = picture(root)
        path.unlink()
        make(path)

    return edit


def same_file(part: str) -> Edit:
    def edit(root: Path) -> None:
        target = picture(root, LAST) if part == "train" else sorted((root / "test").iterdir())[0]
        shutil.copy(picture(root), target)

    return edit


def renamed(name: str) -> Edit:
    """The first image and its row under another name."""

    def edit(root: Path) -> None:
        path = picture(root)
        table(lambda text: text.replace(path.name, name))(root)
        path.rename(path.with_name(name))

    return edit


def without_extension(name: str) -> Edit:
    """Ids without `.jpg`, the first of them `name`."""

    def edit(root: Path) -> None:
        renamed(f"{name}.jpg")(root)
        table(lambda text: text.replace(".jpg", ""))(root)

    return edit


def claims(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def grey(mode: str = "RGB", size: tuple[int, int] = (30, 40)) -> Image.Image:
    return Image.effect_noise(size, 60).convert(mode)


EXIF = Image.Exif()
EXIF[0x0112] = 6

REFUSED: dict[str, tuple[Edit, str]] = {
    "B01 missing": (lambda root: (root / "train.csv").unlink(), "train.csv not found"),
    "B02 empty": (raw(lambda _: b""), "is empty (0 bytes)"),
    "B03 header only": (table(lambda text: text.splitlines()[0] + "\n"), "a header and no rows"),
    "B04 no header": (table(lambda text: text.partition("\n")[2]), "has no header: expected columns ID,target"),
    "B05 other case": (table(lambda text: text.replace("target", "Target", 1)), "did you mean 'Target'?"),
    "B06 column twice": (table(lambda text: text.replace("ID,target", "ID,target,target", 1)), "appears 2 times"),
    "B08 a value more": (row("{id},{label},9"), "line 33 has 3 values, the header has 2"),
    "B10 cut off": (table(lambda text: text[:-4]), "line 32: no value for 'target' (was the file cut off?)"),
    "B12 UTF-16": (raw(lambda data: data.decode().encode("utf-16")), "is UTF-16. Save it as CSV UTF-8"),
    "B13 cp949": (raw(lambda data: data + "여권.jpg,1\n".encode("cp949")), "it looks like cp949"),
    "B18 open quote": (row('"{id},{label}'), "quote opened at line 33 is never closed"),
    "B19 line break": (row('"a\nb.jpg",1'), "line 33: ID contains a line break"),
    "B21 LFS pointer": (raw(lambda _: b"version https://git-lfs.github.com/spec/v1\n"), "run git lfs pull"),
    "B22 HTML": (raw(lambda _: b"<!DOCTYPE html>"), "does the download need a login?"),
    "B23 gzip": (raw(gzip.compress), "is a gzip archive"),
    "B25 two labels": (row("{id},9"), "has labels 0 (line 2) and 9 (line 33)"),
    "B26 empty ID": (row("  ,1"), "line 33: empty ID"),
    "B30 fraction": (label("1.5"), "line 2: label '1.5'"),
    "B31 unknown class": (label("17"), "line 2: label '17'"),
    "B31 negative": (label("-1"), "line 2: label '-1'"),
    "B34 one class": (table(lambda text: "\n".join(text.splitlines()[:3])), "only one class"),
    "B37 no file": (lambda root: picture(root).unlink(), "1 of 31 images of"),
    "B42 upwards": (row("../../etc/passwd,1"), "line 33: path leaves data root"),
    "B42 absolute": (row("/abs.jpg,1"), "line 33: path leaves data root"),
    "B42 drive": (row("C:\\a.jpg,1"), "line 33: path leaves data root"),
    "B42 link": (instead(lambda path: path.symlink_to("/etc/hostname")), "path leaves data root"),
    "B44 folder": (instead(lambda path: path.mkdir()), "images of"),
    "B44 pipe": (instead(os.mkfifo), "is not a regular file"),
    "B45 long field": (row("x" * 200_000 + ",1"), "line 33: a value is longer than"),
    "B45 long line": (row("x," * 1_000_000), "line 33: longer than 1,000,000 characters"),
    "I01 empty": (image(b""), "is empty (0 bytes)"),
    "I02 HTML": (image(b"<html>"), "is an HTML page"),
    "I02 JSON": (image(b'{"error": 1}'), "is JSON"),
    "I03 cut off": (image(lambda data: data[: len(data) // 2]), "is cut off"),
    "I06 bomb": (image(claims(65500, 65500)), "the limit prepare.max_pixels is 50,000,000"),
    "I12 HEIC": (image(b"\0\0\0\x18ftypheic"), "HEIC, which is not supported: convert it"),
    "I12 SVG": (image(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "an SVG drawing, which is not supported"),
    "I12 JPEG XL": (image(b"\xff\x0a" + bytes(40)), "JPEG XL, which is not supported"),
    "I16 direction": (renamed("a\u202egpj.jpg"), "name not portable (writing-direction mark)"),
    "I16 dot": (row("a.jpg.,1"), "name not portable (dot or space at its end)"),
    "I16 long": (row("x" * 300 + ".jpg,1"), "name longer than 255 bytes"),
    "I18 dangling": (instead(lambda path: path.symlink_to("nowhere")), "symbolic link"),
    "I18 loop": (instead(lambda path: path.symlink_to(path.name)), "symbolic link"),
    "I20 no row": (
        lambda root: shutil.copy(picture(root), root / "test/extra.jpg"),
        "test images without a row in",
    ),
    "I20 no image": (lambda root: sorted((root / "test").iterdir())[0].unlink(), "1 of 4 images of"),
}

GOES_ON: dict[str, tuple[Edit, str]] = {  # what the report tells, "" for nothing
    "B05 blanks": (table(lambda text: text.replace("ID,target", " ID , target ", 1)), ""),
    "B07 index column": (
        table(lambda text: "".join(f"{i},{line}\n" if i else f",{line}\n" for i, line in enumerate(text.splitlines()))),
        "ignored the unnamed first column",
    ),
    "B11 byte order mark": (raw(lambda data: b"\xef\xbb\xbf" + data), ""),
    "B15 sep line": (table(lambda text: "sep=,\n" + text), "removed Excel's 'sep=,' line"),
    "B16 CR only": (raw(lambda data: data.replace(b"\n", b"\r")), ""),
    "B16 CRLF": (raw(lambda data: data.replace(b"\n", b"\r\n")), ""),
    "B24 same row twice": (row("{id},{label}"), "1 ids appear twice with the same label; kept once"),
    "B27 zeros": (without_extension("0001"), ""),
    "B28 1e5": (without_extension("1e5"), ""),
    "B28 twenty digits": (without_extension("12345678901234567890"), ""),
    "B30 1.0": (label("0.0"), "labels read as numbers: '0.0'"),
    "B30 full-width": (label("０"), "labels read as numbers: '０'"),
    "B32 gap": (
        lambda root: (root / "meta.csv").write_text((root / "meta.csv").read_text() + "17,passport\n"),
        "class 17 (passport) has no rows",
    ),
    "B36 alike": (
        lambda root: (root / "meta.csv").write_text((root / "meta.csv").read_text() + "17,Document_3 \n"),
        "class names differ by case or blanks only",
    ),
    "B38 not listed": (lambda root: shutil.copy(picture(root), root / "train/extra.jpg"), "1 images in"),
    "B39 two labels": (same_file("train"), "1 pictures appear in train with two labels"),
    "B40 leak": (same_file("test"), "1 test images equal a training image (leak)"),
    "B46 formula": (renamed("=HYPERLINK(0).jpg"), ""),
    "I05 extension": (pixels(grey), "PNG data in .jpg"),
    "I07 tiny": (pixels(lambda: grey(size=(1, 40)), "JPEG"), "under 8 pixels"),
    "I08 CMYK": (pixels(lambda: grey("CMYK"), "JPEG"), "CMYK to RGB"),
    "I08 grey": (pixels(lambda: grey("L"), "JPEG"), "L to RGB"),
    "I08 transparent": (pixels(lambda: grey("RGBA")), "RGBA to RGB"),
    "I10 turned": (pixels(grey, "JPEG", exif=EXIF), "turned as EXIF says"),
    "I13 polyglot": (image(lambda data: data + b"PK\x03\x04" + bytes(99)), ""),
    "I14 constant": (pixels(lambda: Image.new("RGB", (30, 40)), "JPEG"), "one colour only"),
    "I15 huge profile": (pixels(grey, "JPEG", icc_profile=b"x" * 300_000), ""),
    "I16 Korean, emoji": (renamed("여권 😀.jpg"), ""),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return competitions.documents(tmp_path_factory.mktemp("catalogue") / "raw", each=2, tests=4, width=30)


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "raw"))


def run(root: Path, **params: Any) -> dict[str, Any]:
    chosen = PrepareParams(**params)
    return prepare(listing(root, Options()), root.parent / "index", chosen, work=root.parent / "work")


@pytest.mark.parametrize(("edit", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(root: Path, edit: Edit, told: str) -> None:
    edit(root)
    with pytest.raises(PodiumError) as caught:
        run(root)
    assert told in str(caught.value)
    assert str(root) in str(caught.value)
    assert not (root.parent / "index").exists()


@pytest.mark.parametrize(("edit", "told"), GOES_ON.values(), ids=GOES_ON.keys())
def test_goes_on_and_tells(root: Path, edit: Edit, told: str) -> None:
    edit(root)
    report = run(root)
    notes = [*report["warnings"], *report["images"]]
    assert any(told in note for note in notes) if told else not [note for note in notes if "matched" not in note]
    ids = [line.split(",")[0] for line in listed(root)]
    assert read_index(root.parent / "index").train["image_id"].tolist() == list(dict.fromkeys(ids))


def listed(root: Path) -> list[str]:
    """The rows of train.csv as a plain program reads them."""
    text = (root / "train.csv").read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.splitlines() if line and not line.startswith("sep=")]
    return [line.partition(",")[2] if lines[0].startswith(",") else line for line in lines[1:]]


def test_b39_strict(root: Path) -> None:
    same_file("train")(root)
    with pytest.raises(DataError, match="equal pictures with different labels"):
        run(root, strict=True)


def test_i03_left_out_where_asked(root: Path) -> None:
    image(lambda data: data[: len(data) // 2])(root)
    report = run(root, truncated="drop")
    assert (report["train_images"], report["images"]["cut off, left out"]) == (30, 1)


def test_every_problem_is_told_at_once(root: Path) -> None:
    names = [picture(root, place) for place in range(12)]
    for path in names:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)\(12 in all\).*is empty.*\.\.\. and 2 more"):
        run(root)


def test_i19_changed_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = picture(root), os.read

    def meanwhile(file: int, size: int) -> bytes:
        data = read(file, size)
        if os.fstat(file).st_ino == path.stat().st_ino:
            with open(path, "ab") as more:
                more.write(b"the rest of the picture")
        return data

    monkeypatch.setattr("storage.paths.os.read", meanwhile)
    with pytest.raises(DataError, match=rf"{path.name} changed while it was being read\. Is it still being copied\?"):
        run(root)
    assert not (root.parent / "index").exists()
    monkeypatch.undo()
    assert run(root)["train_images"] == 31  # nothing of the first try was kept for that picture


def test_i18_without_permission(root: Path) -> None:
    path = picture(root)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        run(root)
