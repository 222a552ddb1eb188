"""Corrected labels: a table with the columns id,old,new,why, applied to a listing and never to the raw data.

An empty new label leaves the image out. `old` has to be the label that the data has, so that a patch made for other
data is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from layouts.records import Listing
from storage.csvfile import read_csv
from storage.errors import DataError, problems


def patched(listing: Listing, path: Path) -> Listing:
    """The listing with corrected labels; an empty new label leaves the image out."""
    patch = read_csv(path, columns=["id", "old", "new", "why"], rows_needed=False)
    if patch.empty:
        return listing
    train = listing.train.set_index("image_id", drop=False)
    labels = dict(zip(train["image_id"], train["label"], strict=True))
    found = []
    for line, row in zip(patch.index, patch.to_dict("records"), strict=True):
        if row["id"] not in labels:
            found.append(f"line {line}: no training image {row['id']!r}")
        elif labels[row["id"]] != row["old"]:
            found.append(f"line {line}: {row['id']} has label {labels[row['id']]}, not {row['old']}")
        elif row["new"] and row["new"] not in listing.classes:
            found.append(f"line {line}: new label {row['new']!r} is no class")
    found += [f"{image_id} is patched twice" for image_id in patch["id"][patch["id"].duplicated()]]
    if found:
        raise DataError(problems(f"{path} does not fit the data", found))
    new = train["image_id"].map(dict(zip(patch["id"], patch["new"], strict=True)))
    kept = train.assign(label=new.fillna(train["label"]))[new != ""].reset_index(drop=True)
    note = f"{path.name}: {len(patch):,} labels corrected, {len(train) - len(kept):,} of them by leaving the image out"
    return replace(listing, train=kept, notes=[*listing.notes, note])
