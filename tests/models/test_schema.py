"""Parameters: what is refused, and the page that documents them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from models.documents import PLACE, page
from models.schema import ModelParams, TrainParams, member_values


def test_the_page_of_parameters_is_in_step_with_the_schema() -> None:
    assert (Path(__file__).parents[2] / PLACE).read_text() == page(), "run: python -m models.documents"
    assert all(f"| `{name}` |" in page() for name in ModelParams.model_fields)


def test_a_models_own_value_goes_before_the_shared_one() -> None:
    values = member_values({"lr": 0.1, "epochs": 3}, {"backbone": "simple_cnn", "lr": 0.2})
    params = ModelParams(**values)
    assert (params.lr, params.epochs, params.backbone) == (0.2, 3, "simple_cnn")


@pytest.mark.parametrize(
    "values",
    [
        {"epoch": 3}, {"lr": 0}, {"lr": float("nan")}, {"freeze": -1}, {"freeze": "most"}, {"std": [1, 1, 0]},
        {"mean": [0.5]}, {"label_smoothing": 1}, {"precision": "int8"}, {"tta": ["sideways"]}, {"batch": 0},
        {"keep": "best", "average_last": 2}, {"unfreeze_every": 1, "devices": 2, "freeze": "all"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainParams(**values)
