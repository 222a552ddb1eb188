"""What can happen to a copy: each operation, and the ranges from which its values are drawn.

Operations follow each other as on the way from paper to file, in the order in which `Operations` lists them: paper,
geometry, light, lens, sensor, occlusion, compression.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from storage.section import Section

Between = tuple[float, float]
Probability = Annotated[float, Field(ge=0, le=1)]


def between(default: Between, *, of: Between, neutral: float, parts: str = "") -> Any:
    """A field [low, high] inside the bounds `of`; `neutral` changes nothing; `parts` are drawn one by one (r, g, b)."""
    extra: dict[str, Any] = {"bounds": of, "neutral": neutral, "parts": parts}
    return Field(default, json_schema_extra=extra)


class Operation(Section):
    """The base of all operations; subclasses add ranges by `between`."""

    probability: Probability = 1.0

    @field_validator("*", mode="after")
    @classmethod
    def _in_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        extra: Any = cls.model_fields[str(info.field_name)].json_schema_extra
        if isinstance(extra, dict) and "bounds" in extra:
            low, high = extra["bounds"]
            if value[0] > value[1]:
                raise ValueError("the first value is larger than the second; expected [low, high]")
            if value[0] < low or value[1] > high:
                raise ValueError(f"outside {low:g} .. {high:g}")
        return value


class Paper(Operation):
    """Texture of the paper: fine grain, `strength` in grey levels."""

    strength: Between = between((2, 8), of=(0, 64), neutral=0)


class Crease(Operation):
    """Folds: thin bright lines with a shade beside them, `count` of them, `strength` in grey levels."""

    count: Between = between((1, 3), of=(0, 20), neutral=0)
    strength: Between = between((10, 40), of=(0, 128), neutral=0)


class Flip(Section):
    """Three independent coins."""

    horizontal: Probability = 0.0
    vertical: Probability = 0.0
    transpose: Probability = 0.0


class Rotate(Operation):
    """Turn about the centre; positive is counter-clockwise."""

    degrees: Between = between((-40, 40), of=(-180, 180), neutral=0)


class Shift(Operation):
    """Move by a fraction of the side, along each axis on its own."""

    fraction: Between = between((-0.06, 0.06), of=(-1, 1), neutral=0, parts="xy")


class Scale(Operation):
    """Zoom about the centre; above 1 is larger."""

    factor: Between = between((0.9, 1.1), of=(0.1, 10), neutral=1)


class Shear(Operation):
    """Slant along each axis on its own."""

    degrees: Between = between((-8, 8), of=(-60, 60), neutral=0, parts="xy")


class Perspective(Operation):
    """Each corner moves by a fraction of the side."""

    fraction: Between = between((-0.05, 0.05), of=(-0.4, 0.4), neutral=0, parts="abcdefgh")


class Jitter(Operation):
    """Factors as in torchvision's ColorJitter, hue in degrees."""

    brightness: Between = between((0.8, 1.2), of=(0, 5), neutral=1)
    contrast: Between = between((0.8, 1.2), of=(0, 5), neutral=1)
    saturation: Between = between((0.8, 1.2), of=(0, 5), neutral=1)
    hue: Between = between((0, 0), of=(-180, 180), neutral=0)


class Tint(Operation):
    """Per channel: pixel x gain + offset (grey levels)."""

    gain: Between = between((0.6, 1.0), of=(0, 3), neutral=1, parts="rgb")
    offset: Between = between((0, 60), of=(-255, 255), neutral=0, parts="rgb")


class Gamma(Operation):
    """Pixel to the power `exponent`; above 1 is darker."""

    exponent: Between = between((0.7, 1.4), of=(0.1, 10), neutral=1)


class Shadow(Operation):
    """A soft-edged half plane darkened by the fraction `darkness`."""

    darkness: Between = between((0.2, 0.5), of=(0, 0.95), neutral=0)


