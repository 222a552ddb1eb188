"""The explore stage: numbers and a page from any images, however odd, and no name on the page can do harm."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.exploration import outline
from augmentation.fitting import Fit
from augmentation.ranges import Noise, Operations
from augmentation.recipe import AugmentParams
from augmentation.search import Images
from stages import explore
from stages.explore import main
from stages.tables import Index
from tests.small_index import digits, index_of, write_params

Array = np.ndarray[Any, np.dtype[Any]]
HOSTILE = [
    "<script>window.pwn=1</script>",
    '"><img src=x onerror=alert(1)>',
    "'; drop table classes; --",
    "{{ 7 * 7 }}{% raw %}",
    "</style><style>*{display:none}",
    "javascript:alert(1)",
    '=HYPERLINK("http://example.com")',
    "여권 \U0001f6c2 \u202eabc",
    "x" * 400,
    " ",
]


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def run(folder: Path, index: Index, options: str = "{}") -> tuple[Page, dict[str, Any]]:
    main(index.folder, folder / "data/noise", folder / "page", write_params(folder, explore=options))
    page = Page((folder / "page/index.html").read_text(encoding="utf-8"))
    return page, json.loads((folder / "data/noise/statistics.json").read_text())


def noisy(image: Array, seed: int) -> Array:
    grain = np.random.default_rng(seed).normal(0, 25, image.shape)
    blurred = cv2.GaussianBlur(image, (0, 0), 1.0) * np.array([1, 0.7, 0.4]) + 20
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)


def test_noisy_test_set_is_seen_measured_and_advised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = digits(160)
    index = index_of(tmp_path, images[:80], labels[:80], test=[noisy(p, i) for i, p in enumerate(images[80:])])
    page, numbers = run(tmp_path, index)
    assert numbers["adversarial_auc"] > 0.95
    assert numbers["test"]["noise"]["median"] > numbers["train"]["noise"]["median"]
    assert "Colour: add colour jitter" in capsys.readouterr().out
    assert "trust the test-like view" in page.text
    table = pd.read_parquet(tmp_path / "data/noise/statistics.parquet")
    assert table.groupby("split").size().to_dict() == {"test": 80, "train": 80}
    assert table["image_id"].tolist()[:2] == ["train_0", "train_1"]


def test_duplicates_within_across_classes_and_into_the_test(tmp_path: Path) -> None:
    images, _ = digits(60)
    train = [*images[:30], images[0], np.rot90(images[1])]
    labels = [*([0] * 30), 1, 0]
    index = index_of(tmp_path, train, labels, test=[*images[30:], images[2]], names=["cat", "dog"])
    page, numbers = run(tmp_path, index)
    assert numbers["duplicates"] == {"train": 2, "train-test": 1, "test": 0, "conflicts": 1}
    table = pd.read_csv(tmp_path / "data/noise/duplicates.csv")
    assert table["where"].tolist() == ["train", "train-test", "train"] or table["conflict"].tolist() == [
        True,
        False,
        False,
    ]
    assert table.loc[0, ["first_id", "second_id", "kind"]].tolist() == ["train_0", "train_30", "equal pixels"]
    assert "turned by 90°" in " ".join(table["kind"])
    assert "two labels" in page.text and "train and test" in page.text


@pytest.mark.parametrize("case", ["one class", "constant", "one image", "no test", "tall and wide", "more classes"])
def test_odd_data(tmp_path: Path, case: str) -> None:
    images, labels = digits(40)
    black = [np.zeros((20, 20, 3), np.uint8)] * 20
    train, names, test = {
        "one class": (images[:20], ["only"], images[20:]),
        "constant": (black, ["only"], black),
        "one image": (images[:1], ["only"], images[1:2]),
        "no test": (images, [str(i) for i in range(10)], []),
        "tall and wide": ([cv2.resize(p, (3 + i, 90 - i)) for i, p in enumerate(images)], ["only"], images[:9]),
        "more classes": (images, [f"class {i}" for i in range(150)], images[:20]),
    }[case]
    wanted = labels[: len(train)] if len(names) > 1 else [0] * len(train)
    page, numbers = run(tmp_path, index_of(tmp_path, train, wanted, test=test, names=names))
    assert numbers["train_images"] == len(train)
    assert f"in {len(names)} class" in page.text


def test_sample_bounds_what_is_measured(tmp_path: Path) -> None:
    images, labels = digits(150)
    index = index_of(tmp_path, images, labels, test=images[:120])
    numbers = [run(tmp_path, index, "{sample: 100, per_class: 1}")[1] for _ in range(2)]
    assert numbers[0]["measured"] == {"train": 100, "test": 100}
    assert numbers[0] == numbers[1]


def test_fitted_noise_is_written_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits(40)
    index = index_of(tmp_path, images[:20], labels[:20], test=images[20:])

    def fit_noise(params: AugmentParams, train: Images, test: Images, **_: Any) -> Fit:
        assert (train.read(3) == images[3]).all() and (test.read(3) == images[23]).all()
        return Fit(Operations(noise=Noise(sigma=(7, 9))), 0.987, 0.612, (28, 28), [], 24, images[0])

    monkeypatch.setattr(explore, "fit_noise", fit_noise)
    page, _ = run(tmp_path, index, "{fit_noise: true}")
    assert "sigma: [7.0, 9.0]" in (tmp_path / "data/noise/fitted.yaml").read_text()
    assert (tmp_path / "data/noise/fitted.png").is_file()
    assert "0.987" in page.text and "0.612" in page.text


def harmless(page: Page) -> bool:
    """No script, no handler, no link that runs, nothing from outside."""
    for tag, attributes in page.tags:
        links = [attributes.get(name) or "" for name in ("href", "src", "action")]
        if tag in ("script", "iframe", "object") or any(name.startswith("on") for name in attributes):
            return False
        links = [link for link in links if link not in ("", "../report/index.html")]
        if not all(link.startswith(("data:image/", "data:,", "#")) for link in links):
            return False
    return True


def test_hostile_class_names_are_shown_as_text(tmp_path: Path) -> None:
    images, _ = digits(30)
    index = index_of(tmp_path, [*images, images[0]], [*(i % 10 for i in range(30)), 1], names=HOSTILE)
    page, _ = run(tmp_path, index)
    assert harmless(page)
    assert all(name in page.text for name in HOSTILE)
    policies = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policies and "default-src 'none'" in str(policies[0]) and "script-src 'none'" in str(policies[0])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1), min_size=2, max_size=4))
def test_any_class_names_are_shown_as_text(tmp_path: Path, names: list[str]) -> None:
    images, _ = digits(4)
    page, _ = run(tmp_path, index_of(tmp_path, images, [i % len(names) for i in range(4)], names=names))
    assert harmless(page)
    assert all(name in page.text for name in names)


def test_outline_is_a_closed_path() -> None:
    assert outline(np.array([0.0, 1.0])) == "M0 84V84.0H150.0V4.0H300.0V84Z"
