"""Rows and lines as events of the contract."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from cli.imports.columns import Asked, Mapped, mapping
from cli.imports.csv_rows import delimiter_of, rows
from cli.imports.files import TextLine, open_file, text_lines
from libs.errors import Invalid, Malformed
from libs.tracking.calls import LeftOut, decode_file_call
from libs.tracking.contract import event_of
from tessera.ingest.v1.event_pb2 import Event

_EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# How Excel writes a number of more than eleven digits: many ids become one.
_ROUNDED = re.compile(r"-?[0-9]([.,][0-9]+)?[eE]\+[0-9]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the file as an event, or why it is none."""

    number: int
    event: Event | None
    problem: str = ""
    left_out: Sequence[LeftOut] = ()
    """What the event lacks of the row."""


def json_lines(file: IO[bytes], name: str, encoding: str = "") -> Iterator[Line]:
    """The calls of a file of JSON lines."""
    for line in text_lines(file, encoding):
        if line.problem:
            yield Line(line.number, None, line.problem)
        elif line.text.strip():
            yield _json_line(line, name)


def _json_line(line: TextLine, name: str) -> Line:
    raw = line.text.strip().encode(errors="surrogatepass")
    try:
        call = decode_file_call(raw)
        event = _checked(event_of(call, _message_id(name, line.number, raw)))
        if call.time is None and _grants(event):
            raise Invalid("timestamp", "is missing: nobody knows whether this consent was withdrawn since")
        return Line(line.number, event, left_out=call.left_out)
    except Invalid as error:
        return Line(line.number, None, error.message)


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file: how it is read, and what its columns mean."""

    encoding: str
    delimiter: str
    columns: int
    first_row: int
    """The line behind the one that names the columns."""
    multiline: bool
    mapped: Mapped
    numbers: dict[str, bool] = field(default_factory=dict)
    """Of the properties that stay texts, which have held nothing but numbers in the rows that were read."""

    def lines(self, file: IO[bytes], name: str) -> Iterator[Line]:
        """The calls of the file."""
        body = (line for line in text_lines(file, self.encoding) if line.number >= self.first_row)
        for row in rows(body, self.delimiter, self.columns, self.multiline):
            if row.problem:
                yield Line(row.line, None, row.problem)
                continue
            try:
                yield Line(row.line, self._event(row.values, name, row.line))
            except Invalid as error:
                yield Line(row.line, None, error.message)

    def _event(self, values: Sequence[str], name: str, number: int) -> Event:
        self.mapped.note_numbers(values, self.numbers)
        call = self.mapped.call(values)
        read = decode_file_call(orjson.dumps(call))
        read.consent = call.get("consent", {})
        return _checked(event_of(read, _message_id(name, number, orjson.dumps(values))))


def open_table(
    path: Path, asked: Asked, encoding: str = "", delimiter: str = "", multiline: bool = False
) -> Table:
    """Read the first line of a CSV file, and match its columns; Invalid where that can't be done.

    Without a delimiter it is the one that the first line has most of, or names as Excel does: `sep=;`.
    """
    with open_file(path) as (_, file):
        lines = text_lines(file, encoding)
        first = _first_with_text(lines)
        if told := _EXCEL.fullmatch(first.text):
            delimiter, first = delimiter or told[1], _first_with_text(lines)
        chosen = delimiter or delimiter_of(first.text)
        read = [first]

        def noted() -> Iterator[TextLine]:
            yield first
            for line in lines:
                read.append(line)
                yield line

        header = next(rows(noted(), chosen))
    if header.problem:
        raise Invalid("FILE", f"line {header.line}, which names the columns: {header.problem}")
    mapped = mapping(header.values, asked)
    return Table(encoding, chosen, len(header.values), read[-1].number + 1, multiline, mapped)


def _first_with_text(lines: Iterator[TextLine]) -> TextLine:
    for line in lines:
        if line.problem or line.text.strip():
            return line
    raise Invalid("FILE", "is empty: its first line names the columns")


def _checked(event: Event) -> Event:
    """An event that the server can read; Invalid names what it can't, or what is no id any more."""
    for name, text in (
        ("userId", event.user_id),
        ("anonymousId", event.anonymous_id),
        ("previousId", event.previous_id),
        ("groupId", event.group_id),
        ("messageId", event.message_id),
    ):
        if "+" in text and _ROUNDED.fullmatch(text.strip()):
            raise Invalid(
                name,
                f"{text} is a number that a spreadsheet has rounded: other ids look the same. "
                "Export the column of ids as text",
            )
    for name, raw in (
        ("properties", event.properties_json),
        ("traits", event.traits_json),
        ("context", event.context_json),
    ):
        try:
            orjson.loads(raw or b"{}")
        except orjson.JSONDecodeError as error:
            raise Malformed(name, f"is not valid JSON: {error}") from None
    return event


def _grants(event: Event) -> bool:
    """Whether the context grants any consent."""
    if b'"consent"' not in event.context_json:
        return False
    context = orjson.loads(event.context_json)
    stated = context.get("consent") if isinstance(context, dict) else None
    if not isinstance(stated, dict):
        return False
    categories = [one for one in stated.values() if isinstance(one, dict)]
    return any(one is True for place in (stated, *categories) for one in place.values())


def _message_id(name: str, number: int, raw: bytes) -> str:
    """The same for the same line of the same file, so that an import can be repeated harmlessly."""
    return "import-" + hashlib.blake2b(f"{name}\0{number}\0".encode() + raw, digest_size=16).hexdigest()
