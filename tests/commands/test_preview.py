"""`podium preview`: a contact sheet of the recipe on real images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from augmentation.copies import Copier
from augmentation.recipe import AugmentParams
from commands.preview import GAP, HEADER, main
from storage.errors import DataError
from tests.small_index import digits, index_of


@pytest.fixture
def place(tmp_path):
    images, labels = digits(12)
    index_of(tmp_path, images, labels, names=[str(i) for i in range(10)])
    (tmp_path / "params.yaml").write_text("augment: {size: 28, mixup: {probability: 0.5}}\n")
    for i, image in enumerate(images[:3]):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "pictures" / f"{i}.png"), image)
    return tmp_path


def sheet(place: Path, **options):
    options = {"images": None, "sources": 3, "copies": 4, "side": 28} | options
    main(params=place / "params.yaml", index=place / "data/index", noise=place, out=place / "sheet.png", **options)
    return cv2.imread(str(place / "sheet.png"), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize("folder", [None, "pictures"])
def test_a_row_per_image_and_a_column_per_copy(place, folder):
    picture = sheet(place, images=folder and place / folder)
    assert picture.shape == (HEADER + 3 * (28 + GAP), 5 * (28 + GAP), 3)


def test_it_shows_what_the_stage_would_make(place):
    (place / "params.yaml").write_text("augment: {size: 28, mixup: {probability: 0}}\n")
    picture = sheet(place, images=place / "pictures", sources=1)
    clean = cv2.imread(str(place / "pictures/0.png"), cv2.IMREAD_COLOR_RGB)
    copier = Copier(AugmentParams.model_validate({"size": 28, "mixup": {"probability": 0}}))
    assert np.array_equal(picture[HEADER : HEADER + 28, :28], clean)
    assert np.array_equal(picture[HEADER : HEADER + 28, 90:118], copier.render(clean, "0.png", 2))


def test_classes_have_their_strength_in_it(place):
    plain = "augment: {size: 28, mixup: {probability: 0}, operations: {rotate: {}, noise: {}}"
    (place / "params.yaml").write_text(plain + ", classes: {'1': {strength: 0}}}\n")
    picture = sheet(place, sources=12)
    rows = [picture[top : top + 28] for top in range(HEADER, len(picture), 28 + GAP)]
    still = [np.array_equal(row[:, :28], row[:, 30:58]) for row in rows]
    labels = digits(12)[1]
    assert sum(still) == labels.count(1) > 0


def test_a_folder_without_pictures_is_named(place):
    (place / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        sheet(place, images=place / "empty")


def test_a_folder_is_no_picture(place):
    (place / "sheet.png").mkdir()
    with pytest.raises(DataError, match=r"sheet\.png is a folder"):
        sheet(place)
