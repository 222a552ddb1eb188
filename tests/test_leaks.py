"""No validation image, no copy, mixup or relative of it, is ever trained on: for any data and parameters."""

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.folds import deal
from augmentation.plan import plan_copies
from augmentation.recipe import AugmentParams
from models.schema import ModelParams
from stages.rows import pictures, roles
from stages.tables import Classes, Folds, Index, SubmissionFormat

N_CLASSES, N_FOLDS, N_TEST = 3, 3, 4


def images(prefix: str, labels: list[int], groups: list[int]) -> pd.DataFrame:
    ids = [f"{prefix}{i}" for i in range(len(labels))]
    place = {"shard": "a.tar", "offset": 0, "size": 1, "width": 8, "height": 8, "sha256": ids, "perceptual_hash": ""}
    return pd.DataFrame({"image_id": ids, "label": labels, "group": [str(group) for group in groups], **place})


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, N_CLASSES - 1), st.integers(0, 12)), min_size=6, max_size=40),
    special=st.dictionaries(st.integers(0, 12), st.sampled_from([-1, -2]), max_size=3),
    copies=st.integers(1, 4),
    balance=st.floats(0, 1),
    mixup=st.floats(0, 0.5),
    cutmix=st.floats(0, 0.5),
    kinds=st.sampled_from(["both", "augmented", "clean"]),
    seed=st.integers(0, 1000),
)
def test_nothing_of_the_held_out_fold_is_trained_on(
    *,
    rows: list[tuple[int, int]],
    special: dict[int, int],
    copies: int,
    balance: float,
    mixup: float,
    cutmix: float,
    kinds: str,
    seed: int,
) -> None:
    labels, groups = map(list, zip(*rows, strict=True))
    train = images("train", labels, groups)
    fold = deal(np.array(labels), np.unique(groups, return_inverse=True)[1], [1] * N_FOLDS, seed=seed)
    fold = np.array([special.get(group, number) for group, number in zip(groups, fold, strict=True)])
    recipe = AugmentParams.model_validate(
        {
            "copies": copies, "balance": balance, "validation_copies": 2, "seed": seed,
            "mixup": {"probability": mixup}, "cutmix": {"probability": cutmix},
        }
    )  # fmt: skip
    names = [str(label) for label in range(N_CLASSES)]
    plan = plan_copies(recipe, train, fold, names).table
    augmented = plan.assign(shard="a.tar", offset=0, size=1, width=8, height=8, encoding="raw")
    test = images("test", [-1] * N_TEST, [0] * N_TEST)
    classes = Classes(names, names, SubmissionFormat(["ID", "target"], "labels", test["image_id"].tolist()))
    table = pd.DataFrame({"image_id": train["image_id"], "fold": fold, "duplicate_group": groups})
    index, folds = Index(train, test, classes, Path(), ""), Folds(table, "")
    params = ModelParams(backbone="simple_cnn", rows=kinds)
    group_of = dict(zip(train["image_id"], groups, strict=True))
    for number in folds.numbers:
        assume(((fold != number) & (fold >= -1)).any())
        shown = pd.concat(pictures(index, folds, [augmented]), ignore_index=True)
        split = roles(shown, number, params)
        trained = shown[split["train"]]
        parents = set(trained["source"]) | (set(trained["partner_id"].dropna()) - {""})
        held_out = set(shown[split["valid"]]["source"])
        assert held_out == set(train["image_id"][fold == number])
        assert not {group_of[image_id] for image_id in parents} & {group_of[image_id] for image_id in held_out}
        assert not {group for group, value in special.items() if value == -2} & {group_of[i] for i in parents}
        assert not parents & set(test["image_id"])
        assert set(trained["view"]) <= {"clean", "train"}
