"""What a file really is, told from its first bytes: an HTML page saved as CSV, a pointer, an archive."""

from __future__ import annotations

FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the data: run git lfs pull"),
    (b"outs:\n- md5:", "a DVC pointer, not the data: run dvc pull"),
    (b"PK\x03\x04", "a ZIP archive (or an Excel file): unpack it, or save the sheet as CSV UTF-8"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"BZh", "a bzip2 archive: unpack it"),
    (b"\xfd7zXZ\x00", "an xz archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file: save it as CSV UTF-8"),
    (b"PAR1", "a Parquet file: write it as CSV"),
    (b"\x93NUMPY", "a NumPy file: write it as CSV"),
    (b"%PDF", "a PDF document: convert it to PNG or JPEG"),
    (b"%!PS", "a PostScript document: convert it to PNG or JPEG"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL, which is not supported: convert it to PNG or JPEG"),
    (b"\xff\x0a", "JPEG XL, which is not supported: convert it to PNG or JPEG"),
    *(
        (bytes([0x80, version]), "a Python pickle, which can run code: refused; ask for CSV")
        for version in (2, 3, 4, 5)
    ),
)
MARKUP = (
    (b"<!doctype html", "an HTML page (does the download need a login?)"),
    (b"<html", "an HTML page (does the download need a login?)"),
    (b"<svg", "an SVG drawing, which is not supported: convert it to PNG"),
    (b"<?xml", "an XML file (SVG?), which is not supported"),
    (b"{", "JSON, perhaps an error message of a server"),
)
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def foreign(head: bytes) -> str | None:
    """What a file that begins with `head` (a few hundred bytes are enough) is, if neither a table nor a known image."""
    for magic, kind in FOREIGN:
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return "HEIC, which is not supported: convert it to PNG or JPEG"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for magic, kind in MARKUP if text.startswith(magic)), None)
