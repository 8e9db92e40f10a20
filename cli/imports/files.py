"""Opens files, unpacks them, and reads them as lines of text, whatever they are encoded in."""

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from libs.errors import Invalid, NotFound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_TABLES = (".csv", ".tsv", ".tab")
# The longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENDS = "\r\n"
_PACKED = (".gz", ".zst", ".zstd")
_MARK = "\ufeff"
# What Python makes of a byte that the encoding does not know, so that it can be found again.
_UNKNOWN = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line as it stands in the file, without its end, or why it is no text."""

    number: int
    """From 1, as an editor counts them."""
    text: str
    problem: str = ""


@contextmanager
def open_file(path: Path) -> Iterator[tuple[BinaryIO, IO[bytes]]]:
    """Open a file, and what it unpacks to: the first tells how far the reading is."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    suffix = path.suffix.lower()
    with path.open("rb") as raw:
        if suffix not in _PACKED:
            yield raw, raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) if suffix == ".gz" else zstd.ZstdFile(raw) as unpacked:
                yield raw, cast(IO[bytes], unpacked)
        # EOFError says that it was cut; to the command it would look like somebody who wants to end.
        except (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
            raise Invalid("FILE", f"{path} is not a whole {suffix} file: {error}") from None


def is_table(path: Path) -> bool:
    """Whether the name says CSV; anything else is JSON lines."""
    return any(suffix.lower() in _TABLES for suffix in path.suffixes[-2:])


def text_lines(file: IO[bytes], encoding: str = "") -> Iterator[TextLine]:
    """The lines of a file, ended by LF, CRLF or CR.

    The mark at its beginning tells the encoding, whatever is said: another would make a part of the first
    name of it. Without either it is UTF-8. A byte that the encoding does
    not know costs its line alone; where characters have no fixed place in the bytes (UTF-16, UTF-32) it
    is Invalid, since nothing after it can be trusted.
    """
    start = io.BufferedReader(cast(io.RawIOBase, file)) if not hasattr(file, "peek") else file
    said = encoding and _checked(encoding)
    chosen = next((name for mark, name in _MARKS if start.peek(4).startswith(mark)), said or "utf-8")
    wide = chosen.startswith(("utf-16", "utf-32"))
    reader = io.TextIOWrapper(start, chosen, errors="strict" if wide else "surrogateescape", newline="")
    number = 0
    try:
        for number, line in enumerate(reader, 1):
            # Some programs put a mark before a file that has one.
            text = line.lstrip(_MARK) if number == 1 else line
            yield TextLine(number, text.rstrip(_ENDS), _problem(line, chosen))
    except UnicodeDecodeError as error:
        raise Invalid("FILE", f"line {number + 1} or one behind it is not {chosen}: {error.reason}") from None
    finally:
        # It would close the file, which is not its own.
        if not reader.closed:
            reader.detach()


def _checked(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        raise Invalid(
            "--encoding", f"{encoding!r} is no encoding that Python knows, such as utf-8, cp1252 or utf-16"
        ) from None
    return codecs.lookup(encoding).name


def _problem(line: str, encoding: str) -> str:
    if found := _UNKNOWN.search(line):
        encoding = encoding.removesuffix("-sig")
        place = len(line[: found.start()].encode(encoding, "surrogateescape")) + 1
        name = "UTF-8" if encoding == "utf-8" else encoding
        hint = ": --encoding cp1252, if it is a Windows file of Western Europe" if name == "UTF-8" else ""
        return f"byte {place} of the line is 0x{ord(found[0]) - 0xDC00:02X}, which is not {name}{hint}"
    if "\0" in line:
        return (
            f"character {line.index(chr(0)) + 1} of the line is U+0000: "
            "a file full of them is UTF-16 (--encoding utf-16-le or utf-16-be)"
        )
    return ""
