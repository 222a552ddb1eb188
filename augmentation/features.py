"""What an image looks like apart from what it shows: about a hundred numbers per image, without torch.

Sharpness, noise, colour, gradient orientation, borders, traces of JPEG, and a small fixed embedding: random 5 x 5
convolutions (the same on every machine), rectified and pooled.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from augmentation import operations

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32) / 6  # unit response to white noise
SIDE = 128  # bounds the cost of an image of any size
N_FILTERS = 16
N_ORIENTATIONS = 8
HARMONICS = (1, 2, 3, 4)
FAINT = 16  # chroma below which hue says little, in grey levels
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def feature_table(images: Iterable[Pixels], *, coloured: bool = True) -> Floats:
    """Features of each image.  # (n_images, n_features)"""
    return np.stack([features(image, coloured=coloured) for image in images])


def features(pixels: Pixels, *, coloured: bool = True) -> Floats:
    """All numbers of one image of at least 8 x 8 pixels; those of hue if `coloured`.  # (n_features,)"""
    whole, detail = overview(pixels), middle(pixels)
    whole_grey, detail_grey = (cv2.cvtColor(part, cv2.COLOR_RGB2GRAY) for part in (whole, detail))
    parts = (
        colours(whole, whole_grey),
        noise_traces(detail, detail_grey),
        sharpness(detail_grey),
        orientations(whole_grey),
        borders(whole),
        jpeg_traces(detail_grey),
        embedding(detail_grey),
        layout(whole_grey),
        hues(whole) if coloured else [],
    )
    return np.hstack([np.ravel(number) for part in parts for number in part]).astype(np.float64)


def overview(pixels: Pixels) -> Any:
    """The whole image, shrunk to at most SIDE pixels a side.  # float32 (height, width, 3)"""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return pixels.astype(np.float32)


