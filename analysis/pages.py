"""Static pages that open from disk: one design, autoescaped templates, a content security policy with script hashes.

Reads `analysis/templates/*.html` (all extend `base.html`) and `*.js`; writes one HTML file per page, which asks for
nothing but the pictures that lie beside it. Use: `write_page("out/index.html", "explore.html", title=..., ...)`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from storage.atomic import write_text

TEMPLATES = Path(__file__).with_name("templates")


@cache
def environment() -> Environment:
    """The templates' environment: everything is escaped, an absent name is an error."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["percent"] = percent
    found.filters["count"] = count
    found.filters["fixed"] = fixed
    return found


def render(template: str, *, title: str, scripts: Sequence[str] = (), lazy: bool = False, **context: Any) -> str:
    """One whole page as text.

    `scripts` names files of ours in `analysis/templates/`, put into the page and allowed by their hashes; nothing else
    runs. Data reaches them through `<script type="application/json">{{ data|tojson }}</script>`; with `lazy` they may
    also load scripts of data that lie beside the page.
    Optional context known to base.html: `navigation` [(href, text, is_here)], `note` (small text at the top right).
    """
    sources = [Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in scripts]  # noqa: S704 - our own files
    defaults: dict[str, Any] = {"navigation": [], "note": "", "tainted": False}
    page = environment().get_template(template)
    return page.render(
        {**defaults, **context, "title": title, "scripts": sources, "policy": policy(sources, lazy=lazy)}
    )


def write_page(
    path: str | Path, template: str, *, title: str, scripts: Sequence[str] = (), lazy: bool = False, **context: Any
) -> None:
    """Render a page and write it to `path` at once; broken characters of file names become question marks."""
    page = render(template, title=title, scripts=scripts, lazy=lazy, **context)
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))


def policy(sources: Sequence[str], *, lazy: bool = False) -> str:
    """The content security policy of a page with these scripts: pictures from beside the page, no other request.

    With `lazy`, a script that is allowed by its hash may load others ('strict-dynamic'); a tag in the page cannot.
    """
    hashes = [base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii") for source in sources]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes) or "'none'"
    allowed += " 'strict-dynamic'" if lazy else ""
    return (
        f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def relative_link(page: Path, folder: Path) -> str:
    """How a page in `folder` links to another page; "" where there is none."""
    return Path(os.path.relpath(page, folder)).as_posix() if page.is_file() else ""


def percent(value: float | None, digits: int = 1) -> str:
    """0.1234 as `12.3%`; an absent value as a dash."""
    return "–" if missing(value) else f"{100 * float(value):.{digits}f}%"  # type: ignore[arg-type]


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; an absent value as a dash."""
    return "–" if missing(value) else f"{float(value):.{digits}f}"  # type: ignore[arg-type]


def count(value: int | None) -> str:
    """A whole number with thousands separated; an absent value as a dash."""
    return "–" if missing(value) else f"{int(value):,}"  # type: ignore[arg-type]


def missing(value: float | None) -> bool:
    """Whether there is no number: None or NaN."""
    return value is None or value != value  # noqa: PLR0124 - NaN is the one value that differs from itself
