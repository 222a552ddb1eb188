"""prepare: every layout ends in one index; the same bytes however it ran; nothing published before all is checked."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from layouts import canonical, facts, making, tasks
from layouts.patch import patched
from layouts.records import Listing, layout
from stages.prepare import PrepareParams, main, prepare
from stages.tables import Index, read_index
from storage.errors import DataError, ParamsError, ResourceError
from storage.shards import Shards
from tests import competitions

ROOT = Path(__file__).parents[2]
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "csv_images": (lambda f: competitions.documents(f, each=2, tests=6, width=120), {"max_side": 64}),
    "class_folders": (competitions.grains, {"options": {"train": list(competitions.GRAINS)}}),
    "masks": (lambda f: competitions.masks(f, persons=6, tests=3), {"encoding": "jpeg"}),
    "cifar": (lambda f: competitions.cifar100(f, each=1), {}),
    "boxes": (competitions.pets, {"options": {"label_map": "label_map.json", "policy": "clip"}}),
    "idx": (lambda f: competitions.fashion(f, each=4, tests=2), {}),
}


def run(root: Path, out: Path, **params: Any) -> dict[str, Any]:
    chosen = PrepareParams(**params)
    return prepare(listing(root, **params), out, chosen, work=out.parent / "work")


def listing(root: Path, **params: Any) -> Listing:
    chosen = PrepareParams(**params)
    module = layout(chosen.layout)
    return module.listing(root, module.Options(**chosen.options))


def picture(index: Index, row: Any) -> Any:
    data = Shards(index.folder).read(row["shard"], row["offset"], row["size"])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    return competitions.fashion(tmp_path / "raw", each=60, tests=3)


@pytest.mark.parametrize("name", CASES)
def test_every_layout_becomes_an_index(tmp_path: Path, name: str) -> None:
    lay_out, params = CASES[name]
    root = lay_out(tmp_path / "raw")
    report = run(root, tmp_path / "index", layout=name, **params)
    index = read_index(tmp_path / "index")
    source = listing(root, layout=name, **params)
    assert index.train["image_id"].tolist() == source.train["image_id"].tolist()
    assert index.classes.submission.row_ids == source.test["image_id"].tolist()
    names = [source.classes[value] for value in source.train["label"]]
    assert [index.classes.names[label] for label in index.train["label"]] == names
    assert sum(report["classes"].values()) == len(index.train)
    for _, row in index.train.iloc[::7].iterrows():
        assert picture(index, row).shape == (row["height"], row["width"], 3)
    assert (tmp_path / "index/answers.csv").exists() == ("label" in source.test)
    assert not any((tmp_path / "work").iterdir())


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    root = competitions.documents(tmp_path / "raw", each=2, tests=2, width=64)
    run(root, tmp_path / "index")
    index = read_index(tmp_path / "index")
    row = index.train.iloc[3]
    assert np.array_equal(picture(index, row), np.asarray(Image.open(root / "train" / row["image_id"])))
    with tarfile.open(index.folder / row["shard"]) as shard:
        assert shard.getnames()[3] == row["image_id"].replace(".jpg", ".png")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_workers_and_rests_of_other_runs_do_not_change_a_byte(fashion: Path, tmp_path: Path) -> None:
    source = listing(fashion, layout="idx")
    chosen = PrepareParams(layout="idx")
    prepare(source, tmp_path / "one", chosen, work=tmp_path / "w1", workers=1)
    prepare(source, tmp_path / "two", chosen, work=tmp_path / "w2", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    folder = next((tmp_path / "w1").parent.glob("w1")) / "rests"
    folder.mkdir()
    for task in tasks.tasks(source, tasks.Form(max_side=20), folder):
        canonical.run(task)  # of other settings: they must not be taken for finished
        facts.settle(task)
    other = [facts.finished(task) for task in tasks.tasks(source, tasks.Form(), folder)]
    assert other == [None] * len(other)


def test_finished_shards_are_not_made_again(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, form = listing(fashion, layout="idx"), tasks.Form()
    folder = tmp_path / "work"
    folder.mkdir()
    parts = list(tasks.tasks(source, form, folder))
    assert len(parts) == 4
    before = [canonical.run(task) for task in parts]
    assert [facts.finished(task) for task in parts] == [None] * 4  # until they are safe on the disk
    for task in parts:
        facts.settle(task)
    monkeypatch.setattr(canonical, "encode_bgr", lambda *_, **__: pytest.fail("made again"))
    assert [canonical.run(task) for task in parts] == before
    os.utime(fashion / "train-images-idx3-ubyte.gz", (1, 1))
    assert facts.finished(parts[0]) is None


def test_killed_in_the_middle_it_continues_to_the_same_bytes(tmp_path: Path) -> None:
    competitions.fashion(tmp_path / "raw", each=400, tests=2)
    (tmp_path / "params.yaml").write_text("prepare: {root: raw, layout: idx}\n")
    arguments = [sys.executable, "-m", "stages.prepare", "--raw", "raw", "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def start(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*arguments, *more], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    work = tmp_path / "work"
    child = start("--out", "index", "--work", "work")
    while not list(work.glob("*/*.parquet")) and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (tmp_path / "index").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in work.glob("*/*.parquet")}
    kept = Path(shutil.copytree(work, tmp_path / "copy"))
    assert finished
    assert start("--out", "index", "--work", "work").communicate()[0].startswith(b"prepare: 4,000 training")
    for name in finished:  # what the killed run finished is what the index holds
        tar = name.replace(".parquet", ".tar")
        assert next(kept.glob(f"*/{tar}")).read_bytes() == (tmp_path / "index" / tar).read_bytes()
    prepare(
        listing(tmp_path / "raw", layout="idx"), tmp_path / "whole", PrepareParams(layout="idx"), work=tmp_path / "w"
    )
    assert contents(tmp_path / "index") == contents(tmp_path / "whole")


def test_all_bad_images_are_told_and_nothing_is_published(tmp_path: Path) -> None:
    root = competitions.documents(tmp_path / "raw", each=2, tests=4, width=64)
    images = sorted((root / "train").iterdir())
    whole = images[0].read_bytes()
    images[0].write_bytes(whole[: len(whole) // 2])
    images[1].write_bytes(b"")
    images[2].write_bytes(b"<html>")
    images[3].unlink()
    images[3].symlink_to(images[4])
    with pytest.raises(DataError) as caught:
        run(root, tmp_path / "index")
    message = str(caught.value)
    assert "4 in all" in message
    for image, problem in zip(images, ("cut off", "empty", "an HTML page", "symbolic link"), strict=False):
        assert re.search(f"train/{image.name} .*{problem}", message)
    assert message.endswith("may be left out: prepare.truncated: drop")
    assert not (tmp_path / "index").exists()
    images[0].write_bytes(whole)
    for image in images[1:4]:
        image.unlink()
        shutil.copy(images[4], image)
    assert run(root, tmp_path / "index")["train_images"] == 31


def test_truncated_images_may_be_left_out_of_training_but_not_of_the_test(tmp_path: Path) -> None:
    root = competitions.documents(tmp_path / "raw", each=2, tests=4, width=64)
    for part in ("train", "test"):
        victim = sorted((root / part).iterdir())[0]
        data = victim.read_bytes()
        victim.write_bytes(data[: len(data) // 2])
        if part == "train":
            report = run(root, tmp_path / "index", truncated="drop")
            assert report["train_images"] == 30
            assert report["images"] == {"cut off, left out": 1}
    with pytest.raises(DataError, match="1 test images were left out"):
        run(root, tmp_path / "index", truncated="drop")


def test_equal_pictures(tmp_path: Path) -> None:
    root = competitions.documents(tmp_path / "raw", each=2, tests=4, width=64)
    rows = [line.split(",") for line in (root / "train.csv").read_text().splitlines()[1:]]
    one, other = rows[0][0], rows[-1][0]
    shutil.copy(root / "train" / one, root / "train" / other)
    shutil.copy(root / "train" / one, next((root / "test").iterdir()))
    report = run(root, tmp_path / "index")
    assert report["contradictions"] == [", ".join(sorted([one, other]))]
    assert len(report["test_equal_to_train"]) == 1
    assert "(leak)" in report["warnings"][1]
    with pytest.raises(DataError, match="equal pictures with different labels"):
        run(root, tmp_path / "index", strict=True)


def test_plain_files_are_kept_and_equal_pictures_are_found_among_all_formats(tmp_path: Path) -> None:
    root = competitions.documents(tmp_path / "raw", each=2, tests=2, width=64)
    files = sorted((root / "train").iterdir())
    picture_of, turned = Image.open(files[0]), Image.Exif()
    turned[0x0112] = 6
    picture_of.load()
    data = files[0].read_bytes()
    files[1].write_bytes(data + b"PK\x03\x04 a tail")
    for file, format_, options in (
        (files[2], "PNG", {}),
        (files[3], "BMP", {}),
        (files[4], "PNG", {"compress_level": 9}),
        (files[5], "JPEG", {"exif": turned}),
        (files[6], "JPEG", {"progressive": True}),
    ):
        picture_of.save(file, format_, **options)
    report = run(root, tmp_path / "index", encoding="jpeg")
    index = read_index(tmp_path / "index")
    assert report["images"]["kept as they were"] == len(index.train) + len(index.test) - 5
    alike = index.train[index.train["sha256"] == index.train["sha256"].iloc[0]]
    assert len(alike) == 5  # the first five, of three formats
    assert len({picture(index, row).tobytes() for _, row in alike.iloc[:2].iterrows()}) == 1
    for place in (0, 7, 12):
        row = index.train.iloc[place]
        assert (picture(index, row) == np.asarray(Image.open(root / "train" / row["image_id"]))).all()
    assert (index.train["width"].iloc[5], index.train["height"].iloc[5]) == picture_of.size[::-1]
    report = run(root, tmp_path / "smaller", encoding="jpeg", max_side=32)
    assert "kept as they were" not in report["images"]


def test_patch(fashion: Path, tmp_path: Path) -> None:
    source = listing(fashion, layout="idx")
    path = tmp_path / "labels.patch.csv"
    competitions.write(path, [("id", "old", "new", "why")])
    assert patched(source, path) is source
    competitions.write(
        path, [("id", "old", "new", "why"), ("train/00000", 0, 7, "a seven"), ("train/00001", 0, "", "blurred")]
    )
    better = patched(source, path)
    assert better.train["label"].iloc[0] == "7"
    assert len(better.train) == len(source.train) - 1
    assert "2 labels corrected, 1 of them by leaving the image out" in better.notes[-1]
    for row, message in (
        (("train/99999", 0, 7, ""), "line 2: no training image 'train/99999'"),
        (("train/00000", 3, 7, ""), "line 2: train/00000 has label 0, not 3"),
        (("train/00000", 0, "x", ""), "line 2: new label 'x' is no class"),
    ):
        competitions.write(path, [("id", "old", "new", "why"), row])
        with pytest.raises(DataError, match=message):
            patched(source, path)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("id,class", "labels"),
        ("id," + ",".join(f"document_{i}" for i in range(17)), "probabilities"),
        ("id," + ",".join(str(i) for i in reversed(range(17))), "probabilities"),
        ("id,a,b", None),
        ("id," + ",".join(f"document_{i}" for i in range(16)), None),
    ],
)
def test_kinds_of_submission(tmp_path: Path, header: str, kind: str | None) -> None:
    root = competitions.documents(tmp_path / "raw", each=2, tests=2, width=64)
    columns = header.count(",")
    rows = [
        line.split(",")[0] + ",0" * columns for line in (root / "sample_submission.csv").read_text().splitlines()[1:]
    ]
    (root / "sample_submission.csv").write_bytes("\r\n".join([header, *rows]).encode("utf-8-sig"))
    if kind is None:
        with pytest.raises(
            DataError, match=r"expected an id and either one column of labels or one per class.* has no counterpart"
        ):
            run(root, tmp_path / "index", max_side=32)
        assert not (tmp_path / "index").exists()
        return
    run(root, tmp_path / "index", max_side=32)
    form = read_index(tmp_path / "index").classes.submission
    assert (form.kind, form.columns) == (kind, header.split(","))
    assert (form.newline, form.bom, form.final_newline) == ("\r\n", True, False)


def test_main_reads_params_and_refuses_unknown_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = competitions.fashion(tmp_path / "raw", each=3, tests=2)
    params = tmp_path / "params.yaml"
    params.write_text("prepare:\n  layout: idx\n  options: {nmaes: [a]}\n")
    with pytest.raises(ParamsError, match=r"params.yaml:3: prepare.options.nmaes: unknown; did you mean names\?"):
        main(root, tmp_path / "index", work=tmp_path / "work", params=params)
    params.write_text("prepare:\n  layout: idx\n  encoding: jpeg\n")
    main(root, tmp_path / "index", work=tmp_path / "work", params=params)
    assert "30 training and 20 test images, 10 classes of 3 to 3" in capsys.readouterr().out
    assert json.loads((tmp_path / "index.json").read_text())["train_images"] == 30


def test_files_that_no_table_lists_change_the_report_and_not_the_index(tmp_path: Path) -> None:
    root, params = competitions.documents(tmp_path / "raw", each=2, tests=4, width=32), tmp_path / "params.yaml"
    params.write_text("prepare: {layout: csv_images}\n")
    for name in ("before", "after"):
        main(root, tmp_path / name, work=tmp_path / "work", params=params)
        shutil.copy(next((root / "train").iterdir()), root / "train/unlisted.jpg")
    before, after = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("before", "after")
    )
    assert before == after
    assert "not listed" in (tmp_path / "after.json").read_text()


def full(root: Path, path: str, position: int) -> bytes:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_and_costs_no_finished_shard(fashion: Path, tmp_path: Path) -> None:
    source = listing(fashion, layout="idx")
    task = next(iter(tasks.tasks(source, tasks.Form(), tmp_path)))
    canonical.run(task)
    facts.settle(task)
    stuck = Listing(source.root, source.train, source.test, source.classes, load=full)
    with pytest.raises(ResourceError, match=r"is full \([\d,]+ bytes free\)"):
        prepare(stuck, tmp_path / "index", PrepareParams(layout="idx"), work=tmp_path / "work")
    assert facts.finished(task) is not None


def crash(root: Path, path: str, position: int) -> bytes:
    if path.startswith("train") and position == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.startswith("train") and position == 300:
        return b""
    return PICTURE


def swell(root: Path, path: str, position: int) -> bytes:
    return bytes(64 * 2**30) if position == 5 else PICTURE


PICTURE = cv2.imencode(".png", competitions.picture(0, 0))[1].tobytes()


def test_a_decoder_that_crashes_is_one_bad_image_among_others(fashion: Path, tmp_path: Path) -> None:
    source = listing(fashion, layout="idx")
    deadly = Listing(source.root, source.train, source.test, source.classes, load=crash)
    with pytest.raises(DataError) as caught:
        prepare(deadly, tmp_path / "index", PrepareParams(layout="idx"), work=tmp_path / "work", workers=2)
    told = str(caught.value)
    assert "(2 in all)" in told
    assert "(train/00005): reading it takes the process down (SIGSEGV(-11))" in told
    assert "is empty (0 bytes)" in told
    assert not (tmp_path / "index").exists()


def test_an_image_that_takes_all_memory_is_named(fashion: Path, tmp_path: Path) -> None:
    source, form = listing(fashion, layout="idx"), tasks.Form()
    swollen = Listing(source.root, source.train, source.test, source.classes, load=swell)
    todo = {task.name: task for task in tasks.tasks(swollen, form, tmp_path)}
    name = next(iter(todo))
    for position, told in ((5, "more than 2,147,483,648 bytes of memory"), (6, "")):
        with canonical.marking(todo[name].path(".now")) as mark:  # as a killed run leaves it
            mark(position)
        found = making.deadly(todo)
        assert (len(found) == 1 and "train/00005" in found[0] and told in found[0]) if told else not found
    assert todo[name].skip == {5}


def test_a_disk_that_is_too_small_is_told_before_the_start(
    fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = listing(fashion, layout="idx")
    prepare(source, tmp_path / "index", PrepareParams(layout="idx"), work=tmp_path / "w1")
    real = sum(path.stat().st_size for path in (tmp_path / "index").glob("*.tar"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: usage._replace(free=real // 2))
    with pytest.raises(ResourceError, match=r"630 images will take about .* bytes, and the disk of") as caught:
        prepare(source, tmp_path / "other", PrepareParams(layout="idx"), work=tmp_path / "w2")
    estimate = int(re.findall(r"about ([\d,]+) bytes", str(caught.value))[0].replace(",", ""))
    assert abs(estimate / real - 1) < 0.2
    assert not list((tmp_path / "w2").rglob("*.tar"))