def middle(pixels: Pixels) -> Any:
    """At most SIDE x SIDE pixels as they are, cut out on JPEG's grid of 8.  # float32 (height, width, 3)"""
    height, width = pixels.shape[:2]
    top, left = (max(0, side - SIDE) // 2 // 8 * 8 for side in (height, width))
    return pixels[top : top + SIDE, left : left + SIDE].astype(np.float32)


def colours(image: Any, grey: Any) -> list[Any]:
    """Level and spread of each channel, how the channels go together, grey quantiles, shares of black and white."""
    mean, spread = cv2.meanStdDev(image)
    flat = image.reshape(-1, 3)
    centred = (flat - flat.mean(axis=0)) / (flat.std(axis=0) + 1)
    together = (centred.T @ centred / len(flat))[np.triu_indices(3, 1)]
    chroma = flat.max(axis=1) - flat.min(axis=1)
    quantiles = np.quantile(grey, QUANTILES)
    extremes = [(flat <= 1).mean(), (flat >= 254).mean()]
    return [
        mean.ravel(),
        spread.ravel(),
        together,
        [chroma.mean(), chroma.std()],
        quantiles,
        np.log10(np.add(extremes, 1e-4)),
    ]


def hues(image: Any) -> list[Any]:
    """How hue is distributed: its first harmonics, weighted by chroma, over the image at a quarter of its size.

    Hue that is shifted evenly by up to w shrinks the mean of the k-th to sin(kw) / kw of what it was.
    """
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(4, width // 4), max(4, height // 4)), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    first, second = operations.TO_YIQ[1:] @ small.T
    chroma = np.hypot(first, second) + 1e-3
    unit = (first + 1j * second) / chroma
    harmonics = np.array([(chroma * unit**k).mean() for k in HARMONICS]) / (chroma.mean() + FAINT)
    return [harmonics.real, harmonics.imag]


def noise_traces(image: Any, grey: Any) -> list[Any]:
    """Noise of each channel after Immerkaer (1996), robustly; where it is flat; how white it is."""
    residual = cv2.filter2D(image, -1, IMMERKAER)
    size = np.abs(residual).reshape(-1, 3)
    robust = np.quantile(size, (0.25, 0.5, 0.9), axis=0)
    grey_residual = cv2.filter2D(grey, -1, IMMERKAER)
    power = (grey_residual**2).mean() + 1e-3
    lags = [
        (grey_residual[:, 1:] * grey_residual[:, :-1]).mean() / power,
        (grey_residual[1:] * grey_residual[:-1]).mean() / power,
        (grey_residual[:, 2:] * grey_residual[:, :-2]).mean() / power,
    ]
    local = cv2.blur(grey**2, (5, 5)) - cv2.blur(grey, (5, 5)) ** 2
    flat = np.quantile(np.maximum(local, 0), (0.05, 0.2, 0.5))
    heavy = (size**4).mean() / ((size**2).mean() ** 2 + 1e-3)
    return [np.log(robust + 0.3).ravel(), lags, 0.5 * np.log(flat + 0.1), [np.log(heavy + 1e-2)]]


def sharpness(grey: Any) -> list[float]:
    """Energy of the detail at several scales, and the steepest gradients."""
    numbers: list[float] = []
    level = grey
    for _ in range(3):
        if min(level.shape) < 4:
            numbers.append(numbers[-1])
            continue
        smooth = cv2.GaussianBlur(level, (0, 0), 1.0)
        numbers.append(float(np.log(((level - smooth) ** 2).mean() + 0.05)))
        level = smooth[::2, ::2]
    steep = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    return [*numbers, *np.log(np.quantile(steep, (0.5, 0.9, 0.99)) + 1).tolist()]


def orientations(grey: Any) -> list[Any]:
    """Where edges point: shares of the gradient by angle, after a little smoothing; skew of light along both axes."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    x, y = cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1)
    weight = np.hypot(x, y)
    bins = np.minimum((np.arctan2(y, x) % np.pi) / np.pi * N_ORIENTATIONS, N_ORIENTATIONS - 1).astype(int)
    share = np.bincount(bins.ravel(), weight.ravel(), minlength=N_ORIENTATIONS) / (weight.sum() + 1)
    light = np.abs(smooth - np.median(smooth)) + 1e-3
    rows, columns = (np.linspace(-1, 1, side) for side in grey.shape)
    down, right = light.mean(axis=1) / light.mean(), light.mean(axis=0) / light.mean()
    moments = [(down * rows**k).mean() for k in (1, 2, 3)] + [(right * columns**k).mean() for k in (1, 2, 3)]
    cross = (light * rows[:, None] * columns[None]).mean() / light.mean()
    return [share, moments, [cross]]


def borders(image: Any) -> list[Any]:
    """Corners and edges against the middle: what a turn or a shift leaves behind."""
    height, width = image.shape[:2]
    tall, wide = max(1, height // 8), max(1, width // 8)
    corners = [
        image[:tall, :wide], image[:tall, -wide:], image[-tall:, :wide], image[-tall:, -wide:],
    ]  # fmt: skip
    levels = np.array([corner.mean() for corner in corners])
    spreads = np.array([corner.std(axis=(0, 1)).mean() for corner in corners])
    ring = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return [np.sort(levels), np.sort(spreads), [ring.mean(), ring.std()]]


def jpeg_traces(grey: Any) -> list[float]:
    """Steps across the 8 x 8 grid against those inside it, along both axes."""
    numbers = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, 2, axis=axis)).mean(axis=1 - axis)
        on_grid = np.isin(np.arange(len(steps)) % 8, (6, 7))
        inside = steps[~on_grid].mean() + 0.1
        numbers.append(float(np.log((steps[on_grid].mean() + 0.1 if on_grid.any() else inside) / inside)))
    return numbers


def layout(grey: Any) -> list[Any]:
    """The standardised image at 12 x 12 pixels: which way up it stands."""
    small = cv2.resize(cv2.GaussianBlur(grey, (0, 0), 1.0), (12, 12), interpolation=cv2.INTER_AREA)
    return [(small - small.mean()) / (small.std() + 4)]


@cache
def filters() -> npt.NDArray[np.float32]:
    """Random 5 x 5 filters of zero mean and unit length.  # (n_filters, 5, 5)"""
    values = np.random.Generator(np.random.PCG64(5)).normal(size=(N_FILTERS, 5, 5))
    values *= np.hanning(7)[1:-1][:, None] * np.hanning(7)[1:-1]
    values -= values.mean(axis=(1, 2), keepdims=True)
    unit: npt.NDArray[np.float64] = values / np.sqrt((values**2).sum(axis=(1, 2), keepdims=True))
    return unit.astype(np.float32)


def embedding(grey: Any) -> list[Any]:
    """Rectified responses to the random filters on the standardised image: their mean and spread."""
    standard = (grey - grey.mean()) / (grey.std() + 4)
    responses = np.stack([np.maximum(cv2.filter2D(standard, -1, kernel), 0) for kernel in filters()])
    return [responses.mean(axis=(1, 2)), responses.std(axis=(1, 2))]
