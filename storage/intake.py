"""First contact with an image file: one decoder, one colour rule, one canonical form; later stages read only that.

    intake = read_image(data, name="a.jpg")     # bytes or a path
    intake.pixels                                # uint8 RGB (height, width, 3)
    encode(intake.pixels, "png")                 # what the shards hold where the file is no plain one (storage/bare.py)

Pillow decodes every file completely, from an allow-list of raster formats and only after the size that its header
claims was checked. Colours: transparency over white, 16 bits to 8 by their high byte, everything else as Pillow
converts it to RGB; turned once as EXIF says. Profiles, comments and trailing bytes are left behind.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from storage.errors import DataError
from storage.paths import read_below
from storage.signatures import foreign

Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]  # RGB (height, width, 3)
BGR = Pixels  # blue first, as OpenCV encodes it: what intake itself holds, to turn the channels once
Encoding = Literal["png", "jpeg"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "AVIF": (".avif",),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
ORIENTATION = 0x0112  # the EXIF tag
TURNING = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})  # what may hold it
TURNED = "turned as EXIF says"  # the note
SMALL = 128 * 128 * 3  # bytes up to which a copy costs less than a look
SMALLEST_SIDE = 8  # below it, the report lists an image as tiny


class TruncatedImageError(DataError):
    """The file ends before its picture does; `prepare.truncated: drop` leaves such images out."""


class Intake(NamedTuple):
    """A decoded image, the format it came in, and what was mended or looks odd, as short phrases to count."""

    pixels: Pixels
    format: str
    notes: tuple[str, ...]


def read_image(source: str | Path | bytes, *, name: str = "", max_pixels: int = 50_000_000) -> Intake:
    """Decode a file (its path, or its bytes with the `name` for messages).

    Raises DataError for what is no image of a known format, for more than `max_pixels` claimed, and for damage
    (TruncatedImageError where the end is missing).
    """
    if isinstance(source, bytes):
        data, name = source, name or "image"
    else:
        path = Path(source)
        data, name = read_below(path.parent, path.name), name or str(source)
    with without_remarks():
        intake = decode_bgr(data, name=name, max_pixels=max_pixels)
    return intake._replace(pixels=turned_round(intake.pixels))


@contextmanager
def without_remarks() -> Iterator[None]:
    """Pillow's remarks on odd metadata, and its own, larger, limit of pixels, are not for people."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_bgr(data: bytes, *, name: str, max_pixels: int) -> Intake:
    """`read_image` for callers that read many images in one block `without_remarks`; its pixels are blue first."""
    if not data:
        raise DataError(f"{name} is empty (0 bytes)")
    return _canonical(_decode(data, name, max_pixels), name)


def encode(pixels: Pixels, encoding: Encoding, *, quality: int = 95) -> bytes:
    """The canonical bytes of an image: PNG (lossless) or JPEG."""
    return encode_bgr(turned_round(pixels), encoding, quality=quality)


def turned_round(pixels: Pixels) -> Pixels:
    """RGB as BGR, or the other way round."""
    return cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def encode_bgr(pixels: BGR, encoding: Encoding, *, quality: int = 95) -> bytes:
    """`encode` for pixels that are blue first."""
    options = {
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE],
    }  # run lengths: half the time of zlib's default for 4% more bytes on photos
    done, data = cv2.imencode(".jpg" if encoding == "jpeg" else ".png", pixels, options[encoding])
    if not done:
        raise DataError(f"an image of {pixels.shape[1]} x {pixels.shape[0]} cannot be written as {encoding}")
    return bytes(data)


def shrink(pixels: Pixels, max_side: int | None) -> Pixels:
    """The image with its longer side at most `max_side`, by area averaging; smaller ones as they are."""
    height, width = pixels.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return pixels
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smaller: Any = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cast(Pixels, smaller)


