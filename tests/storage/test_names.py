"""The nearest known name, or the list of them."""

import pytest

from storage.names import near, nearest


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("epoch", ["lr", "epochs"], "; did you mean epochs?"),
        ("TARGET", ["id", "target"], "; did you mean target?"),
        ("nothing like it", ["a", "b"], "; known: a, b"),
        ("nothing like it", [1, 2], "; known: 1, 2"),
        ("nothing like it", [f"x{i}" for i in range(41)], ""),
        ("word", [], ""),
    ],
)
def test_hint(word: str, known: list[object], told: str) -> None:
    assert nearest(word, known) == told


def test_several_keep_their_spelling_and_order() -> None:
    assert near("resnet51", ["ResNet50", "resnet152", "vit"], count=2)[0] == "ResNet50"
    assert near("resnet51", ["vit"]) == []
