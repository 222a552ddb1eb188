"""Two hashes of a picture's pixels: one that is equal for equal pixels only, and one that is near for near pictures.

The perceptual hash is one whose rotated and mirrored forms can be told from the hash itself, without the picture:
64 bits, the signs of the 8 x 8 lowest frequencies of the cosine transform of the grey picture at 32 x 32, row by row,
the constant term's bit always 0. (pHash, Zauner 2010, with the threshold at 0 in place of the median.) Mirroring a
picture flips the signs of its odd frequencies and turning it transposes them, so each of the eight forms of a hash
is a fixed permutation and inversion of its bits.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np

SIDE, KEPT, SAMPLED = 32, 8, 96
PIECE = 2**14  # bytes of pixels
# The transform in whole numbers: sums are exact, so a hash is the same on every machine and 0 is 0.  # (8, 32)
COSINES = np.rint(4096 * np.cos(np.pi / SIDE * np.outer(np.arange(KEPT), np.arange(SIDE) + 0.5)))
Bits = np.ndarray[Any, np.dtype[np.bool_]]
Grey = np.ndarray[Any, np.dtype[np.uint8]]


def digest_of(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """64 hexadecimal digits that are equal for equal pictures of one order of colours, whatever file they came in.

    SHA-256 of the size and the pixels; of more than PIECE bytes of pixels, of the CRC-32 of each piece, which takes a
    third of the time. Then two pictures that differ in a single piece are told apart but for one pair in 2**32; in
    two pieces, in 2**64.
    """
    view = np.ascontiguousarray(pixels).reshape(-1).data
    digest = hashlib.sha256(b"%d x %d " % (pixels.shape[1], pixels.shape[0]))
    if len(view) <= PIECE:
        digest.update(view)
    else:
        sums = [zlib.crc32(view[start : start + PIECE]) for start in range(0, len(view), PIECE)]
        digest.update(np.array(sums, "<u4").tobytes())
    return digest.hexdigest()


def perceptual_hash(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """The hash of an RGB picture (height, width, 3) as 16 hexadecimal digits."""
    return hashes_of([small_grey(pixels)])[0]


def hashes_of(pictures: Sequence[Grey]) -> list[str]:
    """The hashes of many pictures that `small_grey` made: taken together, they cost a tenth."""
    if not pictures:
        return []
    grey = np.stack(pictures).astype(np.float64)  # (n, 32, 32)
    bits = (COSINES @ (grey @ COSINES.T)) > 0  # (n, 8, 8)
    bits[:, 0, 0] = False
    digits = np.packbits(bits).tobytes().hex()
    return [digits[start : start + 16] for start in range(0, len(digits), 16)]


def small_grey(pixels: Any, *, code: int = cv2.COLOR_RGB2GRAY) -> Grey:
    """What the hash sees of an RGB picture (height, width, 3); `code` for another order of colours.  # (32, 32)"""
    if min(pixels.shape[:2]) > SAMPLED:  # 9 places for each of the 32 x 32 are enough, and a tenth of the time
        pixels = cv2.resize(pixels, (SAMPLED, SAMPLED), interpolation=cv2.INTER_LINEAR)
    grey: Any = cv2.resize(cv2.cvtColor(pixels, code), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cast(Grey, grey)


def hash_bits(hashes: list[str]) -> Bits:
    """Hashes as bits.  # (n_images, 8, 8)"""
    data = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8)
    return np.unpackbits(data).reshape(-1, KEPT, KEPT).astype(bool)


def eight_forms(bits: Bits) -> Bits:
    """The hashes of the picture and of its seven rotated and mirrored forms.  # (n, 8, 8) -> (n, 8 forms, 8, 8)"""
    odd = np.arange(KEPT) % 2 == 1
    left_right = np.broadcast_to(odd[None, :], (KEPT, KEPT))
    up_down = left_right.T
    forms = []
    for turned in (bits, bits.transpose(0, 2, 1)):
        forms += [turned, turned ^ left_right, turned ^ up_down, turned ^ left_right ^ up_down]
    return np.stack(forms, axis=1)
