"""The perceptual hash: near for near pictures, far for others, and its eight forms known without the picture."""

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from storage.hashes import KEPT, SIDE, digest_of, eight_forms, hash_bits, hashes_of, perceptual_hash, small_grey

PHOTO = load_sample_image("china.jpg")


def distance(one: str, other: str) -> int:
    return int((hash_bits([one]) != hash_bits([other])).sum())


@pytest.mark.parametrize("size", [(640, 427), (97, 200), (28, 28)])
def test_forms_are_those_of_the_turned_pictures(size: tuple[int, int]) -> None:
    picture = np.asarray(Image.fromarray(PHOTO).resize(size))
    forms = eight_forms(hash_bits([perceptual_hash(picture)]))[0]
    for variant in range(8):  # transpose first, then mirror
        turned = picture.transpose(1, 0, 2) if variant & 4 else picture
        turned = turned[:, ::-1] if variant & 1 else turned
        turned = turned[::-1] if variant & 2 else turned
        bits = hash_bits([perceptual_hash(np.ascontiguousarray(turned))])[0]
        assert (forms[variant] != bits).sum() <= 3


def test_near_for_copies_and_far_for_others() -> None:
    noise = np.random.default_rng(0).normal(0, 8, PHOTO.shape)
    noisy = np.clip(PHOTO + noise, 0, 255).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(PHOTO).resize((320, 213)))
    own = perceptual_hash(PHOTO)
    assert len(own) == 16
    assert distance(own, perceptual_hash(noisy)) <= 4
    assert distance(own, perceptual_hash(smaller)) <= 4
    assert distance(own, perceptual_hash(load_sample_image("flower.jpg"))) > 16


def test_many_together_are_each_alone_and_the_transform_is_opencvs() -> None:
    pictures = [
        np.asarray(Image.fromarray(PHOTO).resize(size)) for size in ((28, 28), (640, 427), (8, 200), (129, 130))
    ]
    together = hashes_of([small_grey(picture) for picture in pictures])
    assert together == [perceptual_hash(picture) for picture in pictures]
    grey = cv2.resize(cv2.cvtColor(pictures[0], cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    whole = np.asarray(cv2.dct(grey.astype(np.float32)))[:KEPT, :KEPT] > 0
    whole[0, 0] = False
    assert (hash_bits(together[:1])[0] == whole).all()
    assert hashes_of([]) == []


@pytest.mark.parametrize("size", [(28, 28), (73, 74), (75, 74), (427, 640)])
def test_the_digest_is_equal_for_equal_pixels_only(size: tuple[int, int]) -> None:
    picture = np.asarray(Image.fromarray(PHOTO).resize(size))
    own = digest_of(picture)
    assert len(own) == 64
    assert own == digest_of(np.asfortranarray(picture)) == digest_of(picture.copy())
    others = [picture.reshape(size[0], size[1], 3)] if size[0] != size[1] else []  # the same bytes, another size
    for place in (0, picture.size // 2, picture.size - 1):
        other = picture.copy()
        other.reshape(-1)[place] ^= 1
        others.append(other)
    assert len({own, *map(digest_of, others)}) == len(others) + 1


def test_a_picture_without_contrast_has_no_bits() -> None:
    assert perceptual_hash(np.full((50, 40, 3), 77, np.uint8)) == "0" * 16
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, :16] = 200  # differs from left to right only
    assert not hash_bits([perceptual_hash(stripes)])[0][1:].any()
