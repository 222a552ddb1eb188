"""The perceptual hash: near for near pictures, far for others, and its eight forms known without the picture."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from storage.hashes import eight_forms, hash_bits, perceptual_hash

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
