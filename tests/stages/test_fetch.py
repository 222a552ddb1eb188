"""fetch: embedded competitions and files from the web, found where they lie, into data/raw."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from commands.fetch import listed
from commands.fetch import main as podium_fetch
from stages.fetch import Download, main, wanted
from stages.params import read_params
from stages.prepare import main as prepare
from storage.errors import ParamsError, ResourceError
from tests import competitions
from tests.web import Web, content, serving

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/fashion-mnist/params.yaml"


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def params(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_from_the_web_to_an_index(web: Web, tmp_path: Path) -> None:
    source = competitions.fashion(tmp_path / "served")
    files = {path.name: path.read_bytes() for path in sorted(source.iterdir())}
    web.pages |= {f"/{name}": content(data) for name, data in files.items()}
    listed_files = [
        {"to": name, "sha256": hashlib.sha256(data).hexdigest(), "sources": ["/nowhere", web.url(f"/{name}")]}
        for name, data in files.items()
    ]
    path = params(tmp_path, yaml.safe_dump({"fetch": {"clothes": listed_files}, "prepare": {"layout": "idx"}}))
    raw, answers = tmp_path / "raw", tmp_path / "answers.csv"
    for requests in (4, 4):  # the second time, nothing is asked for
        main("clothes", raw, answers, work=tmp_path / "work", params=path)
        assert len(web.asked) == requests
    assert {file.name: file.read_bytes() for file in raw.iterdir()} == files
    assert answers.read_text() == "ID,target,half\n"
    prepare(raw, tmp_path / "index", work=tmp_path / "prepare", params=path)
    assert (tmp_path / "index/train.parquet").is_file()


def test_without_a_network_nothing_is_left(tmp_path: Path) -> None:
    entry = {"to": "a.gz", "sha256": "0" * 64, "sources": ["http://127.0.0.1:9/a.gz"]}
    path = params(tmp_path, yaml.safe_dump({"fetch": {"x": [entry]}}))
    with pytest.raises(ResourceError, match="no network"):
        main("x", tmp_path / "raw", tmp_path / "answers.csv", work=tmp_path / "work", params=path)
    assert not (tmp_path / "raw").exists()
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fetch: {digit: embedded}", r"params.yaml:1: fetch has no 'digits'; did you mean digit\?"),
        ("fetch: [digits]", r"params.yaml:1: fetch: expected names, as in fetch: \{digits: embedded\}"),
        ("fetch: {digits: elsewhere}", r"fetch.digits: expected 'embedded' or a list .* it is 'elsewhere'"),
        ("fetch:\n  digits:\n    - {to: a, sha256: x, sources: [/a]}", r"params.yaml:3: fetch.digits.0.sha256"),
        (f"fetch: {{digits: [{{to: ../a, sha256: {'0' * 64}, sources: [/a]}}]}}", "path leaves data root"),
        (f"fetch: {{digits: [{{to: a, sha265: {'0' * 64}, sources: [/a]}}]}}", "sha265: unknown; did you mean sha256"),
        ("fetch: {digits: [" + f"{{to: a, sha256: {'a' * 64}, sources: [/a]}}," * 2 + "]}", "the same place"),
        ("fetch: {}", "fetch has no 'digits'"),
    ],
)  # fmt: skip
def test_bad_entries(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ParamsError, match=told):
        main("digits", tmp_path / "raw", tmp_path / "answers.csv", params=params(tmp_path, text))
    assert not (tmp_path / "raw").exists()


def test_an_unknown_embedded_competition(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"'digit' is not embedded; did you mean digits\?"):
        main("digit", tmp_path / "raw", tmp_path / "a.csv", params=params(tmp_path, "fetch: {digit: embedded}"))


def test_the_recipe_knows_every_file_and_both_official_places() -> None:
    read = read_params(RECIPE)
    files = wanted(read, "fashion-mnist")
    assert files is not None
    assert [file.to for file in files] == [f"{name}.gz" for name in competitions.FASHION_FILES]
    for file in files:
        assert [source.split("/")[2] for source in file.sources[1:]] == [
            "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "github.com",
        ]
        assert all(source.endswith(f"/{file.to}") for source in file.sources)


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="needs Debian's dataset-fashion-mnist"
)
def test_debians_files_are_the_official_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    podium_fetch("fashion-mnist")
    labels = gzip.decompress((tmp_path / "data/raw/fashion-mnist/t10k-labels-idx1-ubyte.gz").read_bytes())
    assert len(labels) == 10_008


def test_podium_fetch_asks_params_then_the_recipes(tmp_path: Path) -> None:
    here = params(tmp_path, "fetch: {mine: embedded}")
    assert listed("mine", here) == here
    assert listed("fashion-mnist", here) == RECIPE
    assert listed("fashion-mnist", tmp_path / "none.yaml") == RECIPE
    assert listed("unknown", here) == here


def test_limits_of_an_entry() -> None:
    assert Download(to="a/b.gz", sha256="0" * 64, sources=["/a"]).largest == 20 * 2**30
