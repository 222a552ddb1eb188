"""The report in a real browser: it opens from disk, is silent, asks nobody, filters, steps, decides, downloads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from analysis.disagreement import class_pairs, disputed
from analysis.overrides import apply_overrides
from analysis.pictures import Pictures
from analysis.report import write_report
from analysis.report_material import Look, Material
from analysis.sources import Held, Source, labels_of
from analysis.team_formats import Competition
from layouts.patch import patched
from layouts.records import Listing
from storage.shards import Shards, ShardWriter
from tests.hostile import HOSTILE

PAGES = ("index", "gallery", "classes", "training", "runs")
N_TEST, N_TRAIN = 90, 80


def pictures_of(folder: Path, ids: list[str]) -> Pictures:
    """Grey squares with a gradient, 40 x 30, in a shard of their own."""
    rows = []
    with ShardWriter(folder, "images") as shard:
        for number, image_id in enumerate(ids):
            pixels = np.full((30, 40, 3), number * 2 % 255, np.uint8)
            offset, size = shard.add(f"{number}.png", cv2.imencode(".png", pixels)[1].tobytes())
            rows.append({"image_id": image_id, "shard": "images.tar", "offset": offset, "size": size})
    return Pictures(pd.DataFrame(rows).assign(width=40, height=30), Shards(folder))


def material_of(folder: Path, texts: list[str], *, n_classes: int, n_members: int, n_team: int) -> Material:
    """A report's material in which every field that a person or a file can name holds one of `texts`."""
    generator = np.random.default_rng(0)
    names = [texts[i % len(texts)] + (f" {i // len(texts)}" if i >= len(texts) else "") for i in range(400)]
    truth, train = generator.integers(0, n_classes, N_TEST), generator.integers(0, n_classes, N_TRAIN)

    def shares(labels: Any) -> Any:
        table = generator.dirichlet(np.ones(n_classes) * 0.2, len(labels)) + 0.8 * np.eye(n_classes)[labels]
        return table / table.sum(axis=1, keepdims=True)

    sources, train_shares = [], {}
    for name in names[:n_members]:
        test, held = shares(truth), shares(train)
        train_shares[name] = held
        sources.append(Source(name, "member", test.argmax(1), test, held.argmax(1), held, 0.9, (names[7],)))
    for name in names[n_members : n_members + n_team]:
        labels = np.where(generator.random(N_TEST) < 0.2, generator.integers(0, n_classes, N_TEST), truth)
        sources.append(Source(name, "team", labels, board=0.8, notes=("tainted: by hand", names[3])))
    curve = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "testlike_macro_f1": [0.5, 0.6]})
    return Material(
        sources=sources,
        held=Held(np.array(names[:N_TRAIN], dtype=object), train, "clean"),
        class_names=names[:n_classes],
        class_values=names[:n_classes],
        test_ids=names[:N_TEST],
        train_ids=names[:N_TRAIN],
        train_labels=np.where(generator.random(N_TRAIN) < 0.1, 0, train),
        test_pictures=pictures_of(folder / "test", names[:N_TEST]),
        train_pictures=pictures_of(folder / "train", names[:N_TRAIN]),
        train_shares=train_shares,
        fold_labels={name: np.stack([truth, np.roll(truth, 1)], axis=1) for name in names[:3]},
        refused={name: f"{name} is refused" for name in texts},
        curves={f"{name}/0": curve for name in texts[:10]},
        ledger=pd.DataFrame({name: [name] for name in texts}),
        duplicates=pd.DataFrame({name: [name] for name in texts}),
        copies=[np.full((30, 40, 3), 5 * i, np.uint8) for i in range(40)],
    )


@dataclass
class Visit:
    """A page of the browser, and everything it said or asked for."""

    page: Any
    folder: Path
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, name: str) -> Any:
        self.page.goto(f"file://{self.folder}/{name}.html")
        return self.page

    def silent(self) -> None:
        """Nothing was complained about, and nothing asked of anybody."""
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def visit_of(browser: Any, folder: Path, **options: Any) -> Visit:
    page = browser.new_page(**options)
    page.set_default_timeout(10_000)
    visit = Visit(page, folder)
    page.on(
        "console", lambda message: visit.errors.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("dialog", lambda dialog: visit.errors.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: visit.requests.append(request.url))
    return visit


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Material]:
    folder = tmp_path_factory.mktemp("site")
    texts = [f"name {i}" for i in range(100)]
    material = material_of(folder, texts, n_classes=5, n_members=3, n_team=2)
    write_report(folder / "report", material, Look(thumbnail=32, neighbours=2))
    return folder / "report", material


