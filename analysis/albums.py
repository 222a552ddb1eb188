"""Albums: images in folders, to be looked at in any image viewer, with one page that shows them all.

Writes  out/<folder>/<rank> <image id>.<png|jpg>, out/index.html, out/export.csv
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.pages import write_page
from analysis.pictures import Pictures
from storage.atomic import building
from storage.errors import ParamsError
from storage.spreadsheet import guarded_table

MARK = "export.csv"  # its presence says that a folder was made by us, and may be replaced
COLUMNS = ["folder", "file", "image_id", "part", "about"]
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp"}
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


@dataclass(frozen=True)
class Item:
    """One image: the folder it goes to, its table (`part`) and row there, what to say, its order in the folder."""

    folder: str
    part: str
    row: int
    text: str
    order: float


def refuse_foreign(out: Path) -> None:
    """Never replace a folder that holds something else. Raises ParamsError."""
    if out.is_dir() and (not any(out.iterdir()) or (out / MARK).is_file()):
        return
    if out.exists():
        raise ParamsError(f"{out} exists and was not made by podium export. Choose another --out")


def write_albums(
    out: Path,
    items: Sequence[Item],
    pictures: Mapping[str, Pictures],
    *,
    limit: int,
    tainted: bool = False,
    counts: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Write all images at once; returns how many were written of each folder, the fullest folder first.

    The page says so if what was sorted is `tainted` by hand-made test labels. `counts` tells how many images a folder
    stands for where `items` are only the first of them.
    """
    refuse_foreign(out)
    groups: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: (item.folder, item.order, item.row)):
        groups.setdefault(item.folder, []).append(item)
    sizes = {name: len(members) for name, members in groups.items()} | dict(counts or {})
    ordered = sorted(groups.items(), key=lambda pair: (-sizes[pair[0]], pair[0]))
    taken: set[str] = {"index.html", MARK}
    sections, rows, small = [], [], True
    with building(out) as folder:
        for name, members in ordered:
            place = unique(safe_name(name), taken)
            written = write_folder(folder / place, members[:limit], pictures)
            shown = [{**row, "path": f"{place}/{row['file']}"} for row in written]
            sections.append({"name": name, "count": sizes[name], "pictures": shown})
            rows += [{"folder": place, **row} for row in written]
        small = all(max(part[0].shape) <= 64 for part in pictures.values() if len(part))
        write_page(
            folder / "index.html",
            "export.html",
            title="Exported images",
            sections=sections,
            small=small,
            tainted=tainted,
        )
        table = guarded_table(pd.DataFrame(rows, columns=COLUMNS))
        (folder / MARK).write_text(table.to_csv(index=False, quoting=csv.QUOTE_ALL), encoding="utf-8")
    return {name: min(len(members), limit) for name, members in ordered}


def write_folder(folder: Path, items: Sequence[Item], pictures: Mapping[str, Pictures]) -> list[dict[str, str]]:
    """Write the images of one folder, numbered in their order; one row of the table for each."""
    folder.mkdir()
    rows = []
    for rank, item in enumerate(items):
        image_id, encoded = pictures[item.part].image_id(item.row), pictures[item.part].encoded(item.row)
        suffix = next((end for start, end in SUFFIXES.items() if encoded.startswith(start)), ".img")
        file = f"{rank:05d} {safe_name(Path(image_id).stem)}{suffix}"
        (folder / file).write_bytes(encoded)
        rows.append({"file": file, "image_id": image_id, "part": item.part, "about": item.text})
    return rows


def safe_name(name: str) -> str:
    """A name of a file or folder that every system can hold and no shell can misread."""
    kept = "".join(letter if letter.isalnum() or letter in " -_.,()+" else "_" for letter in name)
    short = kept.encode()[:120].decode(errors="ignore").strip(" .-") or "_"
    return f"{short}_" if short.split(".")[0].upper() in RESERVED else short


def unique(name: str, taken: set[str]) -> str:
    """`name`, or with a number where a name that differs at most in case is taken."""
    number, found = 1, name
    while found.casefold() in taken:
        number += 1
        found = f"{name} ({number})"
    taken.add(found.casefold())
    return found
