"""The schema of the section `augment`: what a person may write, and what is refused."""

import pytest
from pydantic import ValidationError

from augmentation.ranges import Operations
from augmentation.recipe import AugmentParams


def test_an_empty_section_is_a_complete_recipe():
    params = AugmentParams()
    assert params.height_width == (32, 32)
    assert params.operations.flip is None  # digits are not symmetric
    assert set(params.operations.present()) == {"rotate", "tint", "blur", "noise", "jpeg"}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"operations": {"rotate": {"degrees": [-400, 40]}}}, "outside -180 .. 180"),
        ({"operations": {"noise": {"sigma": [25, 5]}}}, "expected [low, high]"),
        ({"operations": {"blur": {"sigma": [0, 99]}}}, "outside 0 .. 20"),
        ({"operations": {"blurr": {"sigma": [0, 1]}}}, "Extra inputs"),
        ({"operations": {"noise": {"sigmas": [0, 1]}}}, "Extra inputs"),
        ({"operations": {"noise": {"probability": 1.5}}}, "less than or equal to 1"),
        ({"operations": {"jpeg": {"quality": [0, 50]}}}, "outside 1 .. 100"),
        ({"mixup": {"probability": 0.6}, "cutmix": {"probability": 0.6}}, "above 1"),
        ({"size": [0, 32]}, "between 1 and 16384"),
        ({"copies": -1}, "greater than or equal to 0"),
        ({"encoding": "webp"}, "'jpeg', 'png' or 'raw'"),
        ({"border": {"colour": [0, 0, 256]}}, "less than or equal to 255"),
    ],
)
def test_what_cannot_be_meant_is_refused(section, said):
    with pytest.raises(ValidationError) as refused:
        AugmentParams.model_validate(section)
    assert said in str(refused.value)


def test_every_range_has_bounds_and_a_neutral_value_inside_them():
    ranges = 0
    for info in Operations.model_fields.values():
        operation = next(kind for kind in info.annotation.__args__ if kind is not type(None))
        for field in operation.model_fields.values():
            extra = field.json_schema_extra
            if extra:
                low, high = extra["bounds"]
                assert low <= extra["neutral"] <= high
                assert low <= field.default[0] <= field.default[1] <= high
                ranges += 1
    assert ranges >= 25