class Blur(Operation):
    """Gaussian blur, `sigma` in pixels of the copy."""

    sigma: Between = between((0.3, 1.0), of=(0, 20), neutral=0)


class Motion(Operation):
    """Blur along a line in a random direction, `length` in pixels of the copy."""

    length: Between = between((3, 7), of=(0, 99), neutral=0)


class Defocus(Operation):
    """Blur by a disc, `radius` in pixels of the copy."""

    radius: Between = between((1, 3), of=(0, 30), neutral=0)


class Sharpen(Operation):
    """Unsharp mask of sigma 1: pixel + amount x (pixel - blurred)."""

    amount: Between = between((0.3, 1.0), of=(0, 5), neutral=0)


class Downscale(Operation):
    """To a fraction of the size and back."""

    factor: Between = between((0.4, 0.8), of=(0.02, 1), neutral=1)


class Noise(Operation):
    """Gaussian noise, independent per pixel and channel, `sigma` in grey levels."""

    sigma: Between = between((5, 25), of=(0, 128), neutral=0)
    before_blur: Probability = Field(
        0.0, description="How often it comes before the lens: noise that blur has softened."
    )


class Shot(Operation):
    """Noise of light: variance = strength x pixel."""

    strength: Between = between((0.2, 2), of=(0, 20), neutral=0)


class Speckle(Operation):
    """Multiplicative noise: pixel x (1 + normal(0, sigma))."""

    sigma: Between = between((0.05, 0.2), of=(0, 1), neutral=0)


class SaltPepper(Operation):
    """A fraction of the pixels becomes black or white."""

    fraction: Between = between((0.005, 0.03), of=(0, 1), neutral=0)


class Dropout(Operation):
    """`holes` rectangles of up to `size` (fraction of the side) are filled with one grey; training copies only."""

    holes: Between = between((1, 3), of=(0, 64), neutral=0)
    size: Between = between((0.1, 0.3), of=(0, 1), neutral=0)


class Jpeg(Operation):
    """Artefacts of JPEG at this quality. With `encoding: jpeg` it is the file itself, encoded once."""

    quality: Between = between((40, 95), of=(1, 100), neutral=100)


class Operations(Section):
    """In the order of application; what is absent is never applied."""

    paper: Paper | None = None
    crease: Crease | None = None
    flip: Flip | None = None
    rotate: Rotate | None = None
    shift: Shift | None = None
    scale: Scale | None = None
    shear: Shear | None = None
    perspective: Perspective | None = None
    jitter: Jitter | None = None
    tint: Tint | None = None
    gamma: Gamma | None = None
    shadow: Shadow | None = None
    blur: Blur | None = None
    motion: Motion | None = None
    defocus: Defocus | None = None
    sharpen: Sharpen | None = None
    downscale: Downscale | None = None
    noise: Noise | None = None
    shot: Shot | None = None
    speckle: Speckle | None = None
    salt_pepper: SaltPepper | None = None
    dropout: Dropout | None = None
    jpeg: Jpeg | None = None

    def present(self) -> dict[str, Operation | Flip]:
        """The operations that stand in the recipe, in order."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


def kind_of(name: str) -> type[Operation]:
    """The schema of an operation."""
    kinds: Any = Operations.model_fields[name].annotation
    kind: type[Operation] = next(kind for kind in kinds.__args__ if kind is not type(None))
    return kind


def ranges_of(name: str) -> dict[str, dict[str, Any]]:
    """The ranges of an operation by field: their bounds, neutral point and parts."""
    extras = {field: info.json_schema_extra for field, info in kind_of(name).model_fields.items()}
    return {field: extra for field, extra in extras.items() if isinstance(extra, dict)}


def columns_of(name: str, field: str) -> list[str]:
    """The drawn columns of a range, as in "tint_gain_r"."""
    parts = ranges_of(name)[field]["parts"]
    return [f"{name}_{field}_{part}" for part in parts] or [f"{name}_{field}"]
