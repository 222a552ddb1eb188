"""The one strict reader of CSV tables: all text, exact line numbers, every problem of the file in one message.

    frame = read_csv("data/raw/train.csv", columns=["ID", "target"])
    frame.index          # line numbers in the file, the header being line 1 (or later, after blank lines)
    frame.attrs["notes"] # what was mended: a BOM removed, an unnamed index column ignored

Nothing is guessed about values: `0001`, `1e5`, `NA` stay as they are written. Memory is bounded by the table's text.
"""

from __future__ import annotations

import csv
import io
import re
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from storage.errors import DataError, problems
from storage.names import near
from storage.signatures import foreign

LONGEST_LINE = 1_000_000  # characters
CHUNK = 100_000  # rows that are Python objects at one time
DELIMITERS = ",\t;|"
FOREIGN_ENCODINGS = ("cp949", "shift_jis", "gb18030", "cp1252")


@dataclass
class _Rows:
    """The body of a table while it is being read."""

    header: list[str]
    lines: array[int] = field(default_factory=lambda: array("q"))
    chunk: list[list[str]] = field(default_factory=list)
    columns: list[list[pa.Array]] = field(default_factory=list)  # finished chunks, each one array per column
    problems: list[str] = field(default_factory=list)
    long: int = 0  # rows of several lines

    def flush(self) -> None:
        if self.chunk:
            self.columns.append([pa.array(values, pa.large_string()) for values in zip(*self.chunk, strict=True)])
            self.chunk = []

    def frame(self) -> pd.DataFrame:
        self.flush()
        if not self.columns:
            return pd.DataFrame({name: pd.Series(dtype="str") for name in self.header})
        arrays = [pa.chunked_array(list(parts)) for parts in zip(*self.columns, strict=True)]
        frame: pd.DataFrame = pa.table(arrays, names=self.header).to_pandas()
        frame.index = pd.Index(np.frombuffer(self.lines, np.int64), name="line")
        return frame


def read_csv(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    rows_needed: bool = True,
) -> pd.DataFrame:
    """The table in `path` as text, indexed by line number; `columns` are those that have to be there.

    Where they are given, values of all other columns may run over several lines, as free text does.
    A header without rows is refused unless `rows_needed` is false.
    Raises DataError that lists the problems of the file with their lines.
    """
    path = Path(path)
    encoding = _check_kind(path, encoding)
    notes: list[str] = []
    try:
        with open(path, encoding=encoding, newline=None) as file:
            lines = _lines(file, path)
            first, skipped = _first_line(lines, notes, path)
            delimiter = delimiter or _delimiter(first, notes, columns)
            header = _header(first, delimiter, columns, path)
            free = set(header).difference(header if columns is None else columns)
            rows = _rows(lines, header, delimiter, skipped=skipped, free=free)
    except UnicodeDecodeError:
        raise DataError(_encoding_problem(path, encoding)) from None
    if rows.problems:
        size = path.stat().st_size
        raise DataError(problems(f"{path} ({size:,} bytes) cannot be read", rows.problems))
    if not rows.lines and rows_needed:
        raise DataError(f"{path} has a header and no rows")
    frame = rows.frame()
    if header[0] in ("", "Unnamed: 0") and len(header) > 1:
        frame = frame.drop(columns=header[0])
        notes.append("ignored the unnamed first column (was index=False forgotten?)")
    if rows.long:
        notes.append(f"{rows.long:,} rows run over several lines: free text, or a quote that is never closed?")
    frame.attrs["notes"] = [f"{path}: {note}" for note in notes]
    return frame


