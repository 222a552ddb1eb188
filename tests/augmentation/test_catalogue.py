"""The door to albumentations, and the traps it keeps shut."""

import numpy as np
import pytest

from augmentation.catalogue import open_catalogue
from augmentation.copies import Copier
from augmentation.ranges import Operations
from augmentation.recipe import AugmentParams, Extra
from storage.errors import ParamsError

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def copier(*extras):
    params = {"operations": Operations(), "size": None, "extra": list(extras), "mixup": {"probability": 0}}
    return Copier(AugmentParams.model_validate(params))


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("GausNoise", {}, "did you mean GaussNoise?"),
        ("GaussNoise", {"var_limit": [10, 50]}, "var_limit"),  # an old name, which only warns without strict
        ("GaussNoise", {"std_range": [1, 20]}, "std_range"),
        ("GaussNoise", {"p": 0.5}, "give probability beside the name"),
        ("RandomCrop", {"height": 8, "width": 8}, "changes the size"),
        ("Normalize", {}, "type"),
        ("ToTensorV2", {}, "type"),
        ("MedianBlur", {"blur": 3}, "blur"),  # its constructor has no schema and knows no `strict`
        ("Blur", {"blur_limit": [4, 8]}, "must be odd"),  # would be adjusted with a warning
        ("BBoxSafeRandomCrop", {}, "it needs 'bboxes', and gets an image alone"),
        ("FDA", {}, "fda_metadata"),
        ("MixUp", {}, "no transform"),  # there is none in this version; ours is augment.mixup
        ("Compose", {}, "no transform"),
    ],
)
def test_what_would_fail_or_quietly_do_something_else_is_refused(name, arguments, said):
    with pytest.raises(ParamsError) as refused:
        open_catalogue([Extra(name=name, arguments=arguments)])
    assert f"augment.extra[0] {name}" in str(refused.value)
    assert said in str(refused.value)


def test_all_problems_are_named_at_once():
    with pytest.raises(ParamsError, match=r"(?s)extra\[0\].*extra\[2\]"):
        open_catalogue([Extra(name="Nope"), Extra(name="GaussNoise"), Extra(name="GaussNoise", arguments={"x": 1})])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MedianBlur", {"blur_limit": 5}),
        ("ToSepia", {}),
        ("RandomRotate90", {}),
        ("ShiftScaleRotate", {"shift_limit": 0.1}),  # advised against, and still a transform
        ("PiecewiseAffine", {}),
        ("RandomResizedCrop", {"size": [40, 40]}),  # ends in the size of the copies
        ("CoarseDropout", {"fill": "random_uniform"}),
        ("ToGray", {"method": "pca"}),
    ],
)
def test_any_other_transform_is_welcome(name, arguments):
    extra = Extra(name=name, arguments=arguments)
    params = {"operations": Operations(), "size": 40, "extra": [extra], "mixup": {"probability": 0}}
    maker = Copier(AugmentParams.model_validate(params))
    made = [maker.render(IMAGE, "a", k) for k in range(8)]
    assert all(copy.shape == IMAGE.shape for copy in made)
    assert any(not np.array_equal(copy, IMAGE) for copy in made)
    assert all(np.array_equal(copy, maker.render(IMAGE, "a", k)) for k, copy in enumerate(made))


def test_what_turns_a_picture_on_its_side_is_refused_for_copies_that_are_not_square():
    open_catalogue([Extra(name="Transpose")], [(40, 40)])
    with pytest.raises(ParamsError, match="40 x 60"):
        open_catalogue([Extra(name="Transpose")], [(40, 40), (40, 60)])


def test_every_image_gets_an_augmentation_of_its_own():
    maker = copier(Extra(name="GaussNoise", arguments={"std_range": [0.05, 0.1]}))
    images = {maker.render(IMAGE, "a", k).tobytes() for k in range(50)}
    assert len(images) == 50


def test_three_coins_of_the_catalogue_show_all_eight_outcomes():
    # one seed for each transform of a Compose would make the coins fall alike
    names = ("HorizontalFlip", "VerticalFlip", "Transpose")
    maker = copier(*(Extra(name=name, probability=0.5) for name in names))
    assert len({maker.render(IMAGE, "a", k).tobytes() for k in range(80)}) == 8


def test_the_same_copy_is_the_same_in_any_order():
    extras = (Extra(name="ElasticTransform", probability=0.7), Extra(name="ISONoise"))
    forward, backward = copier(*extras), copier(*extras)
    first = [forward.render(IMAGE, "a", k).tobytes() for k in range(4)]
    assert first == [backward.render(IMAGE, "a", k).tobytes() for k in reversed(range(4))][::-1]


def test_its_import_does_not_ask_the_network():
    import os

    open_catalogue([Extra(name="Equalize")])
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
