"""The recipe as it is used: with `augment.strength: fitted`, its operations are those of data/noise/fitted.yaml.

fitted.yaml is written by explore and may be edited by hand, so it is read as strictly as params.yaml.
"""

from __future__ import annotations

from pathlib import Path

from augmentation.ranges import Operations
from augmentation.recipe import AugmentParams
from stages.params import check, read_yaml, section
from storage.errors import DataError
from storage.section import Section


class Fitted(Section):
    """What fitted.yaml holds."""

    auc: dict[str, float] | None = None
    operations: Operations


def recipe_in_use(params: Path, noise: Path) -> AugmentParams:
    """The section `augment` of `params`, fitted strengths included; raises ParamsError, or DataError without a fit."""
    recipe = section("augment", AugmentParams, path=params)
    return recipe if recipe.strength == "given" else with_fitted(recipe, noise / "fitted.yaml")


def with_fitted(recipe: AugmentParams, path: Path) -> AugmentParams:
    """`recipe` with the operations of a fitted.yaml in place of its own; dropout is kept, as no test image shows it."""
    if not path.is_file():
        raise DataError(
            f"{path} not found, and augment.strength is fitted. Set explore.fit_noise: true, or augment.strength: given"
        )
    content = read_yaml(path)
    operations = check(content, (), content.values, Fitted).operations
    return recipe.model_copy(
        update={"operations": operations.model_copy(update={"dropout": recipe.operations.dropout})}
    )
