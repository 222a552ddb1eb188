"""What images look like, in numbers: colour, light, sharpness, noise, rotation, shape; one row per image.

The measures are those by which a noisy test set differs from a clean training set. Light and colour are measured on
the picture shrunk to at most OVERVIEW pixels, detail on its middle at full resolution, so that a large image costs no
more than a small one; width and height are the true ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.pictures import fit

Pixels = NDArray[np.uint8]
OVERVIEW, MIDDLE = 256, 512  # pixels

MEASURES: dict[str, str] = {
    "brightness": "mean grey value, 0 to 255",
    "contrast": "standard deviation of the grey values",
    "saturation": "mean distance between the largest and the smallest of red, green and blue",
    "red": "mean of the red channel",
    "green": "mean of the green channel",
    "blue": "mean of the blue channel",
    "red_deviation": "standard deviation of the red channel",
    "green_deviation": "standard deviation of the green channel",
    "blue_deviation": "standard deviation of the blue channel",
    "sharpness": "variance of the Laplacian of the grey picture; blur lowers it",
    "noise": "standard deviation of the pixel noise, by Immerkær's mask; edges raise it a little",
    "rotation": "angle of the strongest direction of the edges, folded to -45° to 45°; 0 for upright text",
    "directedness": "how much the edges agree on that direction, 0 to 1",
    "axis": "angle of the long axis of what stands out from the border, -90° to 90°; 90 or -90 is upright",
    "border": "mean grey value of the outermost pixels; fills of rotations show here",
}
COLOURS = ("saturation", "red", "green", "blue")
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def measure(pixels: Pixels) -> dict[str, float]:
    """The MEASURES of one RGB picture (height, width, 3)."""
    middle = _grey(np.ascontiguousarray(_middle(pixels)))
    pixels = fit(pixels, OVERVIEW)
    grey = _grey(pixels)
    mean, deviation = cv2.meanStdDev(pixels)
    grey_mean, grey_deviation = cv2.meanStdDev(grey)
    red, green, blue = cv2.split(pixels)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    rotation, directedness = direction(grey)
    return {
        "brightness": float(grey_mean[0, 0]),
        "contrast": float(grey_deviation[0, 0]),
        "saturation": float(cv2.mean(spread)[0]),
        **{name: float(mean[i, 0]) for i, name in enumerate(("red", "green", "blue"))},
        **{f"{name}_deviation": float(deviation[i, 0]) for i, name in enumerate(("red", "green", "blue"))},
        "sharpness": float(cv2.meanStdDev(cv2.Laplacian(middle, cv2.CV_32F))[1][0, 0]) ** 2,
        "noise": noise(middle),
        "rotation": rotation,
        "directedness": directedness,
        "axis": long_axis(grey),
        "border": float(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).mean()),
    }


def noise(grey: Pixels) -> float:
    """Standard deviation of Gaussian noise (J. Immerkær, Fast Noise Variance Estimation, CVIU 64, 1996)."""
    height, width = grey.shape
    if height < 3 or width < 3:
        return 0.0
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, _IMMERKAER)[1:-1, 1:-1])
    return float(np.sqrt(np.pi / 2) * response.mean() / 6)


def direction(grey: Pixels) -> tuple[float, float]:
    """(angle in degrees, -45 to 45; agreement, 0 to 1) of the edges: the fourfold mean of the gradients' angles.

    Horizontal and vertical edges count alike, as in a page of text; the angle is that by which the picture is turned
    counterclockwise.
    """
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), -cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    squares = across * across, down * down
    power, difference, product = squares[0] + squares[1], squares[0] - squares[1], 2 * across * down
    total = float(power.sum())
    if total <= 0:
        return 0.0, 0.0
    # (across + i down)^4 / power: a gradient of four times the angle that counts by its power
    np.divide(1, power, out=power, where=power > 0)
    real = float(((difference - product) * (difference + product) * power).sum()) / total
    imaginary = float((2 * difference * product * power).sum()) / total
    return float(np.degrees(np.arctan2(imaginary, real))) / 4, float(np.hypot(real, imaginary))


def long_axis(grey: Pixels) -> float:
    """Angle in degrees, -90 to 90 counterclockwise from the horizontal, of the longest extent of the foreground.

    The foreground is how far each pixel is from the median of the border; the axis is that of its second moments.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    moments = cv2.moments(cv2.absdiff(grey, np.full_like(grey, int(np.median(edge)))))
    angle = 0.5 * np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    return float(-np.degrees(angle))


def statistics(image_ids: Iterable[str], pictures: Iterable[Pixels]) -> pd.DataFrame:
    """One row per picture: image_id, width, height, aspect (width over height) and MEASURES."""
    rows: list[dict[str, Any]] = []
    for image_id, pixels in zip(image_ids, pictures, strict=True):
        height, width = pixels.shape[:2]
        rows.append(
            {"image_id": image_id, "width": width, "height": height, "aspect": width / height, **measure(pixels)}
        )
    return pd.DataFrame(rows, columns=["image_id", "width", "height", "aspect", *MEASURES])


def telling(*tables: pd.DataFrame) -> list[str]:
    """The MEASURES that say something about these images: of grey ones, those of colour only repeat the others."""
    coloured = any(len(table) and table["saturation"].quantile(0.95) >= 1 for table in tables)
    return [name for name in MEASURES if coloured or not name.startswith(COLOURS)]


def _grey(pixels: Pixels) -> Pixels:
    return cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def _middle(pixels: Pixels) -> Pixels:
    """The central MIDDLE x MIDDLE pixels, or what there is of them."""
    height, width = pixels.shape[:2]
    top, left = max(0, height - MIDDLE) // 2, max(0, width - MIDDLE) // 2
    return pixels[top : top + MIDDLE, left : left + MIDDLE]
