"""The pure function (seed, source, copy) -> image, which serves the disk, the online feed and the preview alike.

    copier = Copier(params)                                     # small, picklable, no torch
    image = copier.render(pixels, "a.png", 3)                   # uint8 RGB (height, width, 3), always the same

While training, draw a whole epoch at once with copy = epoch (plan.partners finds partners inside the fold):

    draws = copier.draw(source_ids, np.full(len(source_ids), epoch))
    partner = plan.partners(draws, np.arange(len(source_ids)), source_ids, folds)   # positions, -1: none
    weight = plan.weights(draws, partner)                                           # share of the source's label
    image = copier.render_drawn(copier.prepare(pixels), draws, i, partner=copier.prepare(partner_pixels))

With `encoding: jpeg` a copy is what a reader of its file sees: rendering encodes and decodes it. Such copies are made
in planes where all that was drawn has a form in them (planar.py), the others in RGB; with `grey: true`, all are made in
one plane of grey. One pair of prepared source and partner per image is all that is held in memory. Not safe in threads:
one per thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from augmentation import documents, geometry, operations, planar
from augmentation.catalogue import Transform, apply_transform, open_catalogue
from augmentation.drawing import Draws, Floats, copy_keys, draw, words
from augmentation.encoding import as_grey, as_rgb, encode, through_jpeg
from augmentation.noise import PixelRandom, Pixels, as_pixels
from augmentation.prepared import Prepared
from augmentation.recipe import AugmentParams

GEOMETRY = ("flip", "rotate", "shift", "scale", "shear", "perspective")


class Copier:
    """Makes copies of sources by one recipe; `size` (height, width) overrules the recipe's."""

    def __init__(self, params: AugmentParams, *, size: tuple[int, int] | None = None) -> None:
        self.params = params
        self.size = size or params.height_width
        self.random = PixelRandom()
        moving = {name: getattr(params.operations, name) for name in GEOMETRY}
        self.partner_params = params.model_copy(update={"operations": type(params.operations)(**moving), "extra": []})

    def draw(
        self,
        source_ids: Sequence[str],
        copies: Sequence[int] | npt.NDArray[Any],
        *,
        view: str = "train",
        strength: Floats | None = None,
    ) -> Draws:
        """What happens to copy `copies[i]` of `source_ids[i]`, for all i at once."""
        return draw(self.params, copy_keys(self.params.seed, view, source_ids, copies), view=view, strength=strength)

    def prepare(self, pixels: Pixels) -> Prepared:
        """Shrink a source once for all its copies."""
        small = geometry.prepare_source(pixels, self.size, self.params.fit)
        grey = float(np.dot(cv2.mean(small)[:3], operations.GREY))
        if self.params.grey:
            small = as_grey(small)
        return Prepared(small, (pixels.shape[0], pixels.shape[1]), grey, self.params.border)

    def render(
        self, pixels: Pixels, source_id: str, copy: int, partner_pixels: Pixels | None = None, *, view: str = "train"
    ) -> Pixels:
        """One copy from scratch.  # uint8 (height, width, 3)"""
        partner = None if partner_pixels is None else self.prepare(partner_pixels)
        return self.render_drawn(self.prepare(pixels), self.draw([source_id], [copy], view=view), 0, partner=partner)

    def render_drawn(self, source: Prepared, draws: Draws, i: int, *, partner: Prepared | None = None) -> Pixels:
        """The i-th of the drawn copies, artefacts of JPEG included.  # uint8 (height, width, 3)"""
        row = draws.row(i)
        planes = self.made(source, draws, i, row, partner)
        quality = self.quality(row)
        return as_rgb(planes[0]) if quality is None else through_jpeg(planes, quality, size=self.size or source.shape)

    def encode_drawn(self, source: Prepared, draws: Draws, i: int, *, partner: Prepared | None = None) -> Pixels:
        """The same copy as bytes in the recipe's encoding; as JPEG it is compressed once, with the drawn quality."""
        row = draws.row(i)
        planes = self.made(source, draws, i, row, partner)
        quality = self.quality(row)
        if quality is not None and self.params.encoding != "jpeg":
            planes = [through_jpeg(planes, quality)]
        return encode(planes, self.params.encoding, quality=quality or 0, size=self.size or source.shape)

    def quality(self, row: dict[str, float]) -> int | None:
        """The quality with which a copy goes through JPEG; None where it does not."""
        drawn = row.get("jpeg_quality", 100.0)
        if drawn < 100:
            return round(drawn)
        return self.params.jpeg_quality if self.params.encoding == "jpeg" else None

    def made(
        self, source: Prepared, draws: Draws, i: int, row: dict[str, float], partner: Prepared | None
    ) -> list[Pixels]:
        """A copy before its compression: one array, RGB or grey, or three planes."""
        random, key = self.random.restart(int(draws.pixel_words[i])), draws.keys[i : i + 1]
        in_planes = self.params.encoding == "jpeg" and not self.params.grey and planar.possible(row)
        target = self.size or source.shape
        colour = planar.jitter(row, source.grey_mean) if in_planes or self.params.grey else None
        planes = self.placed(source, row, target, random, colour)
        if partner is not None:
            other = draw(self.partner_params, words(key, "partner"), view="testlike").row(0)
            planes = mix(planes, self.placed(partner, other, target, random, colour), row, random, target)
        if in_planes:
            return planar.apply(planes, row, random)
        pixels = operations.apply(planes[0], row, random, grey_mean=source.grey_mean)
        return [self.foreign(pixels, row, key)]

    def foreign(self, pixels: Pixels, row: dict[str, float], key: npt.NDArray[np.uint64]) -> Pixels:
        """The transforms of albumentations that were drawn."""
        for i, transform in enumerate(self.transforms):
            if row[f"extra_{i}"]:
                pixels = apply_transform(as_rgb(pixels), transform, int(words(key, f"extra_{i}_state")[0]))
        return as_grey(pixels) if self.params.grey and pixels.ndim == 3 else pixels

    @cached_property
    def transforms(self) -> list[Transform]:
        """The opened catalogue; raises ParamsError. Its import takes seconds, so only recipes with extras pay."""
        return open_catalogue(self.params.extra, [self.size] if self.size else [])

    def on_paper(self, source: Prepared, row: dict[str, float], random: PixelRandom) -> Prepared:
        """The source with what belongs to the sheet and moves with it."""
        if not (row.get("paper_strength") or row.get("crease_count")):
            return source
        pixels = source.pixels
        if strength := row.get("paper_strength"):
            pixels = documents.paper(pixels, strength, random)
        if count := round(row.get("crease_count", 0.0)):
            pixels = documents.crease(pixels, count, row["crease_strength"], random)
        return replace(source, pixels=pixels)

    def placed(
        self,
        source: Prepared,
        row: dict[str, float],
        target: tuple[int, int],
        random: PixelRandom,
        colour: planar.Colour | None,
    ) -> list[Pixels]:
        """The copy's geometry; where its colours are given, they are applied in the same pass and it is in planes."""
        matrix = geometry.copy_matrix(source.shape, source.size, target, fit=self.params.fit, row=row)
        sheet = self.on_paper(source, row, random)
        return [sheet.warped(matrix, target)] if colour is None else sheet.warped_planes(matrix, target, colour)


def mix(
    planes: list[Pixels], partner: list[Pixels], row: dict[str, float], random: PixelRandom, size: tuple[int, int]
) -> list[Pixels]:
    """Blend the two by the drawn share (mixup), or paste a rectangle of the partner (cutmix)."""
    if (share := row.get("mixup", 1.0)) < 1:
        return [as_pixels(cv2.addWeighted(a, share, b, 1 - share, 0)) for a, b in zip(planes, partner, strict=True)]
    share = row.get("cutmix", 1.0)
    height, width = size
    tall, wide = (round(side * (1 - share) ** 0.5) for side in (height, width))
    top, left = int(random.uniform(0, height - tall + 1)), int(random.uniform(0, width - wide + 1))
    for plane, other, scale in zip(planes, partner, planar.SCALES, strict=False):
        rows, columns = (slice(-(-a // scale), -(-b // scale)) for a, b in ((top, top + tall), (left, left + wide)))
        plane[rows, columns] = other[rows, columns]
    return planes
