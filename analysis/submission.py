"""The submission file: written byte for byte in the sample's style, and checked against it, cell by cell.

`render` makes the bytes, `checked` reads any file back through the strict CSV reader and refuses what the contest would
refuse: columns, ids, empty cells, unknown labels, rows that are no distribution. All problems come in one message.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.csvfile import read_csv
from storage.errors import DataError, problems

Array = NDArray[Any]
ONE_CLASS = 0.95  # a larger share of one class is worth a warning
SUM_TOLERANCE = 1e-3


class Style(Protocol):
    """What the sample submission looks like (`SubmissionFormat` of the index)."""

    @property
    def columns(self) -> list[str]: ...  # noqa: D102
    @property
    def kind(self) -> Literal["labels", "probabilities"]: ...  # noqa: D102
    @property
    def row_ids(self) -> list[str]: ...  # noqa: D102
    @property
    def delimiter(self) -> str: ...  # noqa: D102
    @property
    def newline(self) -> str: ...  # noqa: D102
    @property
    def bom(self) -> bool: ...  # noqa: D102
    @property
    def quote(self) -> Literal["minimal", "all"]: ...  # noqa: D102
    @property
    def final_newline(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Checked:
    """A submission that fits: cells by id in the sample's order, and what is odd about it."""

    cells: dict[str, list[str]]
    warnings: list[str] = field(default_factory=list)


def render(style: Style, cells: Mapping[str, Sequence[str]]) -> bytes:
    """The file: a header, then one row per id of the sample, in its order and byte style."""
    quoting: Literal[0, 1] = csv.QUOTE_ALL if style.quote == "all" else csv.QUOTE_MINIMAL
    text = io.StringIO()
    writer = csv.writer(text, delimiter=style.delimiter, quoting=quoting, lineterminator=style.newline)
    writer.writerow(style.columns)
    writer.writerows([row_id, *cells[row_id]] for row_id in style.row_ids)
    content = text.getvalue()
    if not style.final_newline:
        content = content.removesuffix(style.newline)
    return content.encode("utf-8-sig" if style.bom else "utf-8")


def label_cells(image_ids: Sequence[str], labels: Array, *, values: Sequence[str]) -> dict[str, list[str]]:
    """One cell per image: the value that the submission writes for its class."""
    return {image_id: [values[label]] for image_id, label in zip(image_ids, labels, strict=True)}


def probability_cells(
    image_ids: Sequence[str],
    probabilities: Array,
    *,
    style: Style,
    names: Sequence[str],
    values: Sequence[str],
    decimals: int = 6,
    smallest: float = 0.0,
) -> dict[str, list[str]]:
    """One cell per column of the sample: probabilities (n_images, n_classes), at least `smallest`, summing to 1."""
    order = column_order(style, names, values)
    table = np.maximum(probabilities[:, order], smallest)
    table = table / table.sum(axis=1, keepdims=True)
    return {
        image_id: [f"{value:.{decimals}f}" for value in row] for image_id, row in zip(image_ids, table, strict=True)
    }


def column_order(style: Style, names: Sequence[str], values: Sequence[str]) -> list[int]:
    """The class of each probability column of the sample, by its name or value; raises DataError where unclear."""
    wanted = style.columns[1:]
    for known in (list(names), list(values)):
        if sorted(known) == sorted(wanted):
            return [known.index(column) for column in wanted]
    stripped = [column.rpartition("_")[2] for column in wanted]
    if sorted(stripped) == sorted(values):
        return [list(values).index(column) for column in stripped]
    raise DataError(
        f"The sample's columns {wanted[:5]}... are neither the classes' names {list(names)[:5]}... nor their values "
        f"{list(values)[:5]}...: cannot tell which column is which class. Rename the classes in the training table"
    )


