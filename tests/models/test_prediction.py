"""Precision, preprocessing, batch changes, TTA, and the report of a fold."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score

from models.catalogue import COLUMNS, Catalogue
from models.change import Normalise, cutmix, image_augmentation, mix, mixup
from models.network import build_network
from models.pictures import Decoded, open_pictures
from models.precision import FORMATS, apply_format, candidates, choose, region
from models.preprocessing import Preprocessing, square
from models.report import HeldOut, confused_pairs, confusion, per_class, write_report
from models.schema import FeedParams, ModelParams
from models.scores import scores
from models.tta import VIEWS, choose_views, mean_of_views
from storage.errors import IntegrityError
from storage.shards import Shards, ShardWriter

HALF = (0.5, 0.5, 0.5)
PICTURES = ("confusion", "curves", "roc_pr", "confused_pairs", "worst")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_network_within_its_digits(name: str) -> None:
    torch.manual_seed(0)
    network, _ = build_network(ModelParams(backbone="test_efficientnet", size=32), 5)
    images = torch.randn(2, 3, 32, 32)
    network.eval()
    with torch.inference_mode():
        plain = network(images)
        apply_format(network, name)
        with region(name, "cpu"):
            found = network(images).float()
        apply_format(network, "fp32")
        assert torch.allclose(network(images), plain, atol=1e-5)
    assert torch.allclose(found, plain, atol=0.05 if "16" in name else 1e-5)


def test_depthwise_is_a_candidate_only_where_there_is_one() -> None:
    assert "bf16_depthwise_fp32" in candidates(build_network(ModelParams(backbone="test_efficientnet", size=32), 3)[0])
    assert "bf16_depthwise_fp32" not in candidates(build_network(ModelParams(backbone="simple_cnn"), 3)[0])


def test_a_measured_choice_is_kept_and_read_by_the_next_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def measured(*_: object, **__: object) -> dict[str, float]:
        calls.append(1)
        return {"fp32": 2.0, "bf16_channels_last": 1.0}

    monkeypatch.setattr("models.precision.measure", measured)
    options = {"identity": "net", "size": 32, "batch": 8, "device": "cpu", "cache": tmp_path / "precision.json"}
    kept = ("bf16_channels_last", {"fp32": 2.0, "bf16_channels_last": 1.0})
    assert [choose(torch.nn.Identity, **options) for _ in range(2)] == [kept, kept]
    assert len(calls) == 1
    choose(torch.nn.Identity, **{**options, "identity": "other"})
    assert len(calls) == 2


@pytest.mark.parametrize(("fit", "shape"), [("squash", (10, 20)), ("pad", (10, 20)), ("crop", (20, 10))])
def test_an_image_is_made_square_as_told(fit: str, shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    out = square(pixels, Preprocessing(16, HALF, HALF, "bilinear", fit))  # type: ignore[arg-type]
    assert out.shape == (16, 16, 3)
    assert (out[0, 8] == 255).all() == (fit == "pad")
    same = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    assert (square(same, Preprocessing(16, HALF, HALF)) == same).all()


def test_normalised_pixels_are_mean_and_std_in_either_layout() -> None:
    pixels = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    p = Preprocessing(4, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    mean, std = torch.tensor(p.mean).view(1, 3, 1, 1), torch.tensor(p.std).view(1, 3, 1, 1)
    expected = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    for layout in (True, False):
        found = Normalise(p, channels_last=layout, device="cpu")(pixels)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert found.is_contiguous(memory_format=torch.channels_last if layout else torch.contiguous_format)


def test_mixed_batches_share_labels_as_they_share_pixels() -> None:
    images, targets = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8), torch.eye(4)
    order = torch.tensor([1, 0, 3, 2])
    mixed, labels = mixup(images, targets, share=0.75, order=order)
    assert mixed[:, 0, 0, 0].tolist() == [0.25, 0.75, 2.25, 2.75]
    assert labels[0].tolist() == [0.75, 0.25, 0, 0]
    cut, labels = cutmix(images, targets, where=(0, 4, 0, 8), order=order)
    assert cut[0].mean().item() == pytest.approx(0.5)
    assert labels[0].tolist() == [0.5, 0.5, 0, 0]
    noise = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for params in (FeedParams(mixup=1.0), FeedParams(cutmix=1.0), FeedParams(erasing=1.0)):
        first, again, other = (mix(noise, targets, params, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first[0], again[0])
        assert not torch.equal(first[0], other[0])
        torch.testing.assert_close(first[1].sum(dim=1), torch.ones(4))


def test_augmentation_on_top_repeats_by_its_seed() -> None:
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    for kind in ("rand_augment", "trivial_augment"):
        augment = image_augmentation(FeedParams(online=kind))
        assert augment
        assert torch.equal(augment(images, 5), augment(images, 5))
        assert augment(images, 5).shape == images.shape
    assert image_augmentation(FeedParams()) is None


def test_views_turn_back_and_are_kept_only_where_they_help() -> None:
    images = torch.randn(2, 3, 8, 8)
    for view in ("hflip", "vflip", "rotate180"):
        assert torch.equal(VIEWS[view](VIEWS[view](images)), images)
    assert torch.equal(VIEWS["rotate270"](VIEWS["rotate90"](images)), images)
    assert VIEWS["zoom_in"](images).shape == images.shape
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)

    def logs(strength: float) -> np.ndarray:
        x = rng.normal(size=(500, 3)) + strength * np.eye(3)[labels]
        return (x - np.log(np.exp(x).sum(axis=1, keepdims=True))).astype(np.float32)

    plain, good, bad = logs(1), logs(1), logs(-1)
    assert choose_views({"plain": plain, "hflip": good}, labels, keep="auto") == ["plain", "hflip"]
    assert choose_views({"plain": plain, "hflip": bad}, labels, keep="auto") == ["plain"]
    assert choose_views({"plain": plain, "hflip": bad}, labels, keep="always") == ["plain", "hflip"]
    mean = mean_of_views({"a": plain, "b": good}, ["a", "b"])
    np.testing.assert_allclose(np.exp(mean), (np.exp(plain) + np.exp(good)) / 2, rtol=1e-5)


def stored(folder: Path, count: int = 5) -> tuple[Decoded, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 9, 3), dtype=np.uint8)
    with ShardWriter(folder, "raw") as shard:
        places = [shard.add(f"{i}", image.tobytes()) for i, image in enumerate(images)]
    lines = [(f"{i}", "s", "raw.tar", *place, 9, 6, "raw") for i, place in enumerate(places)]
    table = pd.DataFrame(lines, columns=COLUMNS)
    return Decoded(Catalogue(table), {"s": Shards(folder)}, Preprocessing(8, HALF, HALF)), images


def test_cached_pixels_are_the_decoded_ones_and_old_caches_make_room(tmp_path: Path) -> None:
    decoded, _ = stored(tmp_path)
    numbers = np.array([3, 0, 3])
    cached = open_pictures(decoded, folder=tmp_path / "cache", limit_gb=1e-6 * 2, workers=1)
    assert type(cached).__name__ == "Cached"
    assert (cached.read(numbers) == decoded.read(numbers)).all()
    (first,) = (tmp_path / "cache").glob("*.pixels")
    other = Decoded(decoded.catalogue, decoded.stores, Preprocessing(9, HALF, HALF))
    assert len(open_pictures(other, folder=tmp_path / "cache", limit_gb=1e-6 * 2, workers=1)) == 5
    assert not first.is_file()
    assert open_pictures(decoded, folder=tmp_path / "cache", limit_gb=0, workers=1) is decoded


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        ("raw", b"12345", "a.png: 5 bytes, expected 2 x 2 x 3"),
        ("png", b"12345", "a.png: the stored bytes are not an image of 2 x 2"),
        ("jpeg", b"", "a.png: the stored bytes are not an image of 2 x 2"),
    ],
)
def test_bytes_that_are_not_the_image_are_named(tmp_path: Path, encoding: str, data: bytes, message: str) -> None:
    with ShardWriter(tmp_path, "raw") as shard:
        offset, size = shard.add("a.png", data)
    table = pd.DataFrame([("a.png", "s", "raw.tar", offset, size, 2, 2, encoding)], columns=COLUMNS)
    with pytest.raises(IntegrityError, match=message):
        Decoded(Catalogue(table), {"s": Shards(tmp_path)}, Preprocessing(8, HALF, HALF)).read(np.array([0]))


def test_a_further_image_takes_few_bytes_of_memory(tmp_path: Path) -> None:
    def held(count: int) -> int:
        lines = [(f"{i:012}", "s", f"shard-{i % 7}.tar", i, 9, 6, 6, "raw") for i in range(count)]
        table = pd.DataFrame(lines, columns=COLUMNS)
        gc.collect()
        tracemalloc.start()
        decoded = Decoded(Catalogue(table), {"s": Shards(tmp_path)}, Preprocessing(8, HALF, HALF))
        del table, lines
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert decoded.name(count - 1) == f"{count - 1:012}"
        return size

    assert (held(30_000) - held(10_000)) / 20_000 < 1  # all of it lies in a file


def held_out(n_classes: int, n_rows: int = 400) -> HeldOut:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, n_classes - 1, n_rows)  # the last class has no rows
    x = rng.normal(size=(n_rows, n_classes)) + 2 * np.eye(n_classes)[labels]
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    ids = np.array([f"{i % 50}.png" for i in range(n_rows)], dtype=object)
    return HeldOut(ids, np.arange(n_rows) // 50, labels, p, [f"=class_{i}" for i in range(n_classes)])


@pytest.mark.parametrize("n_classes", [3, 100])
def test_a_report_equals_scikit_learn_and_stays_readable(tmp_path: Path, n_classes: int) -> None:
    rows = held_out(n_classes)
    found = scores(rows.labels, np.log(rows.probabilities).astype(np.float32))
    expected = f1_score(rows.labels, rows.predicted, labels=range(n_classes), average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    table = per_class(rows).set_index("class").loc[rows.class_names]
    for column, metric in (("precision", precision_score), ("recall", recall_score)):
        peer = metric(rows.labels, rows.predicted, labels=range(n_classes), average=None, zero_division=0)
        np.testing.assert_allclose(table[column], peer)
    pairs = confused_pairs(rows)
    matrix = confusion(rows)
    assert pairs["count"].sum() == matrix.sum() - np.trace(matrix)
    curves = pd.DataFrame({"seed": 0, "epoch": [1, 2], "lr": 1, "train_loss": [2, 1], "clean_macro_f1": [0.1, 0.2]})
    small = np.zeros((16, 16, 3), np.uint8)
    write_report(tmp_path, rows, curves=curves, picture=lambda _: small, worst_count=9, figures=True, title="t")
    assert len(pd.read_csv(tmp_path / "worst.csv")) == 9
    assert pd.read_csv(tmp_path / "per_class.csv")["class"].str.startswith("'=").all()
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in PICTURES)
