"""The page about members; its table of all parameters is made from the schema.

Run: python -m models.documents   (writes docs/members.md)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from models.schema import (
    FeedParams,
    HeadParams,
    InputParams,
    LossParams,
    ModelParams,
    OptimiserParams,
    RunParams,
)
from storage.atomic import write_text
from storage.section import Section

PLACE = Path("docs/members.md")
PARTS: list[tuple[str, type[Section]]] = [
    ("Network and its input", InputParams),
    ("Head and freezing", HeadParams),
    ("Loss and imbalance", LossParams),
    ("Optimisation", OptimiserParams),
    ("Rows and augmentation while training", FeedParams),
    ("Run, checkpoints, prediction", RunParams),
]
START = """# Members

One member is a backbone, a head, a loss, a feed and a training, run once per fold:
`python -m stages.train MODEL FOLD ...` (`dvc repro` fills in the paths).

- **What it sees.** Copies and clean sources of the other folds; a mixup copy counts for both its labels. It is judged
  on the held-out fold, clean and in test-like copies. The last epoch's averaged weights predict (`keep`, `ema`).
- **Repeats to the bit.** Everything random is derived from (seed, fold, step): no state to lose. Killed anywhere
  and started again, it ends with the weights of the uninterrupted run, for the same number of threads.
- **Checkpoints** lie in `.podium/checkpoints/`, keyed by a hash of parameters, data, code and versions; each carries
  its sha256, the previous good one is kept, and a second training of the same key is refused. SIGTERM and Ctrl-C
  write one and end with 143 and 130. Changing a parameter that leaves the weights alone (`tta`, `figures`,
  `worst`, ...) predicts again without training again.
- **`podium`**: `summary MODEL` before training (`--memory` measures a few steps and says which batch fits), `lr MODEL`
  for a learning rate, `predict IMAGE...` and `onnx MODEL` after it.
- **Memory.** Pixels stay on disk, in the copies' shards or in one file of decoded pixels, and are read batch by batch,
  ahead, by threads that live as long as the training. Where a copy lies and its label are in unnamed files in
  `.podium/`, and the order of the rows is computed from the seed: a further copy takes no memory. Nor does it for the
  samplers. What grows is what is predicted: the held-out rows and the test.
- **Pseudo-labels.** `pseudo_labels: data/predictions/OTHER` lets the test images that an earlier member is surer of
  than `pseudo_threshold` train too. Each fold is taught by the teacher of the same fold alone, and anything else is
  refused: every other one has learnt from the rows that this fold is judged on. They do not always pay. Tried once, by
  hand, in a contest of another seed than that of `benchmarks/fashion.py`: one network scored 0.791 without them, 0.784
  with soft labels of a blend of five for all 3,140 test images, and 0.783 with those it was at least 85% sure of:
  what the teacher gets wrong is learnt by heart.
- **Not a number.** A loss or a gradient that is none stops the training before it moves a weight, and names step and
  images; the last checkpoint stays good. A network that ends at chance is said to.
- **Precision.** `auto` times the formats once per network and machine and notes the choice in
  `.podium/precision.json` and `model.json`. Times vary, so the choice may differ on another day; name one format
  where runs must repeat exactly.
- **Devices.** Run, by the tests: x86-64 CPU with fp32 and bf16, one process, and two (`devices: 2`, gloo), which
  see the same samples in the same order. Written against Lightning Fabric and not run: CUDA, fp16 with loss scaling,
  MPS, several machines.
- **What each fold leaves** in `data/runs/MODEL/FOLD/`: `model.safetensors` and `model.json`; `metrics.json`;
  `curves.csv`, `per_class.csv`, `confusion.csv`, `confused_pairs.csv`, `worst.csv`, the same as PNG (the pairs and the
  worst with their images), and `roc_pr.png`: all classes pooled and the few weakest, so that a hundred stay readable.

## Parameters

The section `train` of `params.yaml` sets any of these for all models; `models.<name>` sets them for one and overrides
`train`. Only `models.<name>.backbone` is required. These tables are made from `models/schema.py`
(`python -m models.documents`).

| key | default | what it does |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    lines = [START + row("backbone", ModelParams.model_fields["backbone"])]
    for title, part in PARTS:
        lines.append(f"\n### {title}\n\n| key | default | what it does |\n|---|---|---|\n")
        lines += [row(name, field) for name, field in part.model_fields.items()]
    return "".join(lines)


def row(name: str, field: FieldInfo) -> str:
    """One parameter: its name, default, description, and what it accepts."""
    default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
    text = f"{(field.description or '').rstrip('.')}{limits(field)}".replace("|", "\\|").replace("*", "\\*")
    return f"| `{name}` | `{default}` | {text} |\n"


def shown(value: Any) -> str:
    """A default as YAML writes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(shown(part) for part in value)}]"
    if isinstance(value, Section):
        return "{" + ", ".join(f"{key}: {shown(getattr(value, key))}" for key in type(value).model_fields) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value) or "''"


def limits(field: FieldInfo) -> str:
    """The words or the range that are accepted."""
    words = [str(word) for word in choices(field.annotation)]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    ranges = [
        f"{sign} {getattr(part, key)}"
        for part in field.metadata
        for key, sign in signs.items()
        if getattr(part, key, None) is not None
    ]
    told = f" [{', '.join(words)}]" if len(words) > 2 else ""
    return f"{told}{' (' + ', '.join(ranges) + ')' if ranges else ''}"


def choices(annotation: Any) -> list[str]:
    """All literal words inside a type."""
    found: list[str] = []
    for part in get_args(annotation):
        found += [part] if isinstance(part, str) else choices(part)
    return found


if __name__ == "__main__":
    write_text(PLACE, page())
