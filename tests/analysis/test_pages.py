"""Pages: everything is escaped, only our own scripts may run, nothing comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.pages import count, fixed, percent, policy, render, write_page
from tests.hostile import HOSTILE


def test_a_title_is_text_not_html(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "base.html", title="<script>alert(1)</script>")
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_without_scripts_none_may_run() -> None:
    assert "script-src 'none'" in html.unescape(render("base.html", title="quiet"))


def test_the_policy_names_the_hash_of_each_script() -> None:
    digest = base64.b64encode(hashlib.sha256(b"a = 1").digest()).decode()
    assert f"'sha256-{digest}'" in policy(["a = 1"])
    assert "default-src 'none'" in policy([])


def test_no_address_of_another_host() -> None:
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", render("base.html", title="page"))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (percent(0.12345), "12.3%"),
        (percent(None), "–"),
        (fixed(float("nan")), "–"),
        (fixed(0.5), "0.500"),
        (count(3140), "3,140"),
    ],
)
def test_numbers_as_people_read_them(shown: str, text: str) -> None:
    assert shown == text


class Reader(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def read_back(name: str) -> Reader:
    """A page that shows `name` in every field, parsed."""
    rows = [(name, [name, name])]
    page = render("diff.html", title=name, names=[name, name], cells=[[None, (name, 0.5)], [(name, 0.5), None]],
                  files=[name, name], notes=[(name, name)], n_rows=1, n_open=0, n_differing=1,
                  pairs=[(name, name, 1, 1.0)], rows=rows, note=name, ordered=True, pictures={})  # fmt: skip
    reader = Reader()
    reader.feed(page)
    return reader


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30) | st.sampled_from(HOSTILE))
def test_no_text_becomes_a_tag_or_an_attribute_and_all_of_it_can_be_read(name: str) -> None:
    plain, shown = read_back("plain"), read_back(name)
    assert shown.tags == plain.tags
    assert shown.attributes == plain.attributes
    kept = name.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    assert kept in shown.text or name in shown.text
