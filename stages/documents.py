"""The page about params.yaml; its tables are made from the schemas.

Run: python -m stages.documents   (writes docs/params.md)
"""

from __future__ import annotations

from pathlib import Path

from augmentation.ranges import Operations, kind_of, ranges_of
from augmentation.recipe import AugmentParams
from layouts.records import LAYOUTS, layout
from models.documents import row, shown
from stages.blend_params import BlendParams, RouteParams
from stages.compare import CompareParams
from stages.explore import ExploreParams
from stages.fetch import Download
from stages.prepare import PrepareParams
from stages.split import SplitParams
from stages.submit import SubmitParams
from storage.atomic import write_text
from storage.section import Section

PLACE = Path("docs/params.md")
START = """# params.yaml

One section for each stage; none may be absent (`explore: {}` takes its defaults). A key that is left out has the
default below; dvc.yaml needs `prepare.root` and `submit.name`. A key that does not exist is refused with the nearest
one that does, before anything runs; where DVC itself refuses the file, `python -m stages.check` says why in plainer
words. `train` and `models` have [a page of their own](members.md). These tables are made from the schemas
(`python -m stages.documents`).

Three lists stand outside the sections; they are always lists or names in braces, also when there is but one:

| key | for example | what it does |
|---|---|---|
| `members` | `[cnn, resnet]` | the entries of `models` that are trained and blended |
| `folds` | `[0, 1, 2]` | the folds that are trained; as many as `split.folds` says |
| `fetch` | `{}` | competitions to put into data/raw: `{digits: embedded}`, or a name with its files as under *fetch* |
"""
OPERATIONS = """
### augment.operations

Each has `probability` (1.0: in every copy) and the ranges below, from which every copy draws evenly, as in
`rotate: {probability: 0.5, degrees: [-20, 20]}`; applied in this order. What is absent is never applied; without
`operations`, those of the default contest are.

| operation | what it does | ranges by default | within |
|---|---|---|---|
"""
HEAD = "\n| key | default | what it does |\n|---|---|---|\n"


def page() -> str:
    """The whole page."""
    return "".join([
        START,
        table("## prepare", PrepareParams),
        *(table(f"### prepare.options of layout {n}", layout(n).Options, told) for n, told in LAYOUTS.items()),
        table("## explore", ExploreParams),
        table("## split", SplitParams),
        table("## augment", AugmentParams),
        operations(),
        table("## blend", BlendParams),
        table("### blend.routes, a list of", RouteParams),
        table("## submit", SubmitParams),
        table("## compare", CompareParams),
        table("## fetch.<name>, a list of", Download),
    ])  # fmt: skip


def table(heading: str, model: type[Section], told: str = "") -> str:
    """A heading, a sentence if there is one, and the table of a schema; operations have a table of their own."""
    rows = (row(key, field) for key, field in model.model_fields.items() if key != "operations")
    return "".join([f"\n{heading}\n", f"\n{told}\n" if told else "", HEAD, *rows])


def operations() -> str:
    """The operations of the augmentation: what each does, its ranges and how far they may go."""
    lines = [OPERATIONS]
    for name in Operations.model_fields:
        kind = kind_of(name)
        ranges = ranges_of(name)
        defaults = [f"`{key}: {shown(kind.model_fields[key].default)}`" for key in ranges] or [
            f"`{key}: {shown(field.default)}`" for key, field in kind.model_fields.items() if key != "probability"
        ]
        bounds = [shown(extra["bounds"]) for extra in ranges.values()]
        doc = " ".join((kind.__doc__ or "").split())
        lines.append(f"| `{name}` | {doc} | {', '.join(defaults)} | {', '.join(bounds)} |\n")
    return "".join(lines)


if __name__ == "__main__":
    write_text(PLACE, page())
