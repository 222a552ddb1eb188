"""The report: a static site about where sources disagree, from plain arrays. Written by `stages/compare.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.disagreement import agreement, disputed, order_by_similarity
from analysis.pages import write_page
from analysis.sources import Held, Source, labels_of
from storage.atomic import building


def write_report(
    out: Path, sources: Sequence[Source], held: Held, class_names: Sequence[str], test_ids: Sequence[str]
) -> None:
    """Write the whole site to `out`."""
    labels = labels_of(sources)
    found = agreement(labels, len(class_names))
    order = order_by_similarity(found.agreement)
    names = [sources[i].name for i in order]
    rows = [[None if i == j else (f"{found.agreement[i, j]:.2f}", found.agreement[i, j]) for j in order] for i in order]
    disputes = [(test_ids[row], [class_names[label] for label in labels[row]]) for row in disputed(labels)]
    with building(out) as folder:
        write_page(
            folder / "index.html",
            "report.html",
            title="Where they disagree",
            names=names,
            rows=rows,
            disputes=disputes[:200],
            sources=sources,
        )
