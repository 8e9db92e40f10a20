"""Reads CSV so that no row is lost: what a stray quote would swallow is told, or read on its own.

The rules are RFC 4180's, with any of the usual separators. A quote counts where it begins a value; inside a
value that began without one it is a character like any other, as in `5" pipe`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cli.imports.files import TextLine

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
# No event is larger: a quoted value that goes on for longer was not meant to.
_MOST_CHARACTERS = 65_536


@dataclass(frozen=True, slots=True)
class Row:
    """A row, or why it is none: then it is a single line, which has no values."""

    line: int
    """Where it begins."""
    values: Sequence[str]
    problem: str = ""


def delimiter_of(header: str) -> str:
    """What separates the names of a header: the one that is there most often outside of quotes."""
    bare = "".join(header.split('"')[::2])
    return max(DELIMITERS.values(), key=lambda one: (bare.count(one), one == ","))


def rows(
    lines: Iterable[TextLine], delimiter: str, columns: int | None = None, multiline: bool = False
) -> Iterator[Row]:
    """The rows; those that have not `columns` values are told. Empty lines are no rows.

    Where every line of a quoted value looks like a row of its own, a quote that was forgotten is likelier
    than such a value: these lines are told, unless `multiline` says that they are meant.
    """
    source = _Lines(lines)
    for line in source:
        if line.problem:
            yield Row(line.number, (), line.problem)
        elif '"' in line.text:
            yield from _quoted(line, source, delimiter, columns, multiline)
        elif line.text.strip():
            yield _checked(line.number, line.text.split(delimiter), columns)


class _Lines:
    """Lines that can be put back, to be read once more."""

    def __init__(self, lines: Iterable[TextLine]) -> None:
        self._lines = iter(lines)
        self._back: deque[TextLine] = deque()

    def __iter__(self) -> Iterator[TextLine]:
        while (line := self.next()) is not None:
            yield line

    def next(self) -> TextLine | None:
        """The next line; None at the end."""
        return self._back.popleft() if self._back else next(self._lines, None)

    def put_back(self, lines: Sequence[TextLine]) -> None:
        """Read these again, before all others."""
        self._back.extendleft(reversed(lines))


class _Misquoted(Exception):
    """A closing quote with something behind it."""


@dataclass(slots=True)
class _Record:
    """Takes a row apart, line by line."""

    delimiter: str
    values: list[str] = field(default_factory=list)
    _open: list[str] | None = None
    """The parts of the quoted value that the last line left open."""

    @property
    def is_open(self) -> bool:
        """Whether a quote waits for its end."""
        return self._open is not None

    def feed(self, text: str) -> None:
        """Take the next line; _Misquoted where it can't be one of a row."""
        at = 0
        if self._open is not None:
            self._open.append("\n")
            at = self._close(text, 0)
        while at <= len(text) and not self.is_open:
            at = self._value(text, at)

    def _value(self, text: str, at: int) -> int:
        """Read the value that begins there; return where the next one does."""
        begin = at
        while begin < len(text) and text[begin] == " ":
            begin += 1
        if begin < len(text) and text[begin] == '"':
            self._open = []
            return self._close(text, begin + 1)
        end = text.find(self.delimiter, at)
        end = len(text) if end < 0 else end
        self.values.append(text[at:end])
        return end + 1

    def _close(self, text: str, at: int) -> int:
        """Read a quoted value to its end, if it ends in this line; return where the next one begins."""
        assert self._open is not None
        while (quote := text.find('"', at)) >= 0:
            if text[quote + 1 : quote + 2] != '"':
                break
            self._open.append(text[at : quote + 1])
            at = quote + 2
        else:
            self._open.append(text[at:])
            return len(text) + 1
        self._open.append(text[at:quote])
        end = text.find(self.delimiter, quote)
        end = len(text) if end < 0 else end
        if text[quote + 1 : end].strip(" "):
            raise _Misquoted
        self.values.append("".join(self._open))
        self._open = None
        return end + 1


def _quoted(
    first: TextLine, source: _Lines, delimiter: str, columns: int | None, multiline: bool
) -> Iterator[Row]:
    record, taken = _Record(delimiter), [first]
    try:
        record.feed(first.text)
    except _Misquoted:
        yield Row(
            first.number,
            (),
            f"value {len(record.values) + 1} has something behind its closing quote: "
            "a quote inside a quoted value is written twice",
        )
        return
    opened = len(record.values) + 1
    if not _closed(record, source, taken):
        source.put_back(taken[1:])
        yield Row(first.number, (), f"the quote that begins value {opened} is never closed")
        return
    row, last = _checked(first.number, record.values, columns), taken[-1].number
    if len(taken) == 1:
        yield row
    elif row.problem:
        source.put_back(taken[1:])
        reason = f"the quote that begins value {opened} ends only in line {last}, and the row {row.problem}"
        yield Row(first.number, (), reason)
    elif not multiline and columns is not None and _look_like_rows(taken, delimiter, columns):
        reason = (
            f"the quote that begins value {opened} of line {first.number} is closed only in line {last}, and "
            "each line between looks like a row: close it where it belongs, or say --multiline if it is meant"
        )
        yield from (Row(line.number, (), reason) for line in taken)
    else:
        yield row


def _closed(record: _Record, source: _Lines, taken: list[TextLine]) -> bool:
    """Read on until no quote is open; False where none ends it, or what does can't be its end."""
    size = 0
    while record.is_open:
        line = source.next()
        if line is None:
            return False
        taken.append(line)
        size += len(line.text)
        if line.problem or size > _MOST_CHARACTERS:
            return False
        try:
            record.feed(line.text)
        except _Misquoted:
            return False
    return True


def _look_like_rows(lines: Sequence[TextLine], delimiter: str, columns: int) -> bool:
    return columns > 1 and all(line.text.count(delimiter) == columns - 1 for line in lines)


def _checked(line: int, values: list[str], columns: int | None) -> Row:
    if columns is None or len(values) == columns:
        return Row(line, values)
    noun = "value" if len(values) == 1 else "values"
    return Row(line, (), f"has {len(values)} {noun}, where the first line names {columns} columns")
