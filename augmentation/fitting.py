"""Noise fitting: the strengths that make augmented training images look like the unlabelled test images."""

from __future__ import annotations

from pathlib import Path

import yaml

from augmentation.recipe import AugmentParams, Operations
from storage.errors import DataError


def fitted_params(params: AugmentParams, path: Path) -> AugmentParams:
    """`params` with the operations of a fitted.yaml in place of those with the same name."""
    if not path.is_file():
        raise DataError(
            f"{path} not found, and augment.strength is fitted. Set explore.fit_noise: true, or strength: given"
        )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    fitted = Operations.model_validate(content["operations"])
    return params.model_copy(update={"operations": params.operations.model_copy(update=dict(fitted.present()))})
