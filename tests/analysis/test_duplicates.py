"""Duplicates: found when turned, mirrored, re-encoded; not found where two pictures are merely alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from analysis import pictures
from analysis.duplicates import EXACT, VARIANTS, Duplicates, all_hashes, correlate, find_duplicates, merge, turn
from analysis.pictures import Pictures, Thumbnails, grey_square
from storage.hashes import perceptual_hash
from storage.shards import Shards
from tests.small_index import digits, index_of

Array = np.ndarray[Any, np.dtype[Any]]


def search(images: list[Array], **options: Any) -> Duplicates:
    images = [np.ascontiguousarray(image) for image in images]
    squares = np.stack([grey_square(image, 32) for image in images])
    hashes = all_hashes([perceptual_hash(image) for image in images])
    return find_duplicates(
        hashes, lambda rows: squares[rows], exact=[image.tobytes().hex() for image in images], **options
    )


def photos() -> list[Array]:
    """Twelve different pieces of two photographs, 213 x 160."""
    pieces = [
        image[y : y + 160, x : x + 213]
        for image in load_sample_images().images
        for y in (0, 200)
        for x in (0, 213, 426)
    ]
    return [np.asarray(piece) for piece in pieces]


def jpeg(image: Array, quality: int = 60) -> Array:
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


CHANGES: dict[str, Callable[[Array], Array]] = {
    "jpeg": jpeg,
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "twice the size": lambda image: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "darker": lambda image: (image * 0.7 + 10).astype(np.uint8),
    "noise": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 3, image.shape), 0, 255).astype(np.uint8),
    "grey": lambda image: np.repeat(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None], 3, 2),
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [(kind, change) for kind in ("photos", "digits") for change in CHANGES if kind == "photos" or "size" not in change],
)  # at 14 pixels a digit is another picture
def test_changed_copies_are_found_and_nothing_else(kind: str, change: str) -> None:
    originals = photos() if kind == "photos" else digits(60)[0]
    found = search(originals + [CHANGES[change](image) for image in originals])
    n = len(originals)
    assert (found.components[:n] == found.components[n:]).all()
    assert len(set(found.components.tolist())) == n


@pytest.mark.parametrize("variant", range(1, 8))
def test_turned_copies_are_found_with_the_way_they_were_turned(variant: int) -> None:
    originals = photos()
    squares = [cv2.resize(image, (160, 160)) for image in originals]
    turned = [jpeg(np.moveaxis(turn(np.moveaxis(image, 2, 0), variant), 0, 2), 90) for image in squares]
    found = search(squares + turned)
    assert len(found.pairs) == len(originals)
    inverse = {5: 6, 6: 5}.get(variant, variant)
    for (first, second), way in zip(found.pairs.tolist(), found.variants.tolist(), strict=True):
        assert abs(first - second) == len(originals)
        assert VARIANTS[way] == VARIANTS[variant if first > second else inverse]


def test_quarter_turns_of_wide_pictures_are_found() -> None:
    originals = photos()
    found = search(originals + [np.rot90(image) for image in originals])
    assert len(set(found.components.tolist())) == len(originals)
    assert not search(originals + [np.rot90(image) for image in originals], variants=[0]).pairs.size


def test_different_digits_are_never_taken_for_duplicates() -> None:
    assert len(search(digits(2500)[0]).pairs) == 0


def test_exact_copies_need_no_pixels() -> None:
    image = digits(1)[0][0]
    found = search([image, image, image], variants=())
    assert found.variants.tolist() == [EXACT, EXACT]
    assert len(set(found.components.tolist())) == 1


def test_many_equal_hashes_cost_no_quadratic_table() -> None:
    asked = []

    def squares(rows: Array) -> Array:
        asked.append(len(rows))
        return np.full((len(rows), 32, 32), 200, np.uint8)

    n = 5000
    found = find_duplicates(np.zeros((8, n), np.uint64), squares, exact=[str(i) for i in range(n)])
    assert len(set(found.components.tolist())) == 1
    assert sum(asked) <= 3 * n


def test_constant_pictures_agree_only_in_the_same_grey() -> None:
    grey, other, picture = (
        np.full((1, 8, 8), 90, np.uint8),
        np.full((1, 8, 8), 93, np.uint8),
        np.eye(8, dtype=np.uint8)[None],
    )
    assert correlate(grey, grey).tolist() == [1]
    assert correlate(grey, other).tolist() == [0]
    assert correlate(grey, picture * 200).tolist() == [0]


def test_pairs_inside_a_group_are_not_looked_for() -> None:
    image = photos()[0]
    images = [image, jpeg(image), jpeg(image, 40)]
    assert len(search(images, joined=np.array([7, 7, 7])).pairs) == 0
    tied = search(images, joined=np.array([7, 7, 1]))
    assert len(tied.pairs) == 1
    assert tied.components.tolist() == [0, 0, 0]


def test_thumbnails_of_many_images_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits(5)
    large = [cv2.resize(image, (300, 280), interpolation=cv2.INTER_CUBIC) for image in images]
    index = index_of(tmp_path, large, labels, test=large[:2])
    sides = [Pictures(table, Shards(index.folder)) for table in (index.train, index.test)]
    wanted = Thumbnails(sides)(np.array([6, 0, 4, 5]))
    monkeypatch.setattr(pictures, "IN_MEMORY", 0)
    assert (Thumbnails(sides)(np.array([6, 0, 4, 5])) == wanted).all()
    assert (wanted[0] == Thumbnails(sides)(np.array([1]))[0]).all()
    assert np.abs(wanted[1].astype(int) - grey_square(images[0], 32)).mean() < 12  # decoded at a quarter of its size


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images(count: int) -> None:
    images = digits(count)[0] if count else []
    hashes = all_hashes([perceptual_hash(image) for image in images])
    found = find_duplicates(
        hashes, lambda rows: np.zeros((len(rows), 4, 4), np.uint8), exact=[str(i) for i in range(count)]
    )
    assert found.components.shape == (count,)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    )
)
def test_merge_is_union_find(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    n, pairs = drawn
    root = list(range(n))
    for a, b in pairs:
        root = [root[a] if value == root[b] else value for value in root]
    found = merge(n, np.array(pairs, np.int64).reshape(-1, 2))
    assert len(set(zip(root, found.tolist(), strict=True))) == len(set(root)) == len(set(found.tolist()))
