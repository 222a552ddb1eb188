"""What happens to a copy: the schema of the section `augment` of params.yaml and of data/noise/fitted.yaml.

An operation that is absent is never applied. Where it stands, each copy gets it with its `probability`, with values
drawn evenly between [low, high]; which there are, and in which order, stands in ranges.py. Ranges in params.yaml:

    operations:
      rotate: {probability: 1.0, degrees: [-40, 40]}
      noise: {probability: 0.8, sigma: [5, 25]}

Offline or online? At photo sizes, making a JPEG copy costs less than twice the decoding of a stored one, and a copy
drawn anew is decoded as well: copies on disk pay off from the second pass over them (epochs x models). So store them,
unless a single short training is all there will be, or the disk is small. The pixels come from the same function either
way, artefacts of `encoding: jpeg` included; copies that are drawn while training are mixed by `train.mixup` and
`train.cutmix`, within the batch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from augmentation.ranges import Blur, Jpeg, Noise, Operations, Probability, Rotate, Tint
from storage.section import Section

Colour = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]
RECIPE = "recipe.json"  # beside the copies: what made them, fitted strengths included


class Border(Section):
    """What lies outside the source."""

    mode: Literal["constant", "replicate", "reflect"] = "constant"
    colour: Colour = (255, 255, 255)


class Extra(Section):
    """One transform of albumentations 2.0.8 by name, with its own arguments; applied before the compression."""

    name: str
    probability: Probability = 1.0
    arguments: dict[str, Any] = Field({})


class Mix(Section):
    """Mixup or cutmix: share of the source's label from Beta(alpha, alpha); partners come from the same fold."""

    probability: Probability = 0.0
    alpha: float = Field(0.4, gt=0, le=100)


class ClassStrength(Section):
    """For one class: distances from neutral are multiplied by `strength` (in training copies)."""

    strength: float = Field(1.0, ge=0, le=10)


DIGITS = Operations(
    rotate=Rotate(degrees=(-40, 40)),
    tint=Tint(gain=(0.4, 1.1), offset=(0, 70)),
    blur=Blur(sigma=(0.3, 1.0)),
    noise=Noise(sigma=(10, 45)),
    jpeg=Jpeg(quality=(40, 95)),
)


class AugmentParams(Section):
    """The section `augment`."""

    seed: int = Field(0, ge=0, description="Another seed, other copies.")
    mode: Literal["offline", "online"] = Field(
        "offline",
        description="Copies on disk, which pay off from the second pass over them (epochs x models), or, online, drawn "
        "anew by models with `online: copies`.",
    )
    strength: Literal["given", "fitted"] = Field("given", description="fitted: operations of data/noise/fitted.yaml.")
    copies: int = Field(10, ge=0, le=100_000, description="Training copies of each source.")
    total: int | None = Field(None, ge=1, description="Training items in all instead; wins over copies.")
    balance: Probability = Field(0.0, description="0: sources share alike; 1: classes share alike.")
    include_clean: bool = Field(True, description="The clean source is a training item too.")
    validation_copies: int = Field(2, ge=0, le=100, description="Test-like copies of each held-out image.")
    size: int | tuple[int, int] | None = Field(32, description="[height, width], one number, or null: as the source.")
    fit: Literal["stretch", "pad"] = Field("stretch", description="How a source of another shape fills the size.")
    encoding: Literal["jpeg", "png", "raw"] = Field("raw", description="raw: uint8, for small sizes.")
    jpeg_quality: int = Field(95, ge=1, le=100, description="Quality of copies stored as JPEG.")
    grey: bool = Field(
        False, description="Copies without colour, as X-rays and scans are: one noise, not one for each of R, G and B."
    )
    border: Border = Field(
        Border(colour=(0, 0, 0)), description="What lies outside the source: constant, replicate or reflect."
    )
    operations: Operations = DIGITS
    extra: list[Extra] = Field([], description="Transforms of albumentations: [{name, probability, arguments}].")
    mixup: Mix = Field(Mix(probability=0.1), description="Share of the copies with a partner of their fold.")
    cutmix: Mix = Field(Mix(), description="Share of the copies with a rectangle of a partner of their fold.")
    classes: dict[str, ClassStrength] = Field({}, description="For one class, weaker or stronger: {name: {strength}}.")
    workers: int = Field(0, ge=0, description="0: as many as there are processors.")
    backend: Literal["loky", "dask", "ray"] = Field("loky", description="Who runs the workers of joblib.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        height, width = self.height_width or (1, 1)
        if not (1 <= height <= 16_384 and 1 <= width <= 16_384):
            raise ValueError("size must lie between 1 and 16384")
        if self.mixup.probability + self.cutmix.probability > 1:
            raise ValueError("mixup.probability + cutmix.probability is above 1")
        return self

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size of the copies; None: that of the source."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
