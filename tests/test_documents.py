"""The pages made from the schemas are up to date, and every relative link of a page leads somewhere."""

import re
from pathlib import Path

import pytest

from models import documents as members
from stages import documents as params

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", [members, params], ids=["members", "params"])
def test_pages_are_what_the_schemas_say(module: object) -> None:
    place, page = ROOT / module.PLACE, module.page()  # type: ignore[attr-defined]
    assert place.read_text() == page, f"{place.name} is out of date: python -m {module.__name__}"  # type: ignore[attr-defined]
    assert "None" not in page and "()" not in page


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), f"{page}: {target}"


def test_every_verb_in_the_documents_exists() -> None:
    from commands.main import WORDS

    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for verb in re.findall(r"`podium (\w+)", path.read_text()):
            assert verb in WORDS, f"{path.name}: podium {verb}"
