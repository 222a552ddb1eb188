"""params.yaml is read strictly; each refusal names the key, the line and a remedy."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from stages.params import LISTS, SECTIONS, read_params, run_lists, section
from storage.errors import ParamsError
from storage.section import Section


class Inner(Section):
    degrees: float = Field(40, ge=0, le=180)


class Example(Section):
    lr: float = Field(0.01, gt=0)
    epochs: int = Field(3, ge=1)
    rotate: Inner = Inner()


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_values_arrive_and_defaults_fill(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  lr: 1e-3\n  rotate: {degrees: 10}\n")
    params = section("train", Example, path=path)
    assert (params.lr, params.epochs, params.rotate.degrees) == (0.001, 3, 10)  # YAML 1.1 reads 1e-3 as text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  lr: 1\n  epoch: 3\n", r"params\.yaml:3: train\.epoch: unknown; did you mean epochs\?"),
        (
            "train:\n  rotate:\n    degree: 3\n",
            r"params\.yaml:3: train\.rotate\.degree: unknown; did you mean degrees\?",
        ),
        ("train:\n  lr: 0\n", r"params\.yaml:2: train\.lr: .*greater than 0"),
        ("train:\n  lr: .nan\n", r"params\.yaml:2: train\.lr: .*finite"),
        ("train:\n  lr: 1\n  lr: 2\n", r"'lr' twice \(lines 2, 3\)"),
        ("train:\n\tlr: 1\n", r"line 2, column 1: .*; indent with spaces, not with tabs"),
        ("train:\n  lr: 1\n   epochs: 3\n", r"line 3, column 10: .*; is it indented as the lines around it"),
        ("train:\n  lr: 1\n  epochs:3\n", r"line 4, column 1: .*; a key is followed by a colon and a space"),
        ("train: {lr: 'x\n", r"line \d+, column \d+"),
        ("train: !!python/object/apply:os.system ['true']\n", r"YAML tags are not allowed"),
        ("trian:\n  lr: 1\n", r"trian: unknown section; did you mean train\?"),
        ("- a\n", r"holds no sections"),
        ("train: 3\n", r"params\.yaml:1: train: expected keys with values"),
        ("train:\n  lr: 0\n  epochs: 0\n", r"(?s)2 in all.*train\.lr.*train\.epochs"),
    ],
)
def test_refusals_name_key_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        section("train", Example, path=write(tmp_path, text))


def test_environment_is_never_expanded(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {key: '${oc.env:HOME} $HOME'}\n")
    assert read_params(path).values["train"]["key"] == "${oc.env:HOME} $HOME"


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    with pytest.raises(ParamsError, match="expands to more than"):
        read_params(write(tmp_path, "\n".join(levels)))


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ParamsError):
        assert set(read_params(path).values) <= {*SECTIONS, *LISTS}


def test_members_and_folds_must_fit_the_models(tmp_path: Path) -> None:
    good = "members: [cnn]\nfolds: [0, 1]\nmodels:\n  cnn: {}\n"
    assert run_lists(write(tmp_path, good)) == (["cnn"], [0, 1])
    with pytest.raises(ParamsError, match=r"no 'cnnn' under models; did you mean cnn\?"):
        run_lists(write(tmp_path, good.replace("[cnn]", "[cnnn]")))
    with pytest.raises(ParamsError, match=r"folds: expected \[0, 1, 2"):
        run_lists(write(tmp_path, good.replace("[0, 1]", "[1, 2]")))
    with pytest.raises(ParamsError, match="twice"):
        run_lists(write(tmp_path, good.replace("[cnn]", "[cnn, cnn]")))
