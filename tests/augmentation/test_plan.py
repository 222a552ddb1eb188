"""Which copies there are: growth, balance, folds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentation.plan import grow, plan_copies
from augmentation.recipe import AugmentParams
from storage.errors import ParamsError

NAMES = ["cat", "dog", "cow"]


def table(labels):
    ids = [f"{i:03}.png" for i in range(len(labels))]
    return pd.DataFrame({"image_id": ids, "label": labels, "width": 28, "height": 28})


def plan(labels, folds, **section):
    return plan_copies(AugmentParams.model_validate(section), table(labels), np.array(folds), NAMES)


LABELS = [0] * 20 + [1] * 8 + [2] * 4
FOLDS = [i % 3 for i in range(30)] + [-1, -1]


def test_factor_total_and_balance():
    labels = np.array(LABELS)
    assert grow(AugmentParams(copies=3), labels).tolist() == [3] * 32
    to_total = grow(AugmentParams(total=1000), labels)
    assert to_total.sum() + 32 == 1000
    balanced = grow(AugmentParams(copies=4, balance=1.0), labels)
    items = [int(balanced[labels == c].sum() + (labels == c).sum()) for c in range(3)]
    assert items == [100, 100, 100]
    half = grow(AugmentParams(copies=4, balance=0.5, include_clean=False), labels)
    assert half[labels == 2].sum() == pytest.approx(4 * (4 * 20) ** 0.5, abs=1)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    total=st.integers(1, 3000),
    balance=st.floats(0, 1),
    clean=st.booleans(),
)
def test_a_total_is_met_and_shared_evenly_inside_a_class(labels, total, balance, clean):
    labels = np.array(labels)
    copies = grow(AugmentParams(total=total, balance=balance, include_clean=clean), labels)
    for c in np.unique(labels):
        assert np.ptp(copies[labels == c]) <= 1
    if not clean:
        assert copies.sum() == total
    assert copies.min() >= 0


def test_every_copy_has_its_sources_fold_and_partners_share_it():
    made = plan(LABELS, FOLDS, copies=20, mixup={"probability": 0.5}, cutmix={"probability": 0.3}).table
    fold = dict(zip(table(LABELS)["image_id"], FOLDS, strict=True))
    mixed = made[made["partner_id"] != ""]
    assert len(mixed) > 300
    assert (made["fold"] == made["source_id"].map(fold)).all()
    assert (mixed["partner_id"].map(fold) == mixed["fold"]).all()
    assert (mixed["partner_id"] != mixed["source_id"]).all()
    assert mixed["weight"].between(0.5, 1).all()
    assert (made.loc[made["partner_id"] == "", "weight"] == 1).all()
    assert (made["partner_label"] == made["partner_id"].map(dict(zip(fold, LABELS, strict=True))).fillna(-1)).all()
    assert made["copy_id"].is_unique


def test_partners_are_spread_over_the_fold():
    made = plan(LABELS, FOLDS, copies=60, mixup={"probability": 1}).table
    counts = made.loc[(made["fold"] == 0) & (made["view"] == "train"), "partner_id"].value_counts()
    assert len(counts) == 10
    assert counts.max() < 2 * counts.min()


def test_a_lone_image_of_a_fold_stays_unmixed():
    made = plan([0, 1, 1], [0, 1, 1], copies=5, mixup={"probability": 1}).table
    assert (made.loc[made["fold"] == 0, "partner_id"] == "").all()
    assert (made.loc[made["fold"] == 0, "weight"] == 1).all()


def test_test_like_copies_of_scored_images_only_and_never_mixed():
    made = plan(LABELS, FOLDS, copies=2, validation_copies=3, mixup={"probability": 1}).table
    testlike = made[made["view"] == "testlike"]
    assert len(testlike) == 30 * 3
    assert (testlike["fold"] >= 0).all()
    assert (testlike["partner_id"] == "").all()


def test_online_leaves_only_the_test_like_copies():
    made = plan(LABELS, FOLDS, mode="online").table
    assert set(made["view"]) == {"testlike"}


def test_the_strength_of_a_class_touches_its_training_copies_only():
    weak = plan(LABELS, FOLDS, copies=3).table
    strong = plan(LABELS, FOLDS, copies=3, classes={"dog": {"strength": 0.5}}).table
    changed = (weak["rotate_degrees"] != strong["rotate_degrees"]).to_numpy()
    expected = (weak["label"] == 1) & (weak["view"] == "train")
    assert (changed == expected.to_numpy()).all()


def test_a_class_that_does_not_exist_is_named():
    with pytest.raises(ParamsError, match=r"augment\.classes\.horse"):
        plan(LABELS, FOLDS, classes={"horse": {"strength": 2}})


def test_a_slip_of_the_keyboard_is_refused_before_memory_is_gone():
    labels = [0] * 200
    with pytest.raises(ParamsError, match="20,000,000 copies"):
        plan(labels, labels, copies=100_000, validation_copies=0)


def test_the_order_of_the_index_carries_no_meaning():
    section = AugmentParams.model_validate({"copies": 4, "mixup": {"probability": 0.5}})
    straight = plan_copies(section, table(LABELS), np.array(FOLDS), NAMES).table
    turned = plan_copies(section, table(LABELS)[::-1].reset_index(drop=True), np.array(FOLDS[::-1]), NAMES).table
    straight, turned = (t.sort_values("copy_id").reset_index(drop=True) for t in (straight, turned))
    pd.testing.assert_frame_equal(straight, turned)
