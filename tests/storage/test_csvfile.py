"""The strict table reader: what it mends, what it refuses and how it says so."""

import csv
import io
import os
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.csvfile import byte_style, read_csv
from storage.errors import DataError

GOOD = "ID,target\na.jpg,1\nb.jpg,2\n"


def write(folder: Path, content: str | bytes, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train.csv", GOOD)
    return buffer.getvalue()


ACCEPTED = {
    "plain": GOOD,
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "windows newlines": GOOD.replace("\n", "\r\n"),
    "old mac newlines": GOOD.replace("\n", "\r"),
    "mixed newlines": "ID,target\r\na.jpg,1\rb.jpg,2\n",
    "no final newline": GOOD.rstrip(),
    "blanks around names": " ID , target \na.jpg,1\nb.jpg,2\n",
    "Excel's sep line": "sep=,\n" + GOOD,
    "sep line with semicolon": "sep=;\n" + GOOD.replace(",", ";"),
    "semicolons": GOOD.replace(",", ";"),
    "tabs": GOOD.replace(",", "\t"),
    "quoted": '"ID","target"\n"a.jpg","1"\n"b.jpg","2"\n',
    "blank lines": "\nID,target\n\na.jpg,1\n\n\nb.jpg,2\n\n",
    "unnamed index column": ",ID,target\n0,a.jpg,1\n1,b.jpg,2\n",
    "pandas' name for it": "Unnamed: 0,ID,target\n0,a.jpg,1\n1,b.jpg,2\n",
    "columns swapped": "target,ID\n1,a.jpg\n2,b.jpg\n",
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(tmp_path: Path, content: str | bytes) -> None:
    frame = read_csv(write(tmp_path, content), columns=["ID", "target"])
    assert frame[["ID", "target"]].to_numpy().tolist() == [["a.jpg", "1"], ["b.jpg", "2"]]
    assert set(frame.columns) == {"ID", "target"}


REFUSED = {
    "empty": ("", "is empty (0 bytes)"),
    "blank": ("\n\n", "only blank lines"),
    "header only": ("ID,target\n", "a header and no rows"),
    "no header": ("a.jpg,1\nb.jpg,2\n", "expected columns ID,target; first line looks like data: a.jpg,1"),
    "near name": ("ID,Target\na,1\n", "no column 'target'; did you mean 'Target'?"),
    "other name": ("ID,class\na,1\n", "no column 'target'"),
    "column twice": ("ID,target,target\na,1,2\n", "column 'target' appears 2 times"),
    "one value more": (GOOD + "c.jpg,3,9\n", "line 4 has 3 values, the header has 2"),
    "one value more in every row": ("ID,target\na.jpg,1,x\nb.jpg,2,x\n", "2 in all"),
    "cut off": (GOOD + "c.jp", "line 4: no value for 'target'"),
    "utf-16": ("ID,target\na,1\n".encode("utf-16"), "is UTF-16"),
    "utf-16 without a mark": ("ID,target\na,1\n".encode("utf-16-le"), "is UTF-16"),
    "korean": ("ID,target\n여권.jpg,1\n".encode("cp949"), "it looks like cp949. Set the option encoding: cp949"),
    "open quote": ('ID,target\n"a.jpg,1\nb.jpg,2\n', "quote opened at line 2 is never closed"),
    "line break in a name": ('ID,target\n"a\nb.jpg",1\nc,2\n', "line 2: ID contains a line break"),
    "text after a quote": ('ID,target\n"a"b,1\n', "line 2: "),
    "git lfs": ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "run git lfs pull"),
    "dvc pointer": ("outs:\n- md5: 00\n  path: train.csv\n", "run dvc pull"),
    "login page": ("<!DOCTYPE html><html>", "an HTML page"),
    "zip": (zipped(), "a ZIP archive"),
    "gzip": (b"\x1f\x8b\x08\x00", "a gzip archive"),
    "pickle": (b"\x80\x04\x95", "a Python pickle"),
    "zero bytes": (b"ID,target\na\x00b,1\n", "zero bytes"),
    "huge value": ("ID,target\n" + "x" * 200_000 + ",1\n", "line 2: a value is longer than"),
    "huge line": ("ID,target\n" + "x," * 1_000_000, "longer than 1,000,000 characters"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_csv(path, columns=["ID", "target"])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "not a regular file"), (tmp_path / "pipe", "not a regular file")):
        with pytest.raises(DataError, match=message):
            read_csv(path)
    with pytest.raises(DataError, match=r"no\.csv not found"):
        read_csv(tmp_path / "no.csv")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg\n" for i in range(15))
    with pytest.raises(DataError) as caught:
        read_csv(write(tmp_path, "ID,target\n" + rows + 'x,"1\n'))
    message = str(caught.value)
    assert "16 in all" in message
    assert "line 2: no value" in message
    assert "... and 6 more" in message


def test_values_stay_text(tmp_path: Path) -> None:
    values = ["0001", "1e5", "12345678901234567890", "1.0", "NA", "null", "True", "=HYPERLINK(1)", " x", "１"]
    frame = read_csv(write(tmp_path, "ID,n\n" + "".join(f"{value},1\n" for value in values)))
    assert frame["ID"].tolist() == values


def test_index_is_the_line_number(tmp_path: Path) -> None:
    frame = read_csv(write(tmp_path, "sep=,\nID,target\n\na,1\nb,2\n"))
    assert frame.index.tolist() == [4, 5]
    assert "sep=" in frame.attrs["notes"][0]


def test_given_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "ID,target\n여권.jpg,1\n".encode("cp949"))
    assert read_csv(path, encoding="cp949")["ID"].tolist() == ["여권.jpg"]
    path = write(tmp_path, "ID,target\n여권.jpg,1\n".encode("utf-16"))
    assert read_csv(path, encoding="utf-16")["ID"].tolist() == ["여권.jpg"]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_reads_what_csv_writes(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], mark: str) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=mark, quoting=csv.QUOTE_ALL)
    writer.writerows([["ID", "target"], *rows])
    path = write(tmp_path_factory.getbasetemp(), buffer.getvalue(), "written.csv")
    if any(re.search(r"[\r\n]", cell) for row in rows for cell in row):
        with pytest.raises(DataError, match="line break"):
            read_csv(path, columns=["ID", "target"])
    else:
        assert read_csv(path, columns=["ID", "target"]).to_numpy().tolist() == rows


