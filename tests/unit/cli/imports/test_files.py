"""Files as lines of text."""

import codecs
import gzip
import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.imports.files import TextLine, is_table, open_file, text_lines
from libs.errors import Invalid, NotFound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_TEXTS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


def _read(content: bytes, encoding: str = "") -> list[TextLine]:
    return list(text_lines(io.BytesIO(content), encoding))


def _texts(content: bytes, encoding: str = "") -> list[str]:
    return [line.text for line in _read(content, encoding)]


@given(
    st.lists(_TEXTS, min_size=1),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_lines_are_what_was_written_whatever_the_mark_and_the_ends(
    texts: list[str], encoding: str, end: str
) -> None:
    if texts[0].startswith("\ufeff"):
        texts[0] = "x" + texts[0]
    written = "".join(f"{text}{end}" for text in texts).encode(encoding)

    assert list(enumerate(texts, 1)) == [(line.number, line.text) for line in _read(written)]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_mark_tells_the_order_of_bytes(mark: bytes) -> None:
    order = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"

    assert ["Müller", "x"] == _texts(mark + "Müller\r\nx\r\n".encode(order))


def test_csv_a_file_in_windows_1252_is_refused_with_line_and_byte() -> None:
    good, bad, after = _read(b"Ada\nM\xc3\xbcller, M\xfcller\nBob\n")

    assert ("Ada", "") == (good.text, good.problem)
    assert 2 == bad.number
    assert "byte 11 of the line is 0xFC, which is not UTF-8" in bad.problem
    assert "--encoding cp1252" in bad.problem
    assert ("Bob", "") == (after.text, after.problem)


def test_csv_a_file_in_windows_1252_is_read_with_its_encoding() -> None:
    assert ["Müller – 5 €"] == _texts("Müller – 5 €\n".encode("cp1252"), "windows-1252")


@pytest.mark.parametrize(
    ("content", "encoding", "byte"),
    [(b"a\nb\x81\n", "cp1252", "byte 2 of the line is 0x81, which is not cp1252"),
     (b"a\nbc\xff\n", "shift_jis", "byte 3 of the line is 0xFF, which is not shift_jis"),
     (b"a\n\xed\xa0\x80\n", "", "byte 1 of the line is 0xED, which is not UTF-8")],
)  # fmt: skip
def test_a_byte_that_an_encoding_does_not_know_costs_its_line(
    content: bytes, encoding: str, byte: str
) -> None:
    good, bad = _read(content, encoding)

    assert "" == good.problem
    assert byte in bad.problem


def test_a_zero_byte_is_told_with_what_it_may_mean() -> None:
    first, second = _read(b"a\0b\nc\n")

    assert "U+0000" in first.problem
    assert "utf-16-le" in first.problem
    assert ("c", "") == (second.text, second.problem)


def test_half_a_character_of_a_wide_encoding_ends_the_reading() -> None:
    with pytest.raises(Invalid, match="is not utf-16"):
        _read("a\nb\n".encode("utf-16") + b"x")


@pytest.mark.parametrize("name", ["klingon", "rot13", "base64"])
def test_an_encoding_that_is_none_of_texts_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="--encoding"):
        _read(b"a", name)


def test_an_empty_file_has_no_lines() -> None:
    assert [] == _read(b"")
    assert [] == _read(codecs.BOM_UTF8)


def test_a_file_is_unpacked_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "people.csv.gz"
    path.write_bytes(gzip.compress("userId,name\r\na,Zoë\r\n".encode("utf-16")))
    with open_file(path) as (_, file):
        texts = [line.text for line in text_lines(file)]

    assert ["userId,name", "a,Zoë"] == texts


def test_the_name_tells_a_table_from_json_lines(tmp_path: Path) -> None:
    assert all(is_table(tmp_path / name) for name in ("a.csv", "a.CSV", "a.csv.gz", "a.tsv", "a.tab.zst"))
    assert not any(is_table(tmp_path / name) for name in ("a.jsonl", "a.jsonl.gz", "a.csv.old.json"))


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"), open_file(tmp_path / "none.jsonl"):
        pass


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("said", ["utf-16-le", "utf-16-be", "utf-8", "cp1252", "latin-1"])
def test_a_mark_tells_the_encoding_whatever_is_said(mark: str, said: str) -> None:
    assert ["userId", "Zo\u00eb"] == _texts("userId\nZo\u00eb\n".encode(mark), said)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_that_stands_twice_is_no_part_of_the_first_name(encoding: str) -> None:
    assert ["userId", "\ufeffx"] == _texts("\ufeffuserId\n\ufeffx\n".encode(encoding))


def _unpacked(path: Path) -> list[str]:
    with open_file(path) as (_, file):
        return [line.text for line in text_lines(file)]


@pytest.mark.parametrize("name", ["a.csv.GZ", "a.jsonl.Zst"])
def test_a_file_is_unpacked_whatever_the_case_of_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((gzip.compress if name.endswith("GZ") else zstd.compress)(b"one\ntwo\n"))

    assert ["one", "two"] == _unpacked(path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_packed_file_that_is_cut_or_spoiled_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = "".join(f"{number * 7919 % 1000}\n" for number in range(10_000)).encode()
    checked = {zstd.CompressionParameter.checksum_flag: 1}
    whole = gzip.compress(text) if name.endswith("gz") else zstd.compress(text, options=checked)
    middle = len(whole) // 2
    for content in (whole[:middle], whole[:middle] + b"\xff" * 64 + whole[middle + 64 :], b"userId\n1\n"):
        path.write_bytes(content)
        with pytest.raises(Invalid, match=rf"{name} is not a whole"):
            _unpacked(path)
