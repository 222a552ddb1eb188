"""A copy's bytes as JPEG, PNG or raw; JPEG is always 4:2:0, and decoded as every reader of the copies does it.

A copy is one array, RGB (height, width, 3) or grey (height, width), or three planes: Y, and U and V of half the
resolution. Planes may have more rows and columns than the copy: Y at least to the next even number, as libjpeg-turbo
reads up to there. A grey JPEG or PNG has one channel, of which readers make three; raw bytes always have three.
"""

from __future__ import annotations

from contextlib import suppress

import cv2
import numpy as np
import simplejpeg

from augmentation.noise import Pixels, as_pixels


def encode(planes: list[Pixels], encoding: str, *, quality: int = 0, size: tuple[int, int] | None = None) -> Pixels:
    """The bytes of a copy as a flat array; `quality` is that of JPEG, the only encoding that takes three planes.

    `size` (height, width) is that of a copy in planes.
    """
    pixels = planes[0]
    if encoding == "raw":
        return np.ascontiguousarray(as_rgb(pixels)).reshape(-1)
    if encoding == "png":
        stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        return as_pixels(cv2.imencode(".png", stored)[1]).reshape(-1)
    if size is not None and len(planes) == 3:
        (height, width), (tall, wide) = size, (-(-size[0] // 2), -(-size[1] // 2))
        u, v = (plane[:tall, :wide] for plane in planes[1:])
        data = simplejpeg.encode_jpeg_yuv_planes(pixels[:height, :width], u, v, quality)
    elif pixels.ndim == 2:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels)[..., None], quality, "GRAY", "GRAY")
    else:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420")
    return np.frombuffer(data, dtype=np.uint8)


def as_rgb(pixels: Pixels) -> Pixels:
    """Grey in three equal channels; RGB as it is.  # (height, width, 3)"""
    return as_pixels(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)) if pixels.ndim == 2 else pixels


def as_grey(pixels: Pixels) -> Pixels:
    """The luminance of RGB.  # (height, width)"""
    return as_pixels(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def decode(data: Pixels) -> Pixels | None:
    """RGB pixels of a JPEG or PNG as they are stored; None where there is no image in it.  # (height, width, 3)

    OpenCV gives the same pixels of a JPEG a third slower.
    """
    with suppress(ValueError):
        return as_pixels(simplejpeg.decode_jpeg(data, "RGB", strict=False))
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else as_pixels(pixels)


def through_jpeg(planes: list[Pixels], quality: int, *, size: tuple[int, int] | None = None) -> Pixels:
    """To JPEG and back: what a reader of the file sees.  # (height, width, 3)"""
    return as_pixels(decode(encode(planes, "jpeg", quality=quality, size=size)))