@given(st.binary(max_size=200) | st.text('a1,"\n\r; ', max_size=60).map(str.encode))
def test_any_bytes_give_rows_as_csv_does_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content, "any.csv")
    try:
        frame = read_csv(path, delimiter=",")
    except DataError:
        return
    text = io.StringIO(content.decode("utf-8-sig"), newline=None).read()
    table = re.sub(r"\A(\s*\n)+", "", text)  # blank lines before the header
    rows = [row for row in csv.reader(io.StringIO(table), strict=True) if row]
    assert len(frame) == len(rows) - 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOD.encode(), (",", "\n", False, "minimal", True)),
        (b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), (",", "\r\n", True, "minimal", True)),
        (b'"ID";"target"\r"a";"0"', (";", "\r", False, "all", False)),
    ],
)
def test_byte_style(tmp_path: Path, content: bytes, expected: tuple[object, ...]) -> None:
    style = byte_style(write(tmp_path, content))
    assert (style.delimiter, style.newline, style.bom, style.quote, style.final_newline) == expected


def test_free_text_may_run_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text('ID,remark,target\na,"one\n""two""",1\nb,,2\n"c\nd",x,3\n')
    with pytest.raises(DataError, match=r"line 5: ID contains a line break$"):
        read_csv(path, columns=["ID", "target"])
    path.write_text(path.read_text().replace('"c\nd"', "c"))
    frame = read_csv(path, columns=["ID", "target"])
    assert frame["remark"].tolist() == ['one\n"two"', "", "x"]
    assert frame.index.tolist() == [2, 4, 5]
    assert "1 rows run over several lines" in frame.attrs["notes"][0]