def checked(
    path: str | Path, style: Style, *, values: Sequence[str], max_bytes: int = 0, as_given: bool = True
) -> Checked:
    """The submission in `path`; raises DataError with every reason why the contest would not take it.

    Rows in another order are put in the sample's. `max_bytes`: the contest's size limit, 0 for none.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} not found. Run: dvc repro submit")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty. Run: dvc repro -f submit")
    if max_bytes and size > max_bytes:
        raise DataError(f"{path} has {size:,} bytes, the contest takes {max_bytes:,}. Zip it, or lower submit.decimals")
    frame = read_csv(path)
    columns = [str(column) for column in frame.columns]
    if columns != style.columns:
        raise DataError(f"{path}: columns {','.join(columns)}; sample has {','.join(style.columns)}")
    ids = frame[columns[0]].tolist()
    rows = frame[columns[1:]].to_numpy(dtype=object).tolist()
    found = id_problems(ids, style.row_ids)
    lines = [f"line {line}, {row_id}" for line, row_id in zip(frame.index, ids, strict=True)]
    found += empty_cells(lines, rows)
    warnings: list[str] = []
    if not found:
        cell_problems = label_problems if style.kind == "labels" else probability_problems
        found += cell_problems(lines, rows, values)
    if found:
        raise DataError(problems(f"{path} does not fit the sample", found))
    cells = dict(zip(ids, rows, strict=True))
    if ids != style.row_ids:
        warnings.append("rows were in another order; now in the sample's")
    warnings += suspicions(style, rows)
    if as_given and render(style, cells) != path.read_bytes():
        warnings.append("byte style (newlines, BOM, quotes or order) differs from the sample's; now the same")
    return Checked({row_id: cells[row_id] for row_id in style.row_ids}, warnings)


def id_problems(ids: Sequence[str], expected: Sequence[str]) -> list[str]:
    """Too many, too few, unknown or repeated ids."""
    found = []
    given, wanted = set(ids), set(expected)
    missing = [row_id for row_id in expected if row_id not in given]
    unknown = [row_id for row_id in ids if row_id not in wanted]
    if missing:
        found.append(f"{len(ids):,} rows, sample has {len(expected):,}; missing: {', '.join(missing[:5])}")
    if unknown:
        found.append(f"{len(unknown):,} ids that the sample does not have: {', '.join(unknown[:5])}")
    if len(given) != len(ids):
        seen: set[str] = set()
        twice = [row_id for row_id in ids if row_id in seen or seen.add(row_id)]  # type: ignore[func-returns-value]
        found.append(f"{len(twice):,} ids twice: {', '.join(twice[:5])}")
    return found


def empty_cells(lines: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells without a value: empty, NaN or infinite."""
    nothing = {"", "nan", "none", "null", "inf", "-inf"}
    bad = [line for line, row in zip(lines, rows, strict=True) if any(str(c).strip().lower() in nothing for c in row)]
    return [f"{len(bad):,} rows without value: {'; '.join(bad[:5])}"] if bad else []


def label_problems(lines: Sequence[str], rows: Sequence[Sequence[str]], values: Sequence[str]) -> list[str]:
    """Labels that no class has."""
    known = set(values)
    bad = [f"{line}: {row[0]!r}" for line, row in zip(lines, rows, strict=True) if row[0] not in known]
    return [f"{len(bad):,} labels that no class has ({', '.join(values[:5])}...): {'; '.join(bad[:5])}"] if bad else []


def probability_problems(lines: Sequence[str], rows: Sequence[Sequence[str]], values: Sequence[str]) -> list[str]:
    """Cells that are no numbers from 0 to 1, rows that do not sum to 1."""
    found = []
    for line, row in zip(lines, rows, strict=True):
        try:
            numbers = [float(cell) for cell in row]
        except ValueError as error:
            found.append(f"{line}: {error}")
            continue
        if min(numbers) < 0 or max(numbers) > 1:
            hint = "; percent?" if max(numbers) > 1 and abs(sum(numbers) - 100) < 1 else ""
            found.append(f"{line}: values from {min(numbers):g} to {max(numbers):g}{hint}")
        elif len(numbers) > 1 and abs(sum(numbers) - 1) > SUM_TOLERANCE:
            found.append(f"{line} sums to {sum(numbers):.3g}")
    return found


def suspicions(style: Style, rows: Sequence[Sequence[str]]) -> list[str]:
    """What is allowed but probably wrong: nearly all rows in one class."""
    if style.kind == "labels":
        predicted = [row[0] for row in rows]
    else:
        predicted = [style.columns[1 + int(np.argmax([float(cell) for cell in row]))] for row in rows]
    names, counts = np.unique(predicted, return_counts=True)
    share = counts.max() / max(len(predicted), 1)
    if share > ONE_CLASS and len(predicted) > 20:
        return [f"{share:.0%} of rows are class {names[counts.argmax()]}: preprocessing or label order?"]
    return []
