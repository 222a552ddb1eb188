"""An image file that already is in canonical form, as it is: only what a decoder needs, byte for byte.

Encoding a JPEG anew costs quality and as much time as decoding it. So intake keeps the file's own picture where it is
a plain one: a baseline JPEG in one scan, an 8-bit PNG of grey or RGB without transparency. Kept are the tables, the
frame and the coded pixels, up to the end mark; comments, profiles, EXIF, thumbnails, text and trailing bytes are not.

Why that is safe: the caller has decoded the whole file before, without complaint; of what follows here, all is checked
that two decoders could read in different ways; and any surprise means None, and the pixels are encoded anew.
Bytes of any kind may come in, nothing is raised, and the time is that of one look at each byte.

    bare(data, "jpeg", width=443, height=591)     # bytes, or None
"""

from __future__ import annotations

import re
import struct
import zlib

PNG, IEND = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xae\x42\x60\x82"
JFIF = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"  # start, and a header without thumbnail
FRAME, HUFFMAN, END, SCAN, TABLES, INTERVAL, ADOBE, COMMENT = 0xC0, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xEE, 0xFE
RESTART = 0xD0  # to 0xD7, in turn
MARK = re.compile(rb"\xff[^\x00]")  # within coded pixels, a byte 0xff that is none is followed by 0
SAMPLINGS = tuple(map(bytes.fromhex, ("11", "111111", "211111", "121111", "221111")))  # grey, 4:4:4, :2:2, :4:0, :2:0
LONGEST_SIDE = 65_500
CHANNELS = {b"\x08\0\0\0\0": 1, b"\x08\2\0\0\0": 3}  # of an 8-bit grey or RGB PNG whose lines stand in order
TABLES_TAKE = 4096  # bytes at most, where there is one of each
WINDOW = 32_768  # bytes that deflate looks back at most
MOVING = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # transparency and animation


def bare(data: bytes, encoding: str, *, width: int, height: int) -> bytes | None:
    """The picture of a JPEG or PNG file without all else; None where it is not of that encoding, size and plainness."""
    if not 0 < max(width, height) <= LONGEST_SIDE:
        return None
    if encoding == "jpeg":
        found = _jpeg(data, width, height) if data.startswith(b"\xff\xd8\xff") else None
    else:
        found = _png(data, width, height) if data.startswith(PNG) else None
    return found if found and len(found) <= 6 * width * height + TABLES_TAKE else None  # twice the pixels


def _jpeg(data: bytes, width: int, height: int) -> bytes | None:
    """Segments up to the scan (ITU-T T.81, annex B), then the coded pixels up to the end mark."""
    kept, frame, interval, position = [JFIF], b"", 0, 2
    while position + 4 <= len(data):
        mark, kind, length = struct.unpack_from(">BBH", data, position)
        content, segment = data[position + 4 : position + 2 + length], data[position : position + 2 + length]
        position += 2 + length
        if mark != 0xFF:
            return None
        if kind == SCAN:
            units = _units(frame, content, width, height)
            end = _end(data, position, -(-units // interval) - 1 if interval else 0) if units else 0
            return b"".join((*kept, segment, data[position:end])) if end else None
        if kind == FRAME and not frame:
            frame = content
        elif kind == INTERVAL and length == 4:
            interval = int.from_bytes(content, "big")
        elif kind == ADOBE and content.startswith(b"Adobe"):
            if len(content) != 12 or content[11] != 1:  # 1: luminance and two colours, as JFIF has it
                return None
        elif kind not in (TABLES, HUFFMAN) and not 0xE0 <= kind <= 0xEF and kind != COMMENT:
            return None
        if kind in (TABLES, HUFFMAN, FRAME, INTERVAL):
            kept.append(segment)
    return None


def _units(frame: bytes, scan: bytes, width: int, height: int) -> int:
    """How many units of pixels there are to this frame and the head of its scan; 0 where they are no plain ones."""
    if len(frame) not in (9, 15):
        return 0
    n_components = len(frame) // 3 - 2
    numbers = bytes(range(1, n_components + 1))
    if frame[:6] != struct.pack(">BHHB", 8, height, width, n_components) or frame[6::3] != numbers:
        return 0
    if frame[7::3] not in SAMPLINGS:
        return 0
    if scan[:1] + scan[1:-3:2] + scan[-3:] != bytes((n_components, *numbers, 0, 63, 0)):  # all, in full precision
        return 0
    wide, tall = 8 * (frame[7] >> 4), 8 * (frame[7] & 15)
    return -(-width // wide) * -(-height // tall) if len(scan) == 4 + 2 * n_components else 0


def _end(data: bytes, start: int, restarts: int) -> int:
    """Where the coded pixels end, behind the end mark; 0 where there are other marks than the restarts in turn."""
    for number, found in enumerate(MARK.finditer(data, start)):
        kind = data[found.start() + 1]
        if kind == END:
            return found.end() if number == restarts else 0
        if kind != RESTART + number % 8:
            return 0
    return 0


def _png(data: bytes, width: int, height: int) -> bytes | None:
    """The head, the coded pixels in consecutive chunks, and the end (PNG specification, third edition)."""
    channels = CHANNELS.get(data[24:29])
    if channels is None or data[8:24] != struct.pack(">I4sII", 13, b"IHDR", width, height):
        return None
    first, last = _coded(data)
    whole = last and _holds(data, first, last, height * (1 + width * channels))
    return b"".join((data[:33], data[first:last], IEND)) if whole else None


def _coded(data: bytes) -> tuple[int, int]:
    """Where the chunks of coded pixels start and end; (0, 0) where there is doubt about any chunk."""
    view, position, first, last = memoryview(data), 8, 0, 0
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position, position + 12 + length
        if kind == b"IEND":
            return (first, last) if data[start:position] == IEND else (0, 0)
        if kind in MOVING or (kind == b"IHDR" and start > 8):
            break
        if kind in (b"IHDR", b"IDAT"):
            if zlib.crc32(view[start + 4 : position - 4]) != int.from_bytes(view[position - 4 : position], "big"):
                break
        elif not (kind.isalpha() and kind[:1].islower()):  # may be left out
            break
        if kind == b"IDAT":
            if not length or last not in (0, start):
                break
            first, last = first or start, position
    return 0, 0


def _holds(data: bytes, first: int, last: int, size: int) -> bool:
    """Whether the coded pixels are one undamaged stream of `size` bytes: what is missing, readers fill up unasked.

    A stream that says that it looks back less than its size, and does not, is read by some only (zlib, libpng).
    """
    if 1 << (data[first + 8] >> 4) + 8 < min(size, WINDOW):
        return False
    view, inflater = memoryview(data), zlib.decompressobj()
    while first < last and size >= 0:
        length = int.from_bytes(view[first : first + 4], "big")
        try:
            size -= len(inflater.decompress(view[first + 8 : first + 8 + length], size + 1))
        except zlib.error:
            return False
        first += 12 + length
    return size == 0 and inflater.eof and not inflater.unused_data
