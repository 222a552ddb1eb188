"""The split stage: what belongs together stays together, rare classes follow the policy, bad input is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.split import SplitParams, cut, main
from stages.tables import Index, read_folds
from storage.errors import DataError, IntegrityError, ParamsError
from tests.small_index import digits, index_of, write_params


def run(folder: Path, index: Index, *, folds: int = 3, split: str = "{}", given: Path | None = None) -> pd.DataFrame:
    params = write_params(folder, folds=folds, split=split)
    main(index.folder, folder / "data/folds/folds.parquet", given=given, params=params)
    return read_folds(folder / "data/folds/folds.parquet", index).table


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Index:
    images, labels = digits(240)
    return index_of(tmp_path_factory.mktemp("plain"), images, labels)


def test_near_duplicates_share_a_fold_even_when_turned(tmp_path: Path) -> None:
    images, labels = digits(120)
    turned = [np.rot90(image) for image in images[:30]]
    index = index_of(tmp_path, images + images[:30] + turned, labels + labels[:30] + labels[:30])
    table = run(tmp_path, index)
    fold, part = table["fold"].to_numpy(), table["duplicate_group"].to_numpy()
    assert (fold[:30] == fold[120:150]).all() and (fold[:30] == fold[150:]).all()
    assert (part[:30] == part[150:]).all()
    assert len(set(part[:120].tolist())) == 120


def test_groups_and_duplicates_join_across_groups(tmp_path: Path) -> None:
    images, labels = digits(90)
    groups = [f"person {i // 3}" for i in range(90)]
    index = index_of(tmp_path, [*images, images[0]], [*labels, labels[0]], groups=[*groups, "person 29"])
    table = run(tmp_path, index, split="{rare: spread}")
    for group in set(groups):
        assert table["fold"][index.train["group"] == group].nunique() == 1
    assert table["fold"][0] == table["fold"][89]  # persons 0 and 29 share a picture


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("{method: stratified}", {0, 1, 2}),
        ("{method: group}", {0, 1, 2}),
        ("{method: repeated, repeat: 1}", {0, 1, 2}),
        ("{method: stratified_group, near_duplicates: false}", {0, 1, 2}),
        ("{method: hold_out, folds: 1, hold_out: 0.25}", {-1, 0}),
    ],
)
def test_every_method_gives_each_image_one_fold(plain: Index, tmp_path: Path, split: str, numbers: set[int]) -> None:
    table = run(tmp_path, plain, folds=1 if "hold_out" in split else 3, split=split)
    assert set(table["fold"]) == numbers
    assert table["image_id"].is_unique and len(table) == 240
    written = (tmp_path / "data/folds/balance.csv").read_text()
    assert written.startswith("class,") and "furthest" in written


def test_repeats_differ_and_repeat_0_is_the_plain_split(plain: Index, tmp_path: Path) -> None:
    first = run(tmp_path, plain)["fold"]
    repeats = [run(tmp_path, plain, split=f"{{method: repeated, repeat: {i}}}")["fold"] for i in (0, 1)]
    assert (first == repeats[0]).all()
    assert (first != repeats[1]).any()


def test_groups_are_ignored_when_asked(tmp_path: Path) -> None:
    images, labels = digits(60)
    index = index_of(tmp_path, images, labels, groups=["one"] * 60)
    with pytest.raises(DataError, match="too rare"):
        run(tmp_path, index)
    assert run(tmp_path, index, split="{method: stratified, rare: spread}")["fold"].nunique() == 3


def chosen(**values: Any) -> SplitParams:
    return SplitParams.model_validate(values)


RARE = np.repeat([0, 1], [20, 3])


def test_rare_class_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"'dog' has 3 separate images, folds=5.*\n.*at most 3, or split\.rare"):
        cut(RARE, np.arange(23), ["cat", "dog"], chosen(folds=5))


def test_rare_class_is_trained_on_only_with_all_that_belongs_to_it() -> None:
    parts = np.arange(23)
    parts[0] = 22  # a cat that is a near duplicate of a dog
    fold, remarks = cut(RARE, parts, ["cat", "dog"], chosen(folds=5, rare="train_only"))
    assert fold[[0, 20, 21, 22]].tolist() == [-1] * 4
    assert set(fold[1:20].tolist()) == set(range(5))
    assert "train_only" in remarks[0]


def test_rare_class_is_spread_as_far_as_it_goes() -> None:
    fold, _ = cut(RARE, np.arange(23), ["cat", "dog"], chosen(folds=5, rare="spread"))
    assert len(set(fold[20:].tolist())) == 3


def test_group_larger_than_a_fold_is_remarked() -> None:
    parts = np.r_[np.zeros(16, int), np.arange(1, 8)]
    fold, remarks = cut(np.zeros(23, int), parts, ["cat"], chosen(rare="spread"))
    assert set(fold.tolist()) == {0, 1, 2}
    assert "16 of 23 images belong together" in remarks[-1]


def test_fewer_parts_than_folds_is_an_error() -> None:
    with pytest.raises(DataError, match="would hold no image"):
        cut(np.zeros(9, int), np.repeat([0, 1], [4, 5]), ["cat"], chosen(rare="spread"))


def test_folds_and_the_list_of_folds_have_to_agree(plain: Index, tmp_path: Path) -> None:
    with pytest.raises(
        ParamsError, match=r"split\.folds is 5, but folds lists \[0, 1, 2\]; set folds: \[0, 1, 2, 3, 4\]"
    ):
        run(tmp_path, plain, split="{folds: 5}")
    assert not (tmp_path / "data/folds").exists()


@pytest.mark.parametrize("split", ["{method: given}", "{method: hold_out}", "{folds: 1}", "{rare: never}", "{fold: 3}"])
def test_contradictions_are_refused(plain: Index, tmp_path: Path, split: str) -> None:
    with pytest.raises(ParamsError, match="split"):
        run(tmp_path, plain, split=split)


def given_file(folder: Path, index: Index) -> tuple[Path, list[str]]:
    lines = [f"{image_id},{i % 3}" for i, image_id in enumerate(index.train["image_id"])]
    return folder / "folds.csv", lines


def test_given_folds_are_taken(plain: Index, tmp_path: Path) -> None:
    path, lines = given_file(tmp_path, plain)
    path.write_text("\n".join(["image_id,fold", *reversed(lines), ""]))
    table = run(tmp_path, plain, split="{method: given}", given=path)
    assert table["fold"].tolist() == [i % 3 for i in range(240)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "'train_0' has no row"),
        (lambda lines: [*lines, "nobody,1"], "line 242: 'nobody' is not a training image"),
        (lambda lines: ["train_0,7", *lines[1:]], "line 2: fold '7' of 'train_0', expected -1 to 2"),
        (lambda lines: ["train_0,x", *lines[1:]], "line 2: fold 'x'"),
        (lambda lines: [*lines, lines[0]], "line 242: 'train_0' again"),
        (lambda lines: [line.replace(",2", ",1") for line in lines], r"folds \[2\] would hold no image"),
    ],
)
def test_given_folds_are_checked(plain: Index, tmp_path: Path, change: Any, message: str) -> None:
    path, lines = given_file(tmp_path, plain)
    path.write_text("\n".join(["image_id,fold", *change(lines), ""]))
    with pytest.raises(DataError, match=message):
        run(tmp_path, plain, split="{method: given}", given=path)
    assert not (tmp_path / "data/folds").exists()


def test_b50_given_folds_of_other_data_are_refused(plain: Index, tmp_path: Path) -> None:
    path, lines = given_file(tmp_path, plain)
    for made_for, refused in (("3f2a3f2a3f2a3f2a", True), (plain.hash, False)):
        path.write_text("\n".join(["image_id,fold,index_hash", *(f"{line},{made_for}" for line in lines), ""]))
        if refused:
            with pytest.raises(IntegrityError, match=f"was made for data {made_for}, now it is {plain.hash}"):
                run(tmp_path, plain, split="{method: given}", given=path)
            assert not (tmp_path / "data/folds").exists()
        else:
            assert len(run(tmp_path, plain, split="{method: given}", given=path)) == len(lines)


def test_frames_that_add_nothing_are_left_out(tmp_path: Path) -> None:
    images, labels = digits(12)
    frames = [np.roll(image, shift, axis=1) for image in images for shift in (0, 0, 0, 1, 1)]
    groups = [f"video {i // 10}" for i in range(60)]  # two digits of five frames each
    index = index_of(tmp_path, [*frames, images[0]], [*np.repeat(labels, 5).tolist(), labels[0]], groups=[*groups, ""])
    table = run(tmp_path, index, split="{rare: spread, keep_per_group: 2}")
    kept = (table["fold"] >= 0).groupby([*groups, "alone"]).sum()
    same = [labels[i] == labels[i + 1] for i in range(0, 12, 2)]
    assert kept["alone"] == 1
    assert [kept[f"video {i}"] for i in range(6)] == [2 if equal else 4 for equal in same]
    assert set(table["fold"]) == {-2, 0, 1, 2}


def test_given_folds_that_tear_duplicates_are_remarked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = digits(30)
    index = index_of(tmp_path, [*images, images[0]], [*labels, labels[0]])
    path = tmp_path / "folds.csv"
    path.write_text("image_id,fold\n" + "".join(f"train_{i},{i % 2}\n" for i in range(30)) + "train_30,1\n")
    run(tmp_path, index, folds=2, split="{method: given, folds: 2}", given=path)
    assert "1 groups or sets of near duplicates lie in several of the given folds" in capsys.readouterr().out
