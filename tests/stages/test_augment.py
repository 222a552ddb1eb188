"""The augment stage: the same bytes however it was run, and nothing half-written."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from augmentation import writing
from augmentation.copies import Copier
from augmentation.plan import plan_copies
from augmentation.recipe import AugmentParams
from augmentation.writing import FEWEST_SHARDS, Sources, read_places
from stages import augment as stage
from stages.augment import augment
from stages.fitted import with_fitted
from stages.tables import read_augmented, read_folds, write_folds
from storage.errors import IntegrityError, ParamsError, PodiumError, ResourceError
from storage.shards import Shards
from tests.small_index import digits, index_of

SECTION = {"copies": 3, "size": 28, "workers": 1, "mixup": {"probability": 0.3}}


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    root = tmp_path_factory.mktemp("contest")
    images, labels = digits(40)
    index = index_of(root, images, labels, test=images[:4], names=[str(i) for i in range(10)])
    folds = pd.DataFrame({"image_id": index.train["image_id"], "fold": np.arange(40) % 4 - 1, "duplicate_group": 0})
    write_folds(root / "folds.parquet", folds, index)
    return SimpleNamespace(index=index, folds=read_folds(root / "folds.parquet", index), images=images)


def run(contest, folder, **section):
    params = AugmentParams.model_validate(SECTION | section)
    augment(params, contest.index, contest.folds, out=folder / "augmented", work=folder / "work")
    return {path.name: path.read_bytes() for path in sorted((folder / "augmented").iterdir())}


def test_the_table_keeps_its_contract_and_the_pixels_are_those_of_the_function(contest, tmp_path):
    run(contest, tmp_path)
    table = read_augmented(tmp_path / "augmented", contest.index, contest.folds)
    assert table["view"].value_counts().to_dict() == {"train": 120, "testlike": 60}
    assert not list((tmp_path / "work").iterdir())
    maker, shards = Copier(AugmentParams.model_validate(SECTION)), Shards(tmp_path / "augmented")
    by_id = dict(zip(contest.index.train["image_id"], contest.images, strict=True))
    for row in table.sample(25, random_state=0).itertuples():
        data = np.frombuffer(shards.read(row.shard, row.offset, row.size), dtype=np.uint8)
        partner = by_id.get(row.partner_id)
        expected = maker.render(by_id[row.source_id], row.source_id, row.copy, partner, view=row.view)
        assert np.array_equal(data.reshape(row.height, row.width, 3), expected)


def test_workers_and_the_cut_into_shards_change_no_byte_of_an_image(contest, tmp_path, monkeypatch):
    one = run(contest, tmp_path / "one")
    assert one == run(contest, tmp_path / "two", workers=2)
    monkeypatch.setattr("augmentation.writing.FEWEST_SHARDS", 3)
    run(contest, tmp_path / "cut")
    tables = [read_augmented(tmp_path / name / "augmented", contest.index, contest.folds) for name in ("one", "cut")]
    readers = [Shards(tmp_path / name / "augmented") for name in ("one", "cut")]
    assert len(set(tables[1]["shard"])) == 3 != len(set(tables[0]["shard"]))
    for rows in zip(tables[0].itertuples(), tables[1].itertuples(), strict=True):
        pixels = [reader.read(row.shard, row.offset, row.size) for reader, row in zip(readers, rows, strict=True)]
        assert pixels[0] == pixels[1]


def test_a_killed_run_goes_on_at_the_next_unfinished_shard(contest, tmp_path, monkeypatch):
    whole = run(contest, tmp_path / "whole")
    made = []
    write = stage.write_shard

    def dies_at_the_fifth(task, **options):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(task.name)
        return write(task, **options)

    monkeypatch.setattr(stage, "write_shard", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        run(contest, tmp_path / "killed")
    assert not (tmp_path / "killed/augmented").exists()
    again = []
    monkeypatch.setattr(stage, "write_shard", lambda task, **options: again.append(task.name) or write(task, **options))
    assert run(contest, tmp_path / "killed") == whole
    assert not set(again) & set(made) and len(again) == FEWEST_SHARDS - 5


def test_a_new_result_replaces_the_old_one_whole(contest, tmp_path):
    run(contest, tmp_path)
    again = run(contest, tmp_path, copies=1, validation_copies=0)
    assert len(read_augmented(tmp_path / "augmented", contest.index, contest.folds)) == 40
    assert set(again) == {"index.parquet", "recipe.json", *(f"shard-{i:05d}.tar" for i in range(FEWEST_SHARDS))}
    assert not list(tmp_path.glob(".tmp-*"))


def test_what_is_remembered_of_the_sources_is_bounded_in_bytes(contest, monkeypatch):
    monkeypatch.setattr("augmentation.writing.REMEMBERED", 5 * 28 * 28 * 12)
    sources = Sources(contest.index.folder, dict(enumerate(read_places(contest.index.train))), Copier(AugmentParams()))
    for position in range(12):
        assert np.array_equal(sources.prepared(position).pixels, contest.images[position])
    assert list(sources.known) == [7, 8, 9, 10, 11]


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_every_encoding_is_what_the_table_says(contest, tmp_path, encoding):
    run(contest, tmp_path, encoding=encoding, size=[20, 24])
    table = read_augmented(tmp_path / "augmented", contest.index, contest.folds)
    row = next(table.iloc[7:].itertuples())
    data = np.frombuffer(Shards(tmp_path / "augmented").read(row.shard, row.offset, row.size), dtype=np.uint8)
    pixels = data.reshape(20, 24, 3) if encoding == "raw" else cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert pixels.shape == (20, 24, 3) == (row.height, row.width, 3)
    assert row.encoding == encoding


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"extra": [{"name": "GausNoise"}]}, "did you mean GaussNoise"),
        ({"extra": [{"name": "GaussNoise", "arguments": {"sigma": 3}}]}, "sigma"),
        ({"extra": [{"name": "Transpose"}], "size": [20, 24]}, "20 x 24"),
        ({"classes": {"eleven": {"strength": 2}}}, "eleven"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_written(contest, tmp_path, section, said):
    with pytest.raises(ParamsError, match=said):
        run(contest, tmp_path, **section)
    assert not list(tmp_path.iterdir())


def test_copies_of_any_size_are_probed_at_their_extremes():
    train = pd.DataFrame({"height": [30, 10, 40, 20, 30], "width": [30, 10, 60, 90, 20]})
    shapes = stage.probed_shapes(AugmentParams(size=None), train)
    assert shapes == [(10, 10), (40, 60), (20, 90), (30, 20)]
    assert stage.probed_shapes(AugmentParams(size=(5, 7)), train) == [(5, 7)]


def test_a_transform_that_fails_on_a_copy_names_its_source(contest, tmp_path, monkeypatch):
    def fails(pixels, transform, word):
        raise ParamsError("augment.extra Equalize: too dark")

    monkeypatch.setattr("augmentation.copies.apply_transform", fails)
    with pytest.raises(ParamsError, match=r"source train_\d+: augment\.extra Equalize: too dark"):
        run(contest, tmp_path, extra=[{"name": "Equalize"}])
    assert not (tmp_path / "augmented").exists()


def test_a_disk_that_is_too_small_is_refused_with_the_estimate(contest, tmp_path, monkeypatch):
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    with pytest.raises(ResourceError, match=r"need about .* MiB, 0 MiB are free"):
        run(contest, tmp_path)


@pytest.mark.parametrize(("encoding", "rendered"), [("raw", 0), ("png", 3)])
def test_the_estimate_of_huge_copies_takes_no_longer(contest, monkeypatch, encoding, rendered):
    params, made = AugmentParams.model_validate(SECTION | {"encoding": encoding}), []
    plan = plan_copies(params, contest.index.train, contest.folds.table["fold"].to_numpy(), list("0123456789"))
    monkeypatch.setattr(writing, "SAMPLED_BYTES", 3 * 28 * 28 * 3)
    copy_bytes = writing.copy_bytes
    monkeypatch.setattr(writing, "copy_bytes", lambda *place: made.append(place) or copy_bytes(*place))
    assert writing.mean_bytes(plan, contest.index.train, params=params, source_folder=contest.index.folder) > 512
    assert len(made) == rendered


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_the_estimate_is_within_a_fifth(contest, tmp_path, monkeypatch, encoding):
    asked = []
    monkeypatch.setattr(stage, "require_space", lambda folder, needed: asked.append(needed))
    made = run(contest, tmp_path, encoding=encoding, copies=30)
    assert asked[0] == pytest.approx(sum(len(data) for name, data in made.items() if name.endswith(".tar")), rel=0.2)


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(contest, tmp_path, monkeypatch):
    def full(self, name, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("augmentation.writing.ShardWriter.add", full)
    with pytest.raises(ResourceError, match=r"shard-00000\.tar cannot be written: No space left on device"):
        run(contest, tmp_path)
    assert not (tmp_path / "augmented").exists()
    assert not [path for path in (tmp_path / "work").rglob("*") if path.suffix == ".tar"]


def test_another_disk_that_is_full_is_said_and_the_copies_wait(contest, tmp_path, monkeypatch):
    whole = run(contest, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(stage, "other_disk", lambda folder, out: True)

        def full(folder, whole, **options):
            (whole / "half.tar").write_bytes(b"")
            raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])

        patch.setattr(stage.shutil, "copytree", full)
        with pytest.raises(ResourceError, match=r"augmented cannot be written: .*No space.* wait in .*work"):
            run(contest, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"whole", "work"}
    monkeypatch.setattr(stage, "write_shard", lambda task, **options: pytest.fail("made again"))
    assert run(contest, tmp_path) == whole


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda shard: shard.unlink(), "is missing"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:600]), "is cut short"),
        (lambda shard: shard.write_bytes(bytes(shard.stat().st_size)), "holds no image"),
    ],
)
def test_a_source_that_vanished_or_broke_is_named(contest, tmp_path, damage, said):
    folder = shutil.copytree(contest.index.folder, tmp_path / "index")
    for shard in folder.glob("*.tar"):
        damage(shard)
    broken = SimpleNamespace(
        index=type(contest.index)(
            contest.index.train, contest.index.test, contest.index.classes, folder, contest.index.hash
        ),
        folds=contest.folds,
    )
    with pytest.raises(IntegrityError, match=rf"source train_\d+: .*{said}"):
        run(broken, tmp_path)
    assert not (tmp_path / "augmented").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda shard: shard.write_bytes(shard.read_bytes()[:5000]),
        lambda shard: shard.write_bytes(shard.read_bytes()[:-1024]),
        lambda shard: shard.write_bytes(shard.read_bytes() + b"x"),
        lambda shard: shard.write_bytes(b""),
        lambda shard: shutil.copy(shard.with_name("shard-00004.tar"), shard),
    ],
)
def test_an_unpublished_shard_that_was_damaged_is_made_again(contest, tmp_path, monkeypatch, capsys, damage):
    with monkeypatch.context() as patch:
        patch.setattr(stage, "publish", lambda folder, out: None)
        with pytest.raises(FileNotFoundError):
            run(contest, tmp_path, copies=1)
    damage(next((tmp_path / "work").rglob("shard-00003.tar")))
    again, write = [], stage.write_shard
    monkeypatch.setattr(stage, "write_shard", lambda task, **options: again.append(task.name) or write(task, **options))
    assert run(contest, tmp_path, copies=1) == run(contest, tmp_path / "whole", copies=1)
    assert again[:2] == ["shard-00003", "shard-00000"]
    assert "shard-00003.tar is damaged; it is made again" in capsys.readouterr().out


@pytest.mark.parametrize(("backend", "package"), [("dask", "dask"), ("ray", "ray")])
def test_an_absent_backend_says_what_to_install(contest, tmp_path, backend, package):
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(ResourceError, match=rf"pip install -e '\.\[{package}\]'"):
            run(contest, tmp_path, backend=backend, workers=2)
    else:
        pytest.skip(f"{package} is installed")


@pytest.mark.parametrize("backend", ["dask", "ray"])
@pytest.mark.filterwarnings("ignore")  # of other people's servers
def test_an_installed_backend_gives_the_same_bytes(contest, tmp_path, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed: its bytes were not compared")
    assert run(contest, tmp_path / "one") == run(contest, tmp_path / backend, backend=backend, workers=2)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("total: 7", "40 training items, not the 7 of augment.total"),
        ("mode: online", "drawn while training, by the models that have online: copies"),
    ],
)
def test_what_is_otherwise_than_one_may_think_is_said(contest, tmp_path, capsys, section, said):
    (tmp_path / "params.yaml").write_text(f"augment: {{size: 28, workers: 1, {section}}}\n")
    root, places = contest.index.folder, {"noise": tmp_path, "out": tmp_path / "out", "work": tmp_path / "work"}
    stage.main(index=root, folds=root.parents[1] / "folds.parquet", params=tmp_path / "params.yaml", **places)
    assert said in capsys.readouterr().out


def test_two_runs_at_once_do_not_mix(contest, tmp_path):
    key = stage.work_key(AugmentParams.model_validate(SECTION), contest.index, contest.folds)
    with stage.alone(tmp_path / "work" / key), pytest.raises(ResourceError, match="another run"):
        run(contest, tmp_path)


def test_fitted_strengths_without_a_fit_are_refused(tmp_path):
    with pytest.raises(PodiumError, match=r"explore\.fit_noise"):
        with_fitted(AugmentParams(strength="fitted"), tmp_path / "fitted.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "operations:\n  noise: {sigm: [1, 2]}",
            r"yaml:2: operations\.noise\.sigm: unknown; did you mean sigma",
        ),
        ("operations:\n  nois: {sigma: [1, 2]}", r"fitted\.yaml:2: operations\.nois: unknown; did you mean noise"),
        (
            "operations:\n  noise: {sigma: [5, 2]}",
            r"yaml:2: operations\.noise\.sigma: .*larger than the second",
        ),
        ("operations: {noise: {}, noise: {}}", "'noise' twice"),
        ("operations: {noise: {sigma: [1, 2]", r"fitted\.yaml line 1"),
        ("auc: {after: 0.5}", r"fitted\.yaml:1: operations: Field required"),
        ("operations: !!python/name:os.system {}", "YAML tags are not allowed"),
        ("", r"fitted\.yaml holds no sections"),
    ],
)
def test_fitted_strengths_are_edited_by_hand_and_read_strictly(tmp_path, text, said):
    (tmp_path / "fitted.yaml").write_text(text)
    with pytest.raises(ParamsError, match=said):
        with_fitted(AugmentParams(strength="fitted"), tmp_path / "fitted.yaml")