def _decode(data: bytes, name: str, max_pixels: int) -> Image.Image:
    try:
        image = _opened(data)
        if image.width * image.height > max_pixels:
            raise DataError(_too_large(name, f"{image.width} x {image.height} pixels", data, max_pixels))
        image.load()
    except DataError:
        raise
    except UnidentifiedImageError:
        kind = foreign(data[:512])
        raise DataError(f"{name} is {kind}" if kind else f"{name} is not an image ({_start(data)})") from None
    except Image.DecompressionBombError as error:
        claim = re.search(r"\d+ pixels", str(error))
        raise DataError(_too_large(name, claim[0] if claim else "too many pixels", data, max_pixels)) from None
    except Exception as error:  # a decoder may raise anything on damaged bytes
        if (stripped := _without_text(data)) != data:
            return _decode(stripped, name, max_pixels)
        text = f"{type(error).__name__}: {error}"
        if any(word in text.lower() for word in ("truncated", "eof", "premature", "not enough", "unexpected end")):
            raise TruncatedImageError(f"{name} is cut off ({len(data):,} bytes; {error})") from None
        raise DataError(f"{name} is damaged ({text[:120]})") from None
    return image


def _opened(data: bytes) -> Image.Image:
    """What Pillow makes of the head; PNG by its first bytes, which saves a tenth of the time of a small image."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile(io.BytesIO(data))
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _too_large(name: str, claim: str, data: bytes, limit: int) -> str:
    return f"{name} claims {claim} in {len(data):,} bytes; the limit prepare.max_pixels is {limit:,}"


def _start(data: bytes) -> str:
    return f"{len(data):,} bytes that start with {data[:12]!r}"


def _without_text(data: bytes) -> bytes:
    """A PNG without its text and profile chunks, which may be oversized or damaged; other data as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    kept, position = [data[:8]], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"):
            kept.append(data[position : position + 12 + length])
        position += 12 + length
    return b"".join(kept) if position <= len(data) else data


def _canonical(image: Image.Image, name: str) -> Intake:
    notes: list[str] = []
    format_ = image.format or "?"
    if not name.endswith(SUFFIXES.get(format_, "")):  # most do; the rest costs more than a small image
        suffix = Path(name).suffix.lower()
        if suffix and suffix not in SUFFIXES[format_]:
            notes.append(f"{format_} data in {suffix}")
    if format_ != "MPO" and getattr(image, "n_frames", 1) > 1:
        notes.append("animated or many pages: first taken")
    if image.mode != "RGB":
        notes.append(f"{image.mode} to RGB")
    orientation = _orientation(image)
    if 2 <= orientation <= 8:
        notes.append(TURNED)
        pixels = bgr_of(_turned(_rgb(image, name), orientation))
    elif image.mode == "L" and "transparency" not in image.info:
        pixels = bgr_of(image)
    else:
        pixels = bgr_of(_rgb(image, name))
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        notes.append(f"under {SMALLEST_SIDE} pixels")
    if _one_colour(pixels):
        notes.append("one colour only")
    return Intake(pixels, format_, tuple(notes))


def _one_colour(pixels: BGR) -> bool:
    if pixels.size <= SMALL:
        data = pixels.tobytes()
        return data == data[:3] * (len(data) // 3)
    height, width = pixels.shape[:2]
    if pixels[0, 0].tobytes() != pixels[height // 2, width // 2].tobytes():
        return False
    return bool((pixels[::16, ::16] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all())


def bgr_of(image: Image.Image) -> Any:
    """The pixels of a decoded RGB or grey image, blue first.  # (height, width, 3)"""
    width, height = image.size
    if image.mode == "L":
        return cv2.cvtColor(np.frombuffer(image.tobytes(), np.uint8).reshape(height, width), cv2.COLOR_GRAY2BGR)
    if width * height * 3 > SMALL:  # Pillow keeps four bytes each, which Arrow shows as they are: no copy
        with suppress(ValueError, TypeError, pa.ArrowException):  # larger than one block of memory, or an older Pillow
            return cv2.cvtColor(pa.array(image).values.to_numpy().reshape(height, width, 4), cv2.COLOR_RGBA2BGR)
    return cv2.cvtColor(np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, 3), cv2.COLOR_RGB2BGR)


def _orientation(image: Image.Image) -> int:
    if TURNING.isdisjoint(image.info) and image.format not in ("TIFF", "MPO"):
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF: as if there were none
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    bare = image.copy()
    bare.info.pop("exif", None)
    bare.getexif().clear()
    bare.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(bare) or bare


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """Any mode to RGB by the rules at the head of this file."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise DataError(f"{name} has floating-point pixels; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{name} has 32-bit pixels; convert it to 8 or 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
