"""The one door to albumentations 2.0.8: any of its transforms by name, strictly, and seeded per image.

    extra:
      - {name: GridDistortion, probability: 0.3, arguments: {distort_limit: [-0.2, 0.2]}}

Strictly, because misspelt arguments otherwise only warn and fall back to the defaults; seeded per image from one
generator, because a seed given to a Compose restarts every transform at the same point. What crops or resizes is
welcome where it ends in the size of the copies, as RandomResizedCrop may.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from augmentation.recipe import Extra
from storage.errors import ParamsError, problems
from storage.names import nearest

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int]  # height, width
PROBES = 3  # what changes the size at random shows it
ANY_SHAPE: Sequence[Shape] = ((64, 64),)
ADVICE = ".*(special case|specialized version|is an alias|very slow|already (an RGB|gray))"  # it works all the same


class Transform(Protocol):
    """What we use of a transform of albumentations."""

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        """Take both generators, without copying them."""

    def __call__(self, *, image: Pixels) -> dict[str, Any]:
        """The transformed image under the key "image"."""


def open_catalogue(extras: Sequence[Extra], shapes: Sequence[Shape] = ANY_SHAPE) -> list[Transform]:
    """The transforms, each applied whenever it is called; tried on a plain image of each of `shapes`.

    Raises ParamsError naming every unknown transform, misspelt argument and value out of range.
    """
    if not extras:
        return []
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for news
    transforms, refused = [], []
    for i, extra in enumerate(extras):
        try:
            transforms.append(build(extra, shapes))
        except ParamsError as error:
            refused.append(f"augment.extra[{i}] {extra.name}: {error}")
    if refused:
        raise ParamsError(problems("transforms that cannot be used", refused))
    return transforms


def build(extra: Extra, shapes: Sequence[Shape]) -> Transform:
    """One transform; raises ParamsError."""
    import albumentations

    kind = getattr(albumentations, extra.name, None)
    if not (isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform)):
        told = nearest(extra.name, names())
        raise ParamsError(f"no transform of albumentations {albumentations.__version__}{told}")
    if wrong := [name for name in ("p", "strict") if name in extra.arguments]:
        raise ParamsError(f"{wrong[0]} is not an argument here; give probability beside the name")
    strict = {"strict": True} if checks_arguments(kind) else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", message=ADVICE)
            transform: Transform = kind(**extra.arguments, p=1.0, **strict)
            plain = [np.full((*shape, 3), 128, dtype=np.uint8) for shape in shapes for _ in range(PROBES)]
            probes = [seeded(transform, image, word) for word, image in enumerate(plain)]
    except Exception as error:  # whatever a foreign constructor or transform finds wrong with its arguments
        raise ParamsError(gist(error)) from None
    for probe, image in zip(probes, plain, strict=True):
        check_kept(probe, image)
    return transform


def check_kept(result: Any, pixels: Pixels) -> None:
    """Raise ParamsError where the size or the type is no longer that of `pixels`."""
    height, width = pixels.shape[:2]
    if not isinstance(result, np.ndarray) or result.dtype != np.uint8 or result.shape != pixels.shape:
        raise ParamsError(f"it changes the size or the type of an image of {height} x {width}, which a copy must keep")


def checks_arguments(kind: type) -> bool:
    """Whether the constructor has a schema, which alone knows `strict`; the others refuse what they don't know."""
    return next("InitSchema" in vars(base) for base in kind.__mro__ if "__init__" in vars(base))


def names() -> list[str]:
    """All transforms of the catalogue."""
    import albumentations

    kinds = {name: getattr(albumentations, name) for name in dir(albumentations)}
    return [n for n, k in kinds.items() if isinstance(k, type) and issubclass(k, albumentations.BasicTransform)]


def gist(error: Exception) -> str:
    """What matters of a message that may run over many lines."""
    if isinstance(error.__cause__, ValidationError):
        found = [(".".join(map(str, detail["loc"])), detail["msg"]) for detail in error.__cause__.errors()]
        return "; ".join(": ".join(part for part in pair if part) for pair in found)
    if isinstance(error, KeyError):
        return f"it needs {error}, and gets an image alone"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:3]) or type(error).__name__


def apply_transform(pixels: Pixels, transform: Transform, word: int) -> Pixels:
    """The transform with a random state of this image's own; raises ParamsError where it fails or changes the size."""
    try:
        result = seeded(transform, pixels, word)
        check_kept(result, pixels)
    except Exception as error:
        raise ParamsError(f"augment.extra {type(transform).__name__}: {gist(error)}") from error
    return np.asarray(result, dtype=np.uint8)


def seeded(transform: Transform, pixels: Pixels, word: int) -> Any:
    """What the transform makes of an image; both generators that it draws from start at these 64 bits."""
    transform.set_random_state(np.random.Generator(np.random.PCG64(word)), random.Random(word))
    return transform(image=np.ascontiguousarray(pixels))["image"]
