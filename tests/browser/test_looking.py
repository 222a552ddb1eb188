"""The exploration page and exported albums in a real browser: silent, offline, unharmed by names, narrow as a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.albums import Item, write_albums
from analysis.pictures import Pictures
from stages.explore import main
from storage.shards import Shards
from tests.hostile import HOSTILE
from tests.small_index import digits, index_of, write_params


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both pages, with class names and folders that try to be markup."""
    folder = tmp_path_factory.mktemp("with a space")
    images, _ = digits(80)
    train = [*images[:60], np.rot90(images[0]), images[1]]
    index = index_of(folder, train, [i % 40 for i in range(60)] + [7, 8], test=images[60:], names=HOSTILE)
    main(index.folder, folder / "noise", folder / "page", write_params(folder, explore="{}"))
    pictures = {"train": Pictures(index.train, Shards(index.folder))}
    items = [Item(text, "train", row, text, row) for row, text in enumerate(HOSTILE)]
    write_albums(folder / "album", items, pictures, limit=5)
    return [folder / "page/index.html", folder / "album/index.html"]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("place", [0, 1])
def test_pages_are_silent_offline_and_fit(browser: Any, pages: list[Path], place: int, width: int) -> None:
    page, said, asked = browser.new_page(viewport={"width": width, "height": 900}), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[place].as_uri())
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("window.__pwn") is None
    assert page.evaluate("document.images.length") > 30
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
