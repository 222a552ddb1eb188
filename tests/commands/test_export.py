"""podium export: the right images in the right folders, names that hurt nobody, nothing foreign replaced."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.albums import Item, safe_name, unique, write_albums
from analysis.pictures import Pictures
from commands.main import run
from storage.errors import DataError, ParamsError
from storage.shards import Shards
from tests.contest import Contest, build
from tests.small_index import digits, index_of


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    return build(tmp_path_factory.mktemp("contest"), n_train=120, n_test=80)


def export(contest: Contest, out: Path, *arguments: str) -> pd.DataFrame:
    """Run the verb and read its table back."""
    folder = contest.folder
    places = {"--index": "data/index", "--folds": "data/folds/folds.parquet", "--predictions": "data/predictions"}
    places |= {"--blend": "data/blend", "--team": "submissions/team", "--params": "params.yaml"}
    words = [word for option, path in places.items() for word in (option, str(folder / path))]
    with pytest.raises(SystemExit) as ended:
        run("export", [*arguments, "--out", str(out), *words])
    assert ended.value.code in (0, None)
    table = pd.read_csv(out / "export.csv")
    assert all((out / folder / file).is_file() for folder, file in zip(table["folder"], table["file"], strict=True))
    assert (out / "index.html").is_file()
    return table


def test_by_class_holds_every_training_image(contest: Contest, tmp_path: Path) -> None:
    table = export(contest, tmp_path / "x", "--by", "class")
    names = [contest.index.classes.names[label] for label in contest.index.train["label"]]
    assert dict(zip(table["image_id"], table["folder"], strict=True)) == dict(
        zip(contest.index.train["image_id"], names, strict=True)
    )
    picture = cv2.imread(str(tmp_path / "x" / table["folder"][0] / table["file"][0]))
    assert picture is not None and picture.shape == (28, 28, 3)


def test_by_predicted_puts_the_least_certain_first(contest: Contest, tmp_path: Path) -> None:
    table = export(contest, tmp_path / "x", "--by", "predicted", "--source", "trees")
    assert sorted(table["image_id"]) == sorted(contest.index.test["image_id"])
    certainty = table["about"].str.extract(r"([\d.]+)%")[0].astype(float)
    assert all(part.is_monotonic_increasing for _, part in certainty.groupby(table["folder"]))


def test_the_blend_is_shown_with_the_labels_that_it_chose(contest: Contest, tmp_path: Path) -> None:
    chosen = contest.index.test[["image_id"]].assign(label=3)
    path = contest.folder / "data/blend/labels.parquet"
    chosen.to_parquet(path)
    try:
        assert set(export(contest, tmp_path / "x", "--by", "predicted")["folder"]) == {"digit 3"}
    finally:
        path.unlink()


def test_a_team_file_is_a_source(contest: Contest, tmp_path: Path) -> None:
    path = contest.folder / "submissions/team/lee.csv"
    table = export(contest, tmp_path / "x", "--by", "predicted", "--source", str(path))
    said = pd.read_csv(path).set_index("ID")["target"]
    assert all(folder == f"digit {said[i]}" for i, folder in zip(table["image_id"], table["folder"], strict=True))


def test_by_pair_shows_the_mistakes_on_held_out_images(contest: Contest, tmp_path: Path) -> None:
    table = export(contest, tmp_path / "x", "--by", "pair", "--source", "bayes")
    truth = contest.index.train.set_index("image_id")["label"]
    for image_id, folder in zip(table["image_id"], table["folder"], strict=True):
        given, said = folder.split(" as ")
        assert given == f"digit {truth[image_id]}" != said


def test_disputes_name_who_said_what(contest: Contest, tmp_path: Path) -> None:
    (contest.folder / "data/predictions/of an earlier contest/0").mkdir(parents=True)
    table = export(contest, tmp_path / "x", "--by", "pair", "--disputed")
    labels = {
        name: pd.read_csv(contest.folder / f"submissions/team/{name}.csv").set_index("ID")["target"]
        for name in ("kim", "lee")
    }
    differ = set(labels["kim"].index[labels["kim"] != labels["lee"]])
    assert differ <= set(table["image_id"])
    assert all(" or " in folder for folder in table["folder"])
    assert table["about"].str.contains("kim.csv").all() and table["about"].str.contains("bayes").all()


def test_between_two_files_folders_say_what_each_says(contest: Contest, tmp_path: Path) -> None:
    (contest.folder / "submissions/team/lee.json").write_text('{"tainted": true}')
    table = export(contest, tmp_path / "x", "--by", "pair", "--disputed", "--between", "kim", "--between", "lee")
    (contest.folder / "submissions/team/lee.json").unlink()
    labels = {
        name: pd.read_csv(contest.folder / f"submissions/team/{name}.csv").set_index("ID")["target"]
        for name in ("kim", "lee")
    }
    assert set(table["image_id"]) == set(labels["kim"].index[labels["kim"] != labels["lee"]])
    for image_id, folder in zip(table["image_id"], table["folder"], strict=True):
        assert folder == f"kim says digit {labels['kim'][image_id]}, lee says digit {labels['lee'][image_id]}"
    assert "Tainted" in (tmp_path / "x/index.html").read_text()


def test_suspicious_labels_are_training_images(contest: Contest, tmp_path: Path) -> None:
    table = export(contest, tmp_path / "x", "--by", "pair", "--suspicious", "--source", "trees")
    assert set(table["image_id"]) <= set(contest.index.train["image_id"])
    assert table["folder"].str.contains(" perhaps ").all()


def test_limit_and_second_export_into_the_same_folder(contest: Contest, tmp_path: Path) -> None:
    export(contest, tmp_path / "x", "--by", "class")
    table = export(contest, tmp_path / "x", "--by", "class", "--limit", "2")
    assert table.groupby("folder").size().max() == 2
    assert len(list((tmp_path / "x").glob("*/*.png"))) == len(table)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--by", "class", "--disputed"], ParamsError, "go with --by pair"),
        (["--by", "pair", "--disputed", "--suspicious"], ParamsError, "choose one"),
        (["--by", "pair", "--disputed", "--between", "kim"], ParamsError, "given twice"),
        (["--by", "pair", "--disputed", "--between", "kim", "--between", "x"], ParamsError, "there are bayes"),
        (["--by", "predicted", "--source", "nobody"], DataError, "no predictions of 'nobody'.*trees"),
    ],
)
def test_refusals(contest: Contest, tmp_path: Path, arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        export(contest, tmp_path / "x", *arguments)
    assert not (tmp_path / "x").exists()


def test_a_folder_of_somebody_else_is_left_alone(contest: Contest, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ParamsError, match="not made by podium export"):
        export(contest, tmp_path)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b\\c", "..", "", "CON", "x" * 300, "한글", "a\nb\x00", "-rf", "~", "$(id)"]
)
def test_names_of_folders_are_safe_everywhere(name: str) -> None:
    found = safe_name(name)
    assert found and len(found.encode()) <= 125
    assert not set(found) & set('/\\\n\x00:*?"<>|$~') and found.strip(". ") == found and not found.startswith("-")
    assert found.upper() != "CON"


def test_classes_whose_names_become_equal_get_folders_of_their_own(tmp_path: Path) -> None:
    images, _ = digits(3)
    index = index_of(tmp_path, images, [0, 1, 2], names=["a/b", "a?b", "A_B"])
    pictures = {"train": Pictures(index.train, Shards(index.folder))}
    items = [Item(name, "train", row, "", 0) for row, name in enumerate(index.classes.names)]
    write_albums(tmp_path / "x", items, pictures, limit=9)
    assert len(list((tmp_path / "x").glob("*/*.png"))) == 3
    assert sorted(path.name.casefold() for path in (tmp_path / "x").iterdir() if path.is_dir()) == [
        "a_b",
        "a_b (2)",
        "a_b (3)",
    ]
    assert unique("INDEX.html", {"index.html"}) == "INDEX.html (2)"


def test_help_says_what_each_choice_means() -> None:
    import typer

    from commands.export import main

    app = typer.Typer()
    app.command()(main)
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "class" in shown and "predicted" in shown and "pair" in shown
    assert np.all([word in shown for word in ("--disputed", "--suspicious")])
