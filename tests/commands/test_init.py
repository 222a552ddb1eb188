"""init proposes a params.yaml that prepare can use; use puts recipes in place and loses nothing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from commands import init, use
from layouts import class_folders
from layouts.guess import guess
from stages.params import read_params
from stages.prepare import PrepareParams
from stages.prepare import main as prepare
from stages.submit import SubmitParams
from storage.errors import DataError, ParamsError
from tests import competitions

KNOWN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "documents": (lambda folder: competitions.documents(folder, each=2, tests=4, width=40), "csv_images"),
    "masks": (lambda folder: competitions.masks(folder, persons=6, tests=3), "masks"),
    "cifar": (lambda folder: competitions.cifar100(folder, each=1), "cifar"),
    "grains": (lambda folder: competitions.grains(folder, each=4), "class_folders"),
    "pets": (lambda folder: competitions.pets(folder, frames=3), "boxes"),
    "fashion": (lambda folder: competitions.fashion(folder, each=3, tests=2), "idx"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_init_recognises(tmp_path: Path, name: str) -> None:
    lay_out, expected = KNOWN[name]
    root, params = lay_out(tmp_path / "raw"), tmp_path / "params.yaml"
    init.main(root, write=True, params=params)
    values = read_params(params).values
    assert values["prepare"]["layout"] == expected
    assert PrepareParams(**values["prepare"])
    assert SubmitParams(**values["submit"]).name == re.sub("[^a-z0-9]", "-", values["prepare"]["root"].split("/")[-1])
    if name == "pets":  # bad boxes are for a person to decide about
        values["prepare"]["options"]["policy"] = "drop"
        params.write_text(yaml.safe_dump(values))
    prepare(root, tmp_path / "index", work=tmp_path / "work", params=params)


def unlike(folder: Path) -> None:
    """Names, columns and folders of somebody else's competition."""
    rows: list[tuple[object, ...]] = [("file", "patient_id", "diagnosis")]
    for i in range(12):
        competitions.save(folder / "images/training" / f"p{i}.png", competitions.picture(i % 3, i))
        rows.append((f"p{i}", i // 2, f"kind {i % 3}"))
    competitions.write(folder / "labels.csv", rows)
    competitions.save(folder / "images/testing/q.png", competitions.picture(0, 50))
    competitions.write(folder / "SampleSubmission.csv", [("file", "diagnosis"), ("q", "kind 0")])
    competitions.write(folder / "notes.csv", [("a", "b"), (1, 2)])


def test_init_finds_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unlike(tmp_path)
    (proposal,) = [one for one in guess(tmp_path) if one.layout == "csv_images"]
    assert proposal.options == {
        "train_csv": "labels.csv",
        "train_images": "images/training",
        "id": "file",
        "label": "diagnosis",
        "sample": "SampleSubmission.csv",
        "test_images": "images/testing",
        "classes_csv": "",
        "group": "patient_id",
    }
    init.main(tmp_path, params=tmp_path / "params.yaml")
    told = capsys.readouterr().out
    assert "patient_id repeats: its images share a fold" in told
    assert "Nothing was written" in told
    assert not (tmp_path / "params.yaml").exists()


def folders_and_a_test(folder: Path) -> list[str]:
    """Class folders with a test folder of images only, and a sample that names them in another order."""
    for i in range(8):
        competitions.save(folder / f"train/kind {i % 2}/0{i}.png", competitions.picture(i % 2, i))
        competitions.save(folder / f"test/images/0{i}.png", competitions.picture(i % 2, 50 + i))
    ids = [f"0{i}" for i in reversed(range(8))]
    competitions.write(folder / "sample_submission.csv", [("file", "label"), *((name, "kind 0") for name in ids)])
    return ids


def test_init_finds_a_test_folder_without_classes(tmp_path: Path) -> None:
    ids = folders_and_a_test(tmp_path)
    competitions.save(tmp_path / "val/kind 1/0.png", competitions.picture(1, 70))
    competitions.save(tmp_path / "val/kind 0/0.png", competitions.picture(0, 71))
    (proposal,) = guess(tmp_path)
    assert proposal.options == {"train": ["train", "val"], "test": ["test"], "sample": "sample_submission.csv"}
    listing = class_folders.listing(tmp_path, class_folders.Options(**proposal.options))
    assert (len(listing.train), listing.test["image_id"].tolist()) == (10, ids)
    (tmp_path / "sample_submission.csv").unlink()
    (proposal,) = guess(tmp_path)
    assert proposal.options == {"train": ["train", "val"], "test": ["test"]}
    assert "test images: test; no sample submission names them" in proposal.why


def test_a_test_folder_beside_the_class_folders_is_no_class(tmp_path: Path) -> None:
    folders_and_a_test(tmp_path)
    for folder in sorted((tmp_path / "train").iterdir()):
        folder.rename(tmp_path / folder.name)
    (tmp_path / "train").rmdir()
    (proposal,) = guess(tmp_path)
    listing = class_folders.listing(tmp_path, class_folders.Options(**proposal.options))
    assert (list(listing.classes), len(listing.test)) == (["kind 0", "kind 1"], 8)


def test_init_proposes_log_loss_where_probabilities_are_asked_for(tmp_path: Path) -> None:
    ids = folders_and_a_test(tmp_path)
    for head, values, metric in (("label", ("kind 0",), "macro_f1"), ("kind 0,kind 1", (0.5, 0.5), "log_loss")):
        rows = [("file", *head.split(",")), *((name, *values) for name in ids)]
        competitions.write(tmp_path / "sample_submission.csv", rows)
        init.main(tmp_path, write=True, force=True, params=tmp_path / "params.yaml")
        assert read_params(tmp_path / "params.yaml").values["blend"]["metric"] == metric


def test_init_says_why_a_known_layout_cannot_be_read(tmp_path: Path) -> None:
    folders_and_a_test(tmp_path)
    (tmp_path / "train/kind 2").mkdir()
    with pytest.raises(DataError, match=r"by the layout class_folders: .*kind 2 holds no images") as refused:
        init.main(tmp_path)
    assert "fits no layout" not in str(refused.value)


def test_init_says_which_table_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,label\na,b\nc\n")
    with pytest.raises(DataError, match="line 3: no value for 'label'"):
        init.main(tmp_path)


def test_a_table_of_test_images_is_no_sample_submission(tmp_path: Path) -> None:
    unlike(tmp_path)
    (tmp_path / "SampleSubmission.csv").unlink()
    competitions.write(tmp_path / "test.csv", [("file", "camera"), ("q", "A")])
    (proposal,) = [one for one in guess(tmp_path) if one.layout == "csv_images"]
    assert (proposal.options["sample"], proposal.options["test_images"]) == ("", "images/testing")
    assert proposal.why[-2].startswith("no table looks like a sample submission")
    competitions.write(tmp_path / "test.csv", [("file", "diagnosis"), ("q", "kind 0")])
    (proposal,) = [one for one in guess(tmp_path) if one.layout == "csv_images"]
    assert proposal.options["sample"] == "test.csv"


def test_a_column_for_each_class_is_told(tmp_path: Path) -> None:
    unlike(tmp_path)
    rows = [("file", "cat", "dog"), *((f"p{i}", i % 2, 1 - i % 2) for i in range(12))]
    competitions.write(tmp_path / "labels.csv", rows)
    competitions.write(tmp_path / "SampleSubmission.csv", [("file", "cat", "dog"), ("q", 0.5, 0.5)])
    with pytest.raises(DataError, match=r"labels\.csv has a column for each class \(cat, dog\); one column of labels"):
        init.main(tmp_path)


def test_init_says_what_it_saw_and_what_a_run_will_cost(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [("file", "photographer", "kind")]
    for i in range(30):
        competitions.save(tmp_path / f"wear/train_images/{i % 2}/p{i}.png", competitions.picture(i % 3, i))
        rows.append((f"p{i}", i // 10, f"kind {i % 3}"))
    competitions.write(tmp_path / "wear/train.csv", rows)
    competitions.save(tmp_path / "wear/test_images/a/q.png", competitions.picture(0, 50))
    competitions.write(tmp_path / "wear/sample.csv", [("file", "kind"), ("q", "kind 0")])
    broken = tmp_path / "wear/train_images/0/p4.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    init.main(tmp_path / "wear", write=True, params=tmp_path / "params.yaml")
    text, values = (tmp_path / "params.yaml").read_text(), read_params(tmp_path / "params.yaml").values
    told = values["prepare"]["options"]
    assert (told["train_images"], told["test_images"]) == ("train_images", "test_images/a")
    assert "not listed" not in text
    assert "unused columns: photographer (3 different)" in text
    assert "1 of 30 images that were looked at cannot be read, such as: train_images/0/p4.png" in text
    assert f"training reads {30 * 2 * 11 * 3 * 10:,} images" in text
    assert (values["train"]["threads"], values["augment"]["mixup"]) == (1, {"probability": 0.1})
    assert values["submit"]["name"] == "wear"


def test_init_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fits no layout: no table names its images"):
        init.main(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        init.main(tmp_path / "absent")
    competitions.documents(tmp_path / "raw", each=2, tests=2, width=32)
    (tmp_path / "around/raw").mkdir(parents=True)
    (tmp_path / "raw").rename(tmp_path / "around/raw/wear")
    with pytest.raises(DataError, match=r"folder around a competition: podium init '.*around/raw/wear'"):
        init.main(tmp_path / "around")
    (tmp_path / "around/raw/wear").rename(tmp_path / "raw")
    table = tmp_path / "raw/train.csv"
    table.write_text(table.read_text() + "../x.jpg,1\n")
    with pytest.raises(DataError, match="path leaves data root"):
        init.main(tmp_path / "raw")


def test_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(use, "RECIPES", tmp_path / "recipes")
    for name in ("documents", "pets"):
        (tmp_path / f"recipes/{name}").mkdir(parents=True)
        (tmp_path / f"recipes/{name}/params.yaml").write_text(f"# {name}: a recipe\nfolds: [0]\n")
    params = tmp_path / "params.yaml"
    use.main()
    assert "pets           pets: a recipe" in capsys.readouterr().out
    use.main("documents", params=params)
    use.main("pets", params=params)  # an unchanged recipe may be replaced
    assert params.read_text().startswith("# pets")
    params.write_text("# mine\n")
    with pytest.raises(ParamsError, match="has changes that no recipe has"):
        use.main("documents", params=params)
    assert params.read_text() == "# mine\n"
    use.main("documents", params=params, force=True)
    assert (tmp_path / "params.yaml.bak").read_text() == "# mine\n"
    params.write_text("# mine again\n")
    use.main("documents", params=params, force=True)
    assert (tmp_path / "params.yaml.bak1").read_text() == "# mine again\n"
    with pytest.raises(ParamsError, match=r"no recipe 'pet'; did you mean pets\?"):
        use.main("pet", params=params)