@pytest.fixture
def visit(browser: Any, site: tuple[Path, Material]) -> Iterator[Visit]:
    found = visit_of(browser, site[0], accept_downloads=True)
    yield found
    found.silent()
    found.page.context.close()


def test_every_page_opens_from_disk_in_silence_on_a_desk_and_on_a_phone(
    browser: Any, site: tuple[Path, Material]
) -> None:
    for width in (1440, 390):
        visit = visit_of(browser, site[0], viewport={"width": width, "height": 900}, color_scheme="dark")
        for name in PAGES:
            page = visit.open(name)
            assert page.locator("h1").count() == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 22)"
        visit.silent()
        visit.page.context.close()


def test_the_gallery_shows_the_disputed_images_and_filters_them(visit: Visit, site: tuple[Path, Material]) -> None:
    material = site[1]
    labels = labels_of(material.sources)
    page = visit.open("gallery")
    tiles = page.locator(".tile-button")
    assert page.locator("#count").inner_text().startswith(f"{len(disputed(labels))} of {len(disputed(labels))}")
    pair = class_pairs(labels)[0]
    page.select_option("#pair", f"{pair.first}-{pair.second}")
    assert tiles.count() == pair.n_rows
    page.reload()
    assert page.locator(".tile-button").count() == pair.n_rows, "the address keeps the filter"
    page.select_option("#pair", "")
    page.click("#more")
    page.locator("#says select").nth(1).select_option("3")
    page.wait_for_function("document.querySelector('#count').textContent")
    expected = sum(1 for row in disputed(labels) if labels[row, 1] == 3)
    assert tiles.count() == expected
    page.fill("#find", "no such id")
    assert page.locator("#nothing").is_visible()


def test_pictures_are_there_and_the_close_view_says_what_each_source_says(
    visit: Visit, site: tuple[Path, Material]
) -> None:
    page = visit.open("gallery")
    assert [url for url in visit.requests if "/details/" in url] == [], "nobody looked closely yet"
    page.locator(".tile-button").first.click()
    page.wait_for_function("document.getElementById('view-image').naturalWidth > 0")
    page.wait_for_function("document.querySelectorAll('#view-near figure').length > 0")
    assert [url.rsplit("/", 2)[1:] for url in visit.requests if "/details/" in url] == [["details", "test-000.js"]]
    assert page.locator("#view-says tr").count() == len(site[1].sources)
    assert page.locator("#view-near figure").count() == 2
    assert page.locator("#view-says").inner_text().count("label only") == 2


def test_a_picture_on_the_first_page_leads_to_its_close_view(visit: Visit) -> None:
    page = visit.open("index")
    link = page.locator(".strip a").nth(2)
    image_id = link.get_attribute("title")
    link.click()
    assert page.locator("#view").is_visible()
    assert page.locator("#view-id").inner_text() == image_id


def test_a_person_steps_and_decides_by_keyboard_and_downloads_who_decided(
    visit: Visit, site: tuple[Path, Material], tmp_path: Path
) -> None:
    page = visit.open("gallery")
    page.locator(".tile-button").first.focus()
    page.keyboard.press("Enter")
    first = page.locator("#view-id").inner_text()
    label = page.locator("#choices button").first.inner_text().split("  ")[-1].removeprefix("1 ").strip()
    page.keyboard.press("1")
    second = page.locator("#view-id").inner_text()
    assert second != first, "a decision steps on"
    page.keyboard.press("s")
    page.keyboard.press("2")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#view-id").inner_text() == second
    page.keyboard.press("Escape")
    assert not page.locator("#view").is_visible()
    page.reload()
    page.click("#download")
    assert "Your name first" in page.locator("#decided").inner_text()
    page.fill("#who", 'Kim, "the" Looker')
    with page.expect_download() as waiting:
        page.click("#download")
    table = pd.read_csv(waiting.value.path())
    assert waiting.value.suggested_filename == "overrides.csv"
    assert table[["image_id", "label", "decided_by", "tainted"]].to_numpy().tolist() == [
        [first, label, 'Kim, "the" Looker', "yes"]
    ]
    found = site[1]
    contest = Competition(found.test_ids, found.train_ids, found.class_names, found.class_values)
    labels, shares = np.full(N_TEST, -1), np.zeros((N_TEST, len(found.class_names)))
    saved = tmp_path / "overrides.csv"
    waiting.value.save_as(saved)
    assert apply_overrides(saved, labels, shares, contest) == (1, ['Kim, "the" Looker'])
    assert labels[list(found.test_ids).index(first)] == list(found.class_values).index(label)


