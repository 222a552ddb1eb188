"""`podium init PATH`: look at an unknown folder and propose a layout and a params.yaml, saying why.

Reads names, tables, the headers of some images and the whole of a few; writes nothing, or params.yaml with --write.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer

TEMPLATE = """\
# Proposed by podium init for {root}: {n_train:,} training images of {n_classes} classes, {width} x {height} pixels.
{reasons}
members: [{members}]
folds: {folds}
fetch: {{}}

prepare:
{prepare}

explore:
  seed: 0

split:
  method: stratified_group           # groups and near duplicates stay in one fold
  folds: {n_folds}
  seed: 0

augment:
  seed: 0
  copies: {copies}                         # noisy copies of each training image; more where there are few images
  validation_copies: 2
  size: {size}
  encoding: {stored}
  border: {{mode: reflect}}
  operations:                        # a start; data/noise, which explore writes, says how the test set differs
    flip: {{horizontal: 0.5}}
    rotate: {{degrees: [-20, 20]}}
    jitter: {{brightness: [0.8, 1.2], contrast: [0.8, 1.2], saturation: [0.8, 1.2]}}
    blur: {{probability: 0.3, sigma: [0.3, 1.0]}}
    noise: {{probability: 0.3, sigma: [3, 12]}}
  mixup: {{probability: 0.1}}          # share of the copies mixed with another image of their fold; 0: none

train:
  size: {size}
  epochs: {epochs}
  metric: macro_f1                   # what training watches: macro_f1, accuracy, log_loss
{speed}  seed: 0

models:
{models}

blend:
  method: auto
  metric: {metric:<26} # of the contest: macro_f1, accuracy, balanced_accuracy, log_loss, qwk

submit:
  name: {name}  # of the CSV in submissions/

compare:
  thumbnail: 160
"""
SMALL = "  cnn: {backbone: simple_cnn}\n  resnet: {backbone: test_resnet}\n  shufflenet: {backbone: shufflenet_v2_x0_5}"
LARGE = (
    "  efficientnet: {backbone: efficientnet_b0, pretrained: hub, lr: 0.001}\n"
    "  convnext: {backbone: convnext_tiny, pretrained: hub, lr: 0.0003}\n"
    "  resnet: {backbone: resnet50, pretrained: hub, lr: 0.0005}"
)
SPEED = """\
  threads: 1                         # tiny nets gain little from more, and crawl with more on a busy machine
  precision: fp32_channels_last      # auto measures which is fastest here; a fixed one repeats to the byte
