"""A source as its copies need it: made once, in each of the two forms when the first copy of that form is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from augmentation import geometry, planar
from augmentation.noise import Pixels
from augmentation.recipe import Border


@dataclass(frozen=True)
class Prepared:
    """A source at about the size of its copies, with what its copies share."""

    pixels: Pixels  # (height, width, 3), or (height, width) where copies are grey
    shape: tuple[int, int]  # of the source itself
    grey_mean: float
    border: Border

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def most_bytes(self) -> int:
        """What it takes once its copies were made both ways."""
        return self.pixels.nbytes * 4

    @cached_property
    def padded(self) -> geometry.Words:
        """R, G, B and a byte that nobody reads, with a border, for the warp.  # (height, width)"""
        around = geometry.padded(self.pixels, self.border.mode, self.border.colour)
        return np.asarray(cv2.cvtColor(around, cv2.COLOR_RGB2RGBA)).view(np.uint32)[..., 0]

    @cached_property
    def padded_grey(self) -> Pixels:
        """Grey with a border, for the warp.  # (height, width)"""
        return geometry.padded(self.pixels, self.border.mode, planar.yuv(self.border.colour)[:1])

    @cached_property
    def planes(self) -> planar.Planes:
        """Y, U and V; or grey."""
        return planar.from_rgb(self.pixels) if self.pixels.ndim == 3 else [self.pixels]

    @cached_property
    def padded_planes(self) -> planar.Padded:
        """Y, U and V with a border, for the warp."""
        return planar.padded(self.planes, self.size, self.border)

    def warped(self, matrix: geometry.Nine, target: tuple[int, int]) -> Pixels:
        """The geometry of a copy; always a new array.  # (height, width, 3)"""
        if self.size == target and geometry.is_identity(matrix):
            return self.pixels.copy()
        return geometry.warp(self.padded, matrix, target, folded=self.border.mode == "reflect")

    def warped_planes(self, matrix: geometry.Nine, target: tuple[int, int], colour: planar.Colour) -> planar.Planes:
        """The geometry and the colours of a copy in planes, or in grey; always new arrays."""
        if self.size == target and geometry.is_identity(matrix) and colour == planar.AS_IT_IS:
            return [plane.copy() for plane in self.planes]
        folded = self.border.mode == "reflect"
        if self.pixels.ndim == 2:
            return [geometry.warp_plane(self.padded_grey, matrix, target, colour[0], folded=folded)]
        return planar.warp(self.padded_planes, matrix, target, colour, folded=folded)