def _check_kind(path: Path, encoding: str) -> str:
    """Refuse what is no text table; returns the encoding to open it with."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise DataError(f"{path} {reason}. Put it there, or correct its path") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is not a regular file")
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not head:
        raise DataError(f"{path} is empty (0 bytes)")
    if kind := foreign(head):
        raise DataError(f"{path} is {kind}")
    utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
    if utf8 and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[1:4:2] == b"\0\0" or head[:4:2] == b"\0\0"):
        raise DataError(f"{path} is UTF-16. Save it as CSV UTF-8, or set the option encoding: utf-16")
    if utf8 and b"\0" in head:
        raise DataError(f"{path} is not a text file: it holds zero bytes")
    return "utf-8-sig" if utf8 else encoding


def _lines(file: io.TextIOBase, path: Path) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise DataError(f"{path}: line {number}: longer than {LONGEST_LINE:,} characters")
        yield line


def _first_line(lines: Iterator[str], notes: list[str], path: Path) -> tuple[str, int]:
    """The header's line and its number; blank lines and Excel's `sep=` line before it are passed over."""
    for number, line in enumerate(lines, start=1):
        if match := re.fullmatch(r"\"?sep=(.)\"?\s*", line, flags=re.IGNORECASE):
            notes.append(f"removed Excel's 'sep={match[1]}' line")
        elif line.strip():
            return line, number
    raise DataError(f"{path} holds only blank lines")


def _delimiter(first: str, notes: list[str], columns: Sequence[str] | None) -> str:
    """The delimiter that shows the wanted columns, else the one that is most frequent in the header."""
    for note in notes:
        if match := re.search(r"'sep=(.)'", note):
            return match[1]
    for candidate in DELIMITERS:
        if columns and set(columns) <= {name.strip() for name in _split(first, candidate)}:
            return candidate
    return max(DELIMITERS, key=lambda candidate: len(_split(first, candidate)))


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\n")], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def _header(first: str, delimiter: str, columns: Sequence[str] | None, path: Path) -> list[str]:
    header = [name.strip() for name in _split(first, delimiter)]
    if not header:
        raise DataError(f"{path}: the header cannot be read (a quote that is never closed?): {first[:80]!r}")
    found = []
    twice = sorted({name for name in header if header.count(name) > 1})
    found += [f"column {name!r} appears {header.count(name)} times" for name in twice]
    missing = [name for name in columns or [] if name not in header]
    if columns and len(missing) == len(columns) and _looks_like_data(header):
        raise DataError(
            f"{path} has no header: expected columns {','.join(columns)}; first line looks like data: {first.strip()}"
        )
    for name in missing:
        close = near(name, header, likeness=0.6)
        hint = f"; did you mean {close[0]!r}? Name the columns in params.yaml, prepare.options" if close else ""
        found.append(f"no column {name!r}{hint}")
    if found:
        raise DataError(problems(f"{path} has the columns {','.join(header)}", found))
    return header


def _looks_like_data(header: Sequence[str]) -> bool:
    return any(re.fullmatch(r"[-+.\d]+|.*\.(jpe?g|png|webp|bmp|tiff?)", name, flags=re.IGNORECASE) for name in header)


def _rows(lines: Iterator[str], header: list[str], delimiter: str, *, skipped: int, free: set[str]) -> _Rows:
    rows, width = _Rows(header), len(header)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return rows
        except csv.Error as error:
            row, problem = [], _syntax_problem(str(error), reader.line_num > start, start + skipped)
            rows.problems.append(problem)
            if "never closed" in problem:
                return rows
            continue
        if len(row) == width and (reader.line_num == start or free.issuperset(_broken(row, header))):
            rows.lines.append(start + skipped)
            rows.long += reader.line_num > start
            rows.chunk.append(row)
            if len(rows.chunk) == CHUNK:
                rows.flush()
        elif row:
            rows.problems.append(_row_problem(row, header, start + skipped))


def _broken(row: list[str], header: list[str]) -> list[str]:
    """The columns whose value runs over several lines."""
    return [name for name, value in zip(header, row, strict=False) if "\n" in value]


def _syntax_problem(error: str, several_lines: bool, line: int) -> str:
    if several_lines or "unexpected end" in error:
        return f"quote opened at line {line} is never closed"
    if "field limit" in error:
        return f"line {line}: a value is longer than {csv.field_size_limit():,} characters"
    return f"line {line}: {error}"


def _row_problem(row: list[str], header: list[str], line: int) -> str:
    if broken := _broken(row, header):
        return f"line {line}: {broken[0]} contains a line break"
    if len(row) < len(header):
        return f"line {line}: no value for {header[len(row)]!r} (was the file cut off?)"
    return f"line {line} has {len(row)} values, the header has {len(header)}"


def _encoding_problem(path: Path, encoding: str) -> str:
    data = path.read_bytes()[:1_000_000]
    for candidate in FOREIGN_ENCODINGS:
        try:
            data[: data.rfind(b"\n") + 1].decode(candidate)
        except UnicodeDecodeError:
            continue
        return f"{path} is not {encoding.upper()}; it looks like {candidate}. Set the option encoding: {candidate}"
    return f"{path} is not {encoding.upper()}, nor any encoding that is known here. Save it as CSV UTF-8"


def repeated(values: pd.Series[str]) -> NDArray[np.bool_]:
    """Where a column's text appears more than once; a fraction of the memory that `duplicated` takes.  # (n_rows,)"""
    column = pa.array(values)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    codes = column.dictionary_encode().indices.to_numpy()
    return np.asarray(np.bincount(codes)[codes] > 1) if len(codes) else np.zeros(0, bool)


@dataclass(frozen=True)
class ByteStyle:
    """How a CSV file's bytes are laid out, so that another can be written in the same style."""

    delimiter: str = ","
    newline: str = "\n"
    bom: bool = False
    quote: Literal["minimal", "all"] = "minimal"
    final_newline: bool = True


def byte_style(path: str | Path, *, encoding: str = "utf-8") -> ByteStyle:
    """The byte style of a CSV file that `read_csv` accepts."""
    data = Path(path).read_bytes()
    text = data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    newline = "\r\n" if "\r\n" in text else "\n" if "\n" in text else "\r" if "\r" in text else "\n"
    first = re.split(r"\r\n|\r|\n", text.lstrip("\r\n"), maxsplit=1)[0]
    quoted = re.fullmatch(r'"[^"]*"(?:[,;|\t]"[^"]*")*', first) is not None
    return ByteStyle(
        delimiter=_delimiter(first, [], None),
        newline=newline,
        bom=data.startswith(b"\xef\xbb\xbf"),
        quote="all" if quoted else "minimal",
        final_newline=text.endswith(("\n", "\r")),
    )
