"""Pages: everything is escaped, only our own scripts may run, nothing comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

import pytest

from analysis.pages import count, fixed, percent, policy, render, write_page


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
