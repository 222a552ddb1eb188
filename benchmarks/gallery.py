"""The gallery in a real browser: first view, filtering, scrolling, with 3,140 and with 20,000 disputed images.

Run: python -m benchmarks.gallery        (writes benchmarks/results/gallery.json; needs playwright and a chromium)
Pictures are drawn noise of 443 x 591 (222 x 296 for 20,000), so that thumbnails have the weight of real ones; ten
sources, 17 classes. Frames are also given as the page's own CPU time, which a busy machine does not change much.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from analysis.pictures import Pictures
from analysis.report import write_report
from analysis.report_material import Look, Material
from analysis.sources import Held, Source
from storage.atomic import write_json
from storage.shards import Shards, ShardWriter

RESULTS = "benchmarks/results/gallery.json"
N_CLASSES, N_SOURCES, N_TRAIN, DIFFERENT = 17, 10, 300, 200
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SCROLL = """async () => {
  const frames = []; let last = performance.now();
  for (let i = 0; i < 120; i++) {
    window.scrollBy(0, 400);
    await new Promise(requestAnimationFrame);
    const now = performance.now(); frames.push(now - last); last = now;
  }
  return frames;
}"""
READY = """() => [...document.querySelectorAll('.tile-button img')].slice(0, 12).every((image) => image.complete)
  && document.querySelectorAll('.tile-button').length > 12"""


def pictures(folder: Path, count: int, part: str, size_of: tuple[int, int]) -> Pictures:
    """`count` pictures of `size_of` (width, height), of which DIFFERENT are drawn and the rest repeat them."""
    generator = np.random.default_rng(0)
    rows, places = [], []
    with ShardWriter(folder, part) as shard:
        for number in range(min(count, DIFFERENT)):
            small = generator.integers(0, 255, (74, 56, 3)).astype(np.uint8)
            large = cv2.resize(small, size_of, interpolation=cv2.INTER_CUBIC)
            places.append(shard.add(f"{number}.jpg", cv2.imencode(".jpg", large)[1].tobytes()))
    for number in range(count):
        offset, size = places[number % len(places)]
        rows.append({"image_id": f"{part}_{number:06d}.jpg", "offset": offset, "size": size})
    return Pictures(pd.DataFrame(rows).assign(shard=f"{part}.tar", width=size_of[0], height=size_of[1]), Shards(folder))


def material(folder: Path, n_rows: int) -> Material:
    """A contest in which every test image is disputed."""
    generator = np.random.default_rng(1)
    truth, train = generator.integers(0, N_CLASSES, n_rows), generator.integers(0, N_CLASSES, N_TRAIN)
    sources, shares = [], {}
    for number in range(N_SOURCES):
        test = generator.dirichlet(np.ones(N_CLASSES) * 0.2, n_rows)
        held = generator.dirichlet(np.ones(N_CLASSES) * 0.2, N_TRAIN)
        shares[f"member {number}"] = held
        sources.append(Source(f"member {number}", "member", test.argmax(1), test, held.argmax(1), held))
    names = [f"class {number}" for number in range(N_CLASSES)]
    size = (443, 591) if n_rows < 10_000 else (222, 296)
    test_pictures, train_pictures = pictures(folder, n_rows, "test", size), pictures(folder, N_TRAIN, "train", size)
    return Material(
        sources=sources,
        held=Held(np.array([train_pictures.image_id(row) for row in range(N_TRAIN)], dtype=object), train, "clean"),
        class_names=names,
        class_values=[str(number) for number in range(N_CLASSES)],
        test_ids=[test_pictures.image_id(row) for row in range(n_rows)],
        train_ids=[train_pictures.image_id(row) for row in range(N_TRAIN)],
        train_labels=train,
        test_pictures=test_pictures,
        train_pictures=train_pictures,
        train_shares=shares,
        duplicates=pd.DataFrame({"truth": truth[:3]}),
    )


def until(page: Any, condition: str) -> None:
    """Ask again and again; the page's own policy forbids scripts that are texts, the driver's channel is apart."""
    while not page.evaluate(condition):
        time.sleep(0.005)


def work(session: Any) -> dict[str, float]:
    """Seconds of CPU time that the page's main thread has used so far: in all (TaskDuration), for layout, ..."""
    return {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}


def measure(browser: Any, n_rows: int) -> dict[str, float]:
    """Seconds and bytes of one size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        write_report(folder / "report", material(folder, n_rows), Look())
        written = time.perf_counter() - start
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        address = f"file://{folder}/report/gallery.html"
        first = []
        for _ in range(3):
            start = time.perf_counter()
            page.goto(address, wait_until="commit")
            until(page, READY)
            first.append(time.perf_counter() - start)
        pair = page.eval_on_selector("#pair", "select => select.options[1].value")
        filtered = page.evaluate(
            """(pair) => { const field = document.getElementById('pair'), start = performance.now();
            field.value = pair; field.dispatchEvent(new Event('change', { bubbles: true }));
            document.body.offsetHeight; return performance.now() - start; }""",
            pair,
        )
        page.select_option("#pair", "")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = work(session)
        frames = np.array(page.evaluate(SCROLL))
        after = work(session)
        start = time.perf_counter()
        page.locator(".tile-button").nth(3).click()
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        until(page, "() => document.getElementById('view-image').complete")
        stepped = (time.perf_counter() - start) / 21
        page.close()
        return {
            "disputed": n_rows,
            "written_s": written,
            "page_mb": (folder / "report/gallery.html").stat().st_size / 1e6,
            "details_mb": sum(path.stat().st_size for path in (folder / "report/details").glob("test-*")) / 1e6,
            "first_view_s": float(np.median(first)),
            "filter_ms": float(filtered),
            "scroll_median_ms": float(np.median(frames)),
            "scroll_99th_ms": float(np.quantile(frames, 0.99)),
            "scroll_cpu_ms": 1000 * (after["TaskDuration"] - before["TaskDuration"]) / len(frames),
            "scroll_layout_cpu_ms": 1000 * (after["LayoutDuration"] - before["LayoutDuration"]) / len(frames),
            "step_ms": 1000 * stepped,
        }


def main() -> None:
    """Measure, print, write."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        rows = [measure(browser, n_rows) for n_rows in (3_140, 20_000)]
        browser.close()
    write_json(RESULTS, rows)
    for row in rows:
        print("  ".join(f"{name} {value:,.4g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
