"""`podium preview`: a contact sheet of what the recipe does to real images, in seconds.

Reads the section `augment` of params.yaml, and images of the index or of a folder; writes one PNG: a row per source,
the clean image first, then copies 0, 1, 2, ... exactly as the augment stage makes them, but for the partner of a mixed
copy, which here is the next row's image.

    podium preview --out preview.png        podium preview --images some/folder --copies 12
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from storage.errors import DataError

GAP, HEADER = 2, 18  # pixels between pictures, and above them


def main(
    *,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    index: Annotated[Path, typer.Option(help="The folder of the index.")] = Path("data/index"),
    noise: Annotated[Path, typer.Option(help="The folder with fitted.yaml.")] = Path("data/noise"),
    images: Annotated[Path | None, typer.Option(help="A folder of pictures instead of the index.")] = None,
    out: Annotated[Path, typer.Option(help="The contact sheet.")] = Path("preview.png"),
    sources: Annotated[int, typer.Option(min=1, max=100, help="Rows: so many images.")] = 8,
    copies: Annotated[int, typer.Option(min=1, max=100, help="Columns: so many copies of each.")] = 10,
    side: Annotated[int, typer.Option(min=16, max=1024, help="Longest side of a picture, in pixels.")] = 96,
) -> None:
    """A contact sheet of what the augmentation does to real images."""
    import cv2
    import numpy as np

    from augmentation.compiling import announce
    from augmentation.copies import Copier
    from stages.fitted import recipe_in_use
    from storage.atomic import write_bytes

    if out.is_dir():
        raise DataError(f"{out} is a folder; give --out the name of a PNG file")
    recipe = recipe_in_use(params, noise)
    chosen = list(folder_images(images, sources) if images else index_images(index, recipe, sources))
    copier = Copier(recipe)
    announce()
    rows = []
    for i, (name, pixels, strength) in enumerate(chosen):
        partner = chosen[(i + 1) % len(chosen)][1] if len(chosen) > 1 else None
        draws = copier.draw([name] * copies, np.arange(copies), strength=np.full(copies, strength))
        prepared, other = copier.prepare(pixels), None if partner is None else copier.prepare(partner)
        mixed = np.min([draws.columns.get(kind, np.ones(copies)) for kind in ("mixup", "cutmix")], axis=0) < 1
        made = [copier.render_drawn(prepared, draws, k, partner=other if mixed[k] else None) for k in range(copies)]
        rows.append(np.concatenate([thumbnail(picture, side) for picture in [pixels, *made]], axis=1))
    sheet = np.concatenate([header(rows[0].shape[1], side), *rows], axis=0)
    write_bytes(out, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    print(f"preview: {len(chosen)} images, {copies} copies of each, in {out}")


def header(width: int, side: int) -> Any:
    """A line above the sheet: which column is the original.  # (HEADER, width, 3)"""
    import cv2
    import numpy as np

    line = np.full((HEADER, width, 3), 255, dtype=np.uint8)
    for text, left in (("original", 2), ("copies, as the augment stage makes them", side + GAP + 2)):
        cv2.putText(line, text, (left, HEADER - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return line


def index_images(folder: Path, recipe: Any, count: int) -> Any:
    """Names, pixels and strengths of training images spread over the classes."""
    from augmentation.copies import Copier
    from augmentation.plan import class_strengths
    from augmentation.writing import Sources, read_places
    from stages.tables import read_index

    index = read_index(folder)
    strengths = class_strengths(recipe, index.classes.names)[index.train["label"]]
    order = index.train.groupby("label").cumcount().sort_values(kind="stable").index[:count]
    sources = Sources(index.folder, dict(enumerate(read_places(index.train))), Copier(recipe))
    return ((index.train["image_id"].iat[i], sources.decoded(int(i)), strengths[i]) for i in order)


def folder_images(folder: Path, count: int) -> Any:
    """Names and pixels of the first pictures of a folder, and no strength of a class."""
    from storage.intake import IMAGE_SUFFIXES, read_image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)[:count]
    if not paths:
        raise DataError(f"{folder} holds no pictures")
    return ((path.name, read_image(path).pixels, 1.0) for path in paths)


def thumbnail(pixels: Any, side: int) -> Any:
    """A picture inside a square of `side`, with a gap around it.  # (side + gap, side + gap, 3)"""
    import cv2
    import numpy as np

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    tile = np.full((side + GAP, side + GAP, 3), 255, dtype=np.uint8)
    tile[: size[1], : size[0]] = small
    return tile