def test_a_suspicious_label_becomes_a_patch_that_prepare_applies(
    visit: Visit, site: tuple[Path, Material], tmp_path: Path
) -> None:
    page = visit.open("training")
    page.locator(".tile-button").first.click()
    image_id = page.locator("#view-id").inner_text()
    page.locator("#choices button", has_text="Leave out").click()
    page.keyboard.press("Escape")
    page.fill("#who", "kim")
    with page.expect_download() as waiting:
        page.click("#download")
    table = pd.read_csv(waiting.value.path(), keep_default_na=False)
    row = list(site[1].train_ids).index(image_id)
    assert waiting.value.suggested_filename == "labels.patch.csv"
    assert list(table.columns) == ["id", "old", "new", "why"]
    assert table.iloc[0, :3].tolist() == [image_id, site[1].class_values[site[1].train_labels[row]], ""]
    saved = tmp_path / "labels.patch.csv"
    waiting.value.save_as(saved)
    values = list(site[1].class_values)
    train = pd.DataFrame({"image_id": site[1].train_ids, "label": [values[label] for label in site[1].train_labels]})
    listing = Listing(tmp_path, train, train[:0], dict(zip(values, values, strict=True)))
    assert image_id not in set(patched(listing, saved).train["image_id"])


def test_confusions_are_read_by_pointing(visit: Visit) -> None:
    page = visit.open("classes")
    size = page.locator("#matrix").bounding_box()["width"]
    page.locator("#matrix").hover(position={"x": size * 0.9, "y": size * 0.9})
    assert "name" in page.locator("#hint").inner_text()
    page.select_option("#source", "0")
    assert page.locator("#confused tr").count() > 0


def test_a_script_that_was_put_into_a_page_does_not_run(
    browser: Any, site: tuple[Path, Material], tmp_path: Path
) -> None:
    (tmp_path / "evil.js").write_text("window.__pwn = 1")
    text = (site[0] / "gallery.html").read_text()
    put = '<script src="evil.js"></script><script>window.__pwn = 2</script></body>'
    (tmp_path / "gallery.html").write_text(text.replace("</body>", put))
    visit = visit_of(browser, tmp_path)
    assert visit.open("gallery").evaluate("window.__pwn") is None
    assert len(visit.errors) >= 2, "the browser says that it refused them"
    visit.page.context.close()


def test_forty_hostile_names_in_every_field_do_nothing(browser: Any, tmp_path: Path) -> None:
    material = material_of(tmp_path, HOSTILE, n_classes=40, n_members=25, n_team=15)
    write_report(tmp_path / "report", material, Look(thumbnail=32, neighbours=1))
    visit = visit_of(browser, tmp_path / "report")
    for name in PAGES:
        page = visit.open(name)
        if name in ("gallery", "training"):
            page.click("#more")
            page.locator("#says select").last.select_option(index=3)
            page.locator("#says select").last.select_option(index=0)
            page.click("#more")
            page.locator(".tile-button").first.click()
            for _ in range(min(page.locator(".tile-button").count(), 41 if name == "gallery" else 6) - 1):
                page.keyboard.press("ArrowRight")
            page.keyboard.press("1")
            page.keyboard.press("Escape")
        assert page.evaluate("window.__pwn") is None
        assert page.evaluate("document.querySelectorAll('iframe, object, base, form, [onload], [onerror]').length") == 0
    text = visit.open("index").locator("body").inner_text()
    for hostile in (HOSTILE[0], HOSTILE[22], HOSTILE[26]):
        assert hostile in text, "what was written is shown as it was written"
    visit.silent()
    visit.page.context.close()