"""
LOOKED_AT, READ = 200, 50  # images whose size is read, and those that are decoded
FIRST_RUN = 300_000  # images that a first run trains on, copies and all, give or take


def main(
    path: Annotated[Path, typer.Argument(help="The competition's folder, as it was unpacked.")],
    *,
    write: Annotated[bool, typer.Option("--write", help="Put the proposal into params.yaml.")] = False,
    params: Annotated[Path, typer.Option(help="The file to write.")] = Path("params.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a changed params.yaml; it is kept as .bak.")] = False,
) -> None:
    """Look at a folder and propose a layout and a params.yaml, saying why."""
    from commands.use import put
    from layouts.guess import guess, unreadable
    from layouts.records import LAYOUTS
    from storage.errors import DataError, PodiumError

    refused = []
    for proposal in guess(path):
        try:
            text = proposed(proposal)
        except PodiumError as error:
            refused.append(f"by the layout {proposal.layout}: {error}")
            continue
        if not write:
            print(text)
            print(f"# Nothing was written. Put it in place with: podium init '{path}' --write")
            return
        backup = put(text.encode(), params, force=force)
        print(f"init: {params} reads {proposal.root} as {proposal.layout}" + (f"; before: {backup}" if backup else ""))
        for reason in proposal.why:
            print(f"      {reason}")
        return
    if refused:
        raise DataError(f"{path} cannot be read as it is\n" + "\n".join(refused))
    inside = [folder for folder in sorted(path.glob("raw/*")) + sorted(path.iterdir()) if folder.is_dir()]
    if fits := next((folder for folder in inside[:20] if guess(folder)), None):
        raise DataError(f"{path} fits no layout; it looks like the folder around a competition: podium init '{fits}'")
    told = "\n".join(unreadable(path)) or "no table names its images, and no two folders look like classes"
    known = "\n".join(f"  {name:<14} {text}" for name, text in LAYOUTS.items())
    raise DataError(f"{path} fits no layout: {told}\nSet prepare.layout and prepare.options yourself:\n{known}")


def proposed(proposal: Any) -> str:
    """The params.yaml of a proposal; raises DataError where the layout cannot read the folder after all."""
    import numpy as np
    import yaml

    from analysis.suggestions import input_size
    from layouts.records import layout

    module = layout(proposal.layout)
    listing = module.listing(proposal.root, module.Options(**proposal.options))
    found, faults = sizes_of(listing)
    sizes = np.array(found or [(32, 32)])
    width, height = (int(value) for value in np.median(sizes, axis=0))
    small = max(width, height) <= 64
    fewest = int(listing.train["label"].value_counts().min())
    n_folds = max(2, min(3, fewest))
    copies = 10 if len(listing.train) < 10_000 else 3
    an_epoch = len(listing.train) * (n_folds - 1) * (copies + 1) * 3  # folds that are trained on, in three models
    epochs = int(np.clip(round(FIRST_RUN / an_epoch), 2, 10))
    prepare = {"root": str(proposal.root), "layout": proposal.layout, "options": proposal.options}
    prepare["encoding"] = "png" if small else "jpeg"
    size = (
        f"training reads {an_epoch * epochs:,} images: {len(listing.train):,} in {n_folds - 1} of {n_folds} folds, "
        f"each with {copies} copies, {epochs} epochs, 3 models. For more than a first run: more epochs"
    )
    reasons = [*proposal.why, *listing.notes[:10], *faults, size]
    metric = "macro_f1"
    if listing.sample and len(listing.sample.columns) > 2:
        metric = "log_loss"
        reasons.insert(0, "the sample has a column per class: probabilities, scored by log-loss? blend.metric")
    models = SMALL if small else LARGE
    dumped = yaml.safe_dump(prepare, sort_keys=False, allow_unicode=True, width=110)
    slug = re.sub(r"[^a-z0-9_.-]+", "-", proposal.root.resolve().name.lower()).strip("-_.")[:64]
    return TEMPLATE.format(
        name=slug or "submission",
        root=proposal.root,
        n_train=len(listing.train),
        n_classes=len(listing.classes),
        width=width,
        height=height,
        reasons="\n".join(f"#   {' '.join(reason.split())}" for reason in reasons),
        members="cnn, resnet, shufflenet" if small else "efficientnet, convnext, resnet",
        folds=list(range(n_folds)),
        n_folds=n_folds,
        prepare="\n".join(f"  {line}" for line in dumped.splitlines()),
        copies=copies,
        size=input_size(math.sqrt(width * height)),
        stored="raw" if small else "jpeg",
        epochs=epochs,
        metric=metric,
        speed=SPEED if small else "",
        models=models,
    )


def sizes_of(listing: Any) -> tuple[list[tuple[int, int]], list[str]]:
    """Width and height of some training images, spread over the table, and what is wrong with those that were read."""
    import numpy as np
    from PIL import Image

    from storage.errors import PodiumError
    from storage.intake import FORMATS, read_image

    n_images = min(len(listing.train), LOOKED_AT)
    rows = listing.train.iloc[np.linspace(0, len(listing.train) - 1, n_images).astype(int)].to_dict("records")
    whole = set(np.linspace(0, n_images - 1, min(n_images, READ)).astype(int).tolist())
    found, faults = [], []
    for number, row in enumerate(rows):
        try:
            source = listing.read(row["path"], int(row.get("position", 0)))
            if not isinstance(source, bytes):
                found.append((source.shape[1], source.shape[0]))
                continue
            if number in whole:
                read_image(source, name=row["path"])
            with Image.open(io.BytesIO(source), formats=FORMATS) as image:  # the header only
                found.append(image.size)
        except (PodiumError, OSError, Image.DecompressionBombError) as error:
            faults.append(str(error))
    if not faults:
        return found, []
    return found, [f"{len(faults)} of {n_images} images that were looked at cannot be read, such as: {faults[0]}"]
