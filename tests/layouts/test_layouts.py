"""Every layout on a small real competition of its kind, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layouts import pickled
from layouts.corners import box_region
from layouts.records import LAYOUTS, Listing, check_paths, layout
from storage.errors import DataError, IntegrityError, ParamsError
from storage.paths import path_problem
from tests import competitions


def read(name: str, root: Path, **options: Any) -> Listing:
    module = layout(name)
    return module.listing(root, module.Options(**options))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_layout_is_registered() -> None:
    folder = Path(__file__).parents[2] / "layouts"
    modules = {path.stem for path in folder.glob("*.py") if "\nclass Options(Section)" in path.read_text()}
    assert modules == set(LAYOUTS)
    for name in LAYOUTS:
        assert layout(name).Options()
    with pytest.raises(ParamsError, match="no layout 'csv'"):
        layout("csv")


# --- csv_images -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return competitions.documents(tmp_path_factory.mktemp("documents") / "a", each=2, tests=4, width=30)


@pytest.fixture
def documents(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "documents"))


def test_documents(documents: Path) -> None:
    listing = read("csv_images", documents)
    assert len(listing.train) == 14 * 2 + 3
    assert list(listing.classes) == [str(i) for i in range(17)]
    assert listing.classes["16"] == "document_16"
    assert listing.sample is not None
    assert listing.sample.columns == ["ID", "target"]
    assert listing.test["image_id"].tolist() == listing.sample.ids
    for rows in (listing.train, listing.test):
        assert all((documents / path).is_file() for path in rows["path"])
    assert listing.notes == []


def test_ids_without_extension_and_sub_folders(documents: Path) -> None:
    for name in ("train.csv", "sample_submission.csv"):
        path = documents / name
        path.write_text(path.read_text().replace(".jpg", ""))
    (documents / "train/deeper").mkdir()
    for image in sorted((documents / "train").glob("*.jpg"))[:5]:
        image.rename(documents / "train/deeper" / image.name)
    listing = read("csv_images", documents)
    assert (listing.train["path"].str.startswith("train/deeper/")).sum() == 5
    assert "train.csv: ids matched by file name without extension" in listing.notes


def test_without_meta_and_sample(documents: Path) -> None:
    listing = read("csv_images", documents, classes_csv="", sample="")
    assert list(listing.classes.values()) == [str(i) for i in range(17)]
    assert len(listing.test) == 4


@pytest.mark.parametrize("folder", ["images", ""])
def test_train_and_test_may_lie_in_one_folder(documents: Path, folder: str) -> None:
    apart = read("csv_images", documents)
    (documents / "images").mkdir()
    for path in sorted([*(documents / "train").iterdir(), *(documents / "test").iterdir()]):
        path.rename(documents / folder / path.name)
    together = read("csv_images", documents, train_images=folder, test_images=folder)
    assert together.train["image_id"].tolist() == apart.train["image_id"].tolist()
    assert together.test["image_id"].tolist() == apart.test["image_id"].tolist()
    assert together.notes == apart.notes
    alone = read("csv_images", documents, train_images=folder, test_images=folder, sample="")
    assert sorted(alone.test["image_id"]) == sorted(apart.test["image_id"])
    shutil.copy(documents / together.test["path"].iloc[0], documents / folder / "extra.jpg")
    told = read("csv_images", documents, train_images=folder, test_images=folder).notes
    assert told[-1] == f"1 images are in neither table, such as {Path(folder) / 'extra.jpg'}"


def first_row(folder: Path) -> tuple[str, str]:
    image_id, label = (folder / "train.csv").read_text().splitlines()[1].split(",")
    return image_id, label


PIECES = ["..", ".", "/", "~", "\\", "C:", " ", "\n", "\u202e", "\u2069", "\x9f", "a", "b.png", "é" * 70, "é" * 130]


@given(st.lists(st.sampled_from(PIECES), max_size=5).map("".join))
def test_every_path_that_is_refused_looks_unusual(path: str) -> None:
    refused = path_problem(path) is not None
    try:
        check_paths(pd.Series([path], dtype="str"), table=Path("t.csv"))
    except DataError:
        assert refused
    else:
        assert not refused


Edit = Callable[[Path], object]


def append(line: str, name: str = "train.csv") -> Edit:
    def edit(folder: Path) -> None:
        image_id, label = first_row(folder)
        with open(folder / name, "a") as file:
            file.write(line.format(id=image_id, label=label) + "\n")

    return edit


def relabel(new: str) -> Edit:
    def edit(folder: Path) -> None:
        image_id, label = first_row(folder)
        replace(folder / "train.csv", f"{image_id},{label}\n", f"{image_id},{new}\n")

    return edit


def only_one_class(folder: Path) -> None:
    rows = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join(rows[:3]))


BROKEN: dict[str, tuple[Edit, str]] = {
    "no root": (shutil.rmtree, "is not a folder. Put the data there"),
    "no table": (lambda f: (f / "train.csv").unlink(), "train.csv not found"),
    "empty id": (append(" ,1"), "line 33: empty ID"),
    "id with two labels": (append("{id},9"), "has labels 0 (line 2) and 9 (line 33)"),
    "unknown class": (relabel("17"), "line 2: label '17'"),
    "negative class": (relabel("-1"), "line 2: label '-1'"),
    "text for a class": (relabel("cat"), "line 2: label 'cat'"),
    "empty label": (relabel(""), "line 2: label ''"),
    "fraction": (relabel("1.5"), "line 2: label '1.5'"),
    "one class": (only_one_class, "only one class"),
    "image missing": (lambda f: next((f / "train").iterdir()).unlink(), "1 of 31 images of"),
    "parent folder": (append("../secret.jpg,1"), "line 33: path leaves data root"),
    "absolute path": (append("/etc/passwd,1"), "line 33: path leaves data root"),
    "drive": (append("C:\\x.jpg,1"), "line 33: path leaves data root"),
    "control character": (append("a\tb.jpg,1"), "line 33: name not portable"),
    "class twice in meta": (append("3,again", "meta.csv"), "classes appear twice"),
    "class name twice": (lambda f: replace(f / "meta.csv", "document_1\n", "document_2\n"), "classes share a name"),
    "no sample": (lambda f: (f / "sample_submission.csv").unlink(), "sample_submission.csv not found"),
    "empty sample": (lambda f: (f / "sample_submission.csv").write_text(""), "is empty"),
    "id twice in sample": (
        lambda f: (f / "sample_submission.csv").write_text(
            (f / "sample_submission.csv").read_text() + (f / "sample_submission.csv").read_text().splitlines()[1]
        ),
        "ids appear twice",
    ),
    "sample row without image": (append("no.jpg,0", "sample_submission.csv"), "1 of 5 images of"),
    "test image without row": (
        lambda f: shutil.copy(next((f / "test").iterdir()), f / "test/extra.jpg"),
        "test images without a row",
    ),
    "test folder missing": (lambda f: shutil.rmtree(f / "test"), "test is not a folder"),
}


@pytest.mark.parametrize(("edit", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_documents_refuses(documents: Path, edit: Edit, message: str) -> None:
    edit(documents)
    with pytest.raises(DataError) as caught:
        read("csv_images", documents)
    assert message in str(caught.value)


MENDED: dict[str, tuple[Edit, str]] = {
    "same row twice": (append("{id},{label}"), "1 ids appear twice with the same label"),
    "float label": (relabel("0.0"), "labels read as numbers: '0.0'"),
    "blank before label": (relabel(" 0"), "labels read as numbers: ' 0'"),
    "full-width digit": (relabel("０"), "labels read as numbers: '０'"),
    "image not listed": (
        lambda f: shutil.copy(next((f / "train").iterdir()), f / "train/extra.jpg"),
        "1 images in",
    ),
    "class without rows": (append("17,passport", "meta.csv"), "class 17 (passport) has no rows"),
    "similar names": (append("17,Document_3 ", "meta.csv"), "differ by case or blanks only"),
}


@pytest.mark.parametrize(("edit", "note"), MENDED.values(), ids=MENDED.keys())
def test_documents_mends(documents: Path, edit: Edit, note: str) -> None:
    edit(documents)
    listing = read("csv_images", documents)
    assert len(listing.train) == 31
    assert first_row(documents)[0] in set(listing.train["image_id"])
    assert any(note in told for told in listing.notes), listing.notes


# --- class_folders ----------------------------------------------------------------------------------------------


def test_grains(tmp_path: Path) -> None:
    root = competitions.grains(tmp_path, each=10)
    options = {"train": ["Rice_Image_Dataset", "Pistachio_Image_Dataset"], "hold_out": 0.2}
    listing = read("class_folders", root, **options)
    assert list(listing.classes) == sorted(name for names in competitions.GRAINS.values() for name in names)
    assert listing.train["label"].value_counts().tolist() == [8] * 7
    assert listing.test["label"].value_counts().tolist() == [2] * 7
    assert not set(listing.train["path"]) & set(listing.test["path"])
    again = read("class_folders", root, **options, seed=1)
    assert set(again.test["path"]) != set(listing.test["path"])
    merged = read("class_folders", root, **options, names={"Ipsala": "rice", "Jasmine": "rice"})
    assert merged.train["label"].value_counts()["rice"] == 16


def test_image_folder_with_test_folders(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                competitions.save(tmp_path / part / name / f"{i}.png", competitions.picture(label, i))
    listing = read("class_folders", tmp_path, train=["train"], test=["val"])
    assert (len(listing.train), len(listing.test)) == (8, 4)
    assert listing.test["label"].tolist() == ["cat", "cat", "dog", "dog"]
    (tmp_path / "val/dog").rename(tmp_path / "val/wolf")
    with pytest.raises(DataError, match="classes that training does not have"):
        read("class_folders", tmp_path, train=["train"], test=["val"])
    shutil.rmtree(tmp_path / "val")
    competitions.save(tmp_path / "val/a.png", competitions.picture(0, 9))
    assert "label" not in read("class_folders", tmp_path, train=["train"], test=["val"]).test
    competitions.write(tmp_path / "sample.csv", [("id", "class"), ("a", "cat")])
    listing = read("class_folders", tmp_path, train=["train"], test=["val"], sample="sample.csv")
    assert listing.test[["image_id", "path"]].to_numpy().tolist() == [["a", "val/a.png"]]


def test_folders_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders of classes"):
        read("class_folders", tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read("class_folders", tmp_path)


# --- masks ------------------------------------------------------------------------------------------------------


def test_masks(tmp_path: Path) -> None:
    listing = read("masks", competitions.masks(tmp_path, persons=12))
    assert len(listing.train) == 84
    assert listing.train["group"].nunique() == 12
    assert len(listing.classes) == 18
    label = dict(zip(listing.train["image_id"], listing.train["label"], strict=True))
    assert label["000001_male_Asian_19/mask3.jpg"] == "0"
    assert label["000002_female_Asian_19/incorrect_mask.png"] == "9"
    assert label["000006_female_Asian_60/normal.jpeg"] == "17"
    assert listing.classes["17"] == "no mask, female, 60 and older"
    assert listing.sample is not None
    assert listing.sample.columns == ["ImageID", "ans"]


MASKS_BROKEN = {
    "gender": ("female,Asian,19", "f,Asian,19", "line 3: gender 'f'"),
    "age": ("male,Asian,19", "male,Asian,old", "line 2: age 'old'"),
    "age beyond": ("male,Asian,19", "male,Asian,190", "line 2: age '190'"),
    "person twice": ("000002_female_Asian_19", "000001_male_Asian_19", "is listed twice"),
    "folder missing": ("000002_female_Asian_19", "000099_female_Asian_19", "000099_female_Asian_19 has 0 of 7"),
    "path outside": ("000002_female_Asian_19", "../../images", "path leaves data root"),
}


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return competitions.masks(tmp_path_factory.mktemp("masks"), persons=6, tests=2)


@pytest.mark.parametrize(("old", "new", "message"), MASKS_BROKEN.values(), ids=MASKS_BROKEN.keys())
def test_masks_refuses(persons: Path, old: str, new: str, message: str) -> None:
    table = persons / "train/train.csv"
    before = table.read_text()
    replace(table, old, new)
    try:
        with pytest.raises(DataError) as caught:
            read("masks", persons)
    finally:
        table.write_text(before)
    assert message in str(caught.value)


def test_masks_wants_seven_pictures_of_each(tmp_path: Path) -> None:
    root = competitions.masks(tmp_path, persons=6, tests=2)
    (root / "train/images/000001_male_Asian_19/mask2.jpg").unlink()
    with pytest.raises(DataError, match="line 2: 000001_male_Asian_19 has 6 of 7"):
        read("masks", root)


# --- cifar ------------------------------------------------------------------------------------------------------


def test_cifar_versions_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = read("cifar", competitions.cifar100(tmp_path / "b", each=1))
    root = competitions.cifar100(tmp_path / "p", each=1, version="python")
    with pytest.raises(IntegrityError, match="not the official 16019d7e3df5f24257cddd939b257f8d: refused"):
        read("cifar", root)
    ours = {f"cifar-100-python/{name}": md5(root / "cifar-100-python" / name) for name in ("train", "test", "meta")}
    monkeypatch.setattr(pickled, "MD5", ours)
    python = read("cifar", root)
    assert binary.train["label"].tolist() == python.train["label"].tolist() == [str(i) for i in range(100)]
    assert binary.classes == python.classes
    for position in (0, 57, 99):
        one = binary.read("cifar-100-binary/train.bin", position)
        other = python.read("cifar-100-python/train", position)
        expected = competitions.tiny(position, position)
        assert np.array_equal(np.asarray(one), expected)
        assert np.array_equal(np.asarray(other), expected)
    coarse = read("cifar", tmp_path / "b", labels="coarse")
    assert len(coarse.classes) == 20
    assert coarse.train["label"].tolist()[99] == "19"


def md5(path: Path) -> str:
    import hashlib

    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_cifar_refuses(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds none of cifar-100-binary"):
        read("cifar", tmp_path)
    root = competitions.cifar100(tmp_path, each=1)
    data = (root / "cifar-100-binary/train.bin").read_bytes()
    (root / "cifar-100-binary/train.bin").write_bytes(data[:-7])
    with pytest.raises(DataError, match=r"no multiple of 3,074: cut off\?"):
        read("cifar", root)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch canary'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch canary\x85R.",
        b"cnumpy\nload\n(S'canary'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"",
        b"no pickle",
        b"\x80\x02]q\x00.",
    ],
)
def test_pickles_that_want_more_than_arrays(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"x (is no pickle of arrays|holds a list)"):
        pickled.unpickle_arrays(data, name="x")
    assert not list(tmp_path.iterdir())


# --- boxes ------------------------------------------------------------------------------------------------------


PET_OPTIONS = {"label_map": "label_map.json"}


def test_pets(tmp_path: Path) -> None:
    listing = read("boxes", competitions.pets(tmp_path), **PET_OPTIONS)
    assert list(listing.classes.values()) == list(competitions.PETS)
    assert (len(listing.train), len(listing.test)) == (48, 24)
    assert listing.train["group"].nunique() == 12
    assert listing.train["group"].iloc[0] == "frames/video_0000"
    assert "boxes read as xywh" in "\n".join(listing.notes)
    assert "label" in listing.test


FORMS = {
    "xyxy": ("[30, 20, 86, 76]", "[70, 40, 110, 80]"),
    "xywh": ("30 20 56 56", "70 40 40 40"),
    "normalised_xyxy": ("(0.2344;0.2083;0.6719;0.7917)", "(0.5469;0.4167;0.8594;0.8333)"),
    "normalised_xywh": ("0.2344 0.2083 0.4375 0.5833", "0.5469 0.4167 0.3125 0.4167"),
    "normalised_cxcywh": ("0.4531 0.5 0.4375 0.5833", "0.7813 0.625 0.4 0.4167"),
}


def rewrite_boxes(root: Path, boxes: tuple[str, ...]) -> None:
    for name in ("train.csv", "val.csv"):
        rows = [line.split(",")[:2] for line in (root / name).read_text().splitlines()[1:]]
        boxed = [(*row, f'"{boxes[i % len(boxes)]}"') for i, row in enumerate(rows)]
        competitions.write(root / name, [("image_path", "label", "bbox"), *boxed])


@pytest.mark.parametrize(("form", "boxes"), FORMS.items())
def test_forms_of_boxes_are_found_out(tmp_path: Path, form: str, boxes: tuple[str, ...]) -> None:
    root = competitions.pets(tmp_path, videos=6, frames=2)
    rewrite_boxes(root, boxes)
    listing = read("boxes", root, **PET_OPTIONS)
    assert f"boxes read as {form}:" in "\n".join(listing.notes)


@pytest.mark.parametrize(
    ("box", "message"),
    [("30 20 56 56", "fit as xyxy and as xywh alike"), ("a b", "no form of box fits"), ("1 2 3 4 5", "no form of box")],
)
def test_forms_that_cannot_be_told(tmp_path: Path, box: str, message: str) -> None:
    root = competitions.pets(tmp_path, videos=6, frames=1)
    rewrite_boxes(root, (box,))
    with pytest.raises(DataError, match=message):
        read("boxes", root, **PET_OPTIONS)


BOXES = {
    "good": ((30, 20, 86, 76), (30, 20, 86, 76), (30, 20, 86, 76)),
    "left of it": ((-4, 20, 86, 76), (0, 20, 86, 76), None),
    "beyond it": ((30, 20, 140, 99), (30, 20, 128, 96), None),
    "swapped": ((86, 76, 30, 20), None, None),
    "no area": ((30, 20, 30, 76), None, None),
    "outside": ((200, 20, 300, 76), None, None),
    "not a number": ((float("nan"), 20, 86, 76), None, None),
    "infinite": ((30, 20, float("inf"), 76), None, None),
    "rounded": ((-0.4, 0, 128.4, 96), (0, 0, 128, 96), (0, 0, 128, 96)),
}


@pytest.mark.parametrize(("box", "clipped", "kept"), BOXES.values(), ids=BOXES.keys())
def test_policies_of_boxes(box: tuple[float, ...], clipped: Any, kept: Any) -> None:
    row = {"path": "a.jpg", **dict(zip(("first", "second", "third", "fourth"), box, strict=True))}
    assert box_region(row, 128, 96, form="xyxy", policy="clip")[0] == clipped
    assert box_region(row, 128, 96, form="xyxy", policy="drop")[0] == kept
    if kept is None:
        with pytest.raises(DataError, match=r"a\.jpg: box \[.*in 128 x 96\. Set prepare\.options\.policy"):
            box_region(row, 128, 96, form="xyxy", policy="error")


def test_boxes_in_four_columns_and_other_label_maps(tmp_path: Path) -> None:
    root = competitions.pets(tmp_path, videos=6, frames=2)
    header = ("image_path", "label", "x", "y", "w", "h")
    for name in ("train.csv", "val.csv"):
        rows = [line.split(",")[:2] for line in (root / name).read_text().splitlines()[1:]]
        competitions.write(root / name, [header, *((*row, 30, 20, 56, 56) for row in rows), (*rows[0], 0, 0, 20, 20)])
    (root / "map.json").write_text(json.dumps({str(i): name for i, name in enumerate(competitions.PETS)}))
    listing = read("boxes", root, box=list(header[2:]), label_map="map.json", form="xywh")
    assert list(listing.classes.values()) == list(competitions.PETS)
    assert listing.train["image_id"].iloc[-1] == listing.train["path"].iloc[0] + "#2"
    competitions.write(root / "map.csv", [("value", "name"), *enumerate(competitions.PETS)])
    assert read("boxes", root, box=list(header[2:]), label_map="map.csv", form="xywh").classes == listing.classes
    for text, message in (("{", "is not JSON"), ("[1]", "expected {name: value}")):
        (root / "map.json").write_text(text)
        with pytest.raises(DataError, match=message):
            read("boxes", root, box=list(header[2:]), label_map="map.json")


# --- idx --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_fashion(tmp_path: Path, packed: bool) -> None:
    root = competitions.fashion(tmp_path, each=3, tests=2, packed=packed)
    listing = read("idx", root, names=[f"piece {i}" for i in range(10)])
    assert (len(listing.train), len(listing.test)) == (30, 20)
    assert listing.classes["9"] == "piece 9"
    row = listing.train.iloc[4]
    assert (row["image_id"], row["label"]) == ("train/00004", "1")
    grey = competitions.digits()[0][np.flatnonzero(competitions.digits()[1] == 1)[1]]
    assert np.array_equal(np.asarray(listing.read(row["path"], 4))[:, :, 2], grey)


def test_fashion_refuses(tmp_path: Path) -> None:
    root = competitions.fashion(tmp_path, each=3, tests=2, packed=False)
    with pytest.raises(IntegrityError, match="has SHA-256"):
        read("idx", root, sha256={"train-images-idx3-ubyte": "0" * 64})
    with pytest.raises(DataError, match="label 9 has no name"):
        read("idx", root, names=["one"])
    labels = root / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for data, message in (
        (whole[:-1], "claims 30 bytes and holds fewer"),
        (whole + b"x", "holds more"),
        (b"\0\0\x08\x02" + whole[4:], "not an idx file"),
        (b"\0\0\x08\x01" + (29).to_bytes(4, "big") + whole[8:-1], "29 labels"),
    ):
        labels.write_bytes(data)
        with pytest.raises(DataError, match=message):
            read("idx", root)
    labels.unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte not found, nor"):
        read("idx", root)


def test_cut_gzip(tmp_path: Path) -> None:
    root = competitions.fashion(tmp_path, each=3, tests=2)
    path = root / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="damaged or cut off"):
        read("idx", root)
