"""Reads files of old events: JSON lines of Segment calls, or CSV with a mapping; plain, gzip or Zstandard."""

import csv
import gzip
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import orjson

from libs.errors import Invalid, NotFound
from tessera.ingest.v1.event_pb2 import Event, EventType

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_TYPES = {
    "identify": EventType.EVENT_TYPE_IDENTIFY,
    "track": EventType.EVENT_TYPE_TRACK,
    "page": EventType.EVENT_TYPE_PAGE,
    "screen": EventType.EVENT_TYPE_SCREEN,
    "group": EventType.EVENT_TYPE_GROUP,
    "alias": EventType.EVENT_TYPE_ALIAS,
}
_TEXTS = {
    "messageId": "message_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "previousId": "previous_id",
    "groupId": "group_id",
    "email": "email",
    "phone": "phone",
}
_OBJECTS = ("properties", "traits", "context")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
FIELDS = ("type", "event", "name", "timestamp", *_TEXTS)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file as an event, or why it is none."""

    number: int
    event: Event | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """How the columns of a CSV file become a call."""

    columns: Mapping[str, str]
    """By target, such as `userId` or `properties.revenue`."""
    constants: Mapping[str, str]
    """Targets that are the same in every line, such as `event`."""


@contextmanager
def open_file(path: Path) -> Iterator[tuple[BinaryIO, IO[bytes]]]:
    """Open a file, and what it unpacks to: the first tells how far the reading is."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            yield raw, cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        elif path.suffix in (".zst", ".zstd"):
            with zstd.ZstdFile(raw) as unpacked:
                yield raw, cast(IO[bytes], unpacked)
        else:
            yield raw, raw


def is_csv(path: Path) -> bool:
    """Whether the name says CSV; anything else is JSON lines."""
    return ".csv" in path.suffixes[-2:]


def json_lines(file: IO[bytes], name: str) -> Iterator[Line]:
    """The calls of a file of JSON lines."""
    for number, raw in enumerate(file, 1):
        if not raw.strip():
            continue
        try:
            call = orjson.loads(raw)
            if not isinstance(call, dict):
                raise Invalid("line", "is no JSON object")
            yield Line(number, event_of(call, _message_id(name, number, raw)))
        except orjson.JSONDecodeError as error:
            yield Line(number, None, f"is not valid JSON: {error}")
        except Invalid as error:
            yield Line(number, None, error.message)


def csv_lines(file: IO[bytes], name: str, mapped: Mapped) -> Iterator[Line]:
    """The calls of a CSV file, whose first line names its columns."""
    reader = csv.DictReader(_decoded(file))
    for row in reader:
        number = reader.line_num
        raw = orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS)
        try:
            yield Line(number, event_of(_call(row, mapped), _message_id(name, number, raw)))
        except Invalid as error:
            yield Line(number, None, error.message)


def mapping(columns: list[str], maps: list[str], constants: list[str]) -> Mapped:
    """From `target=column` and `target=value`; a column with a target's own name needs no map."""
    chosen = dict(_pair("--map", text) for text in maps)
    if missing := [column for column in chosen.values() if column not in columns]:
        raise Invalid("--map", f"the file has no column {missing[0]!r}; it has {', '.join(columns)}")
    named = {column: column for column in columns if _is_target(column)}
    fixed = dict(_pair("--set", text) for text in constants)
    mapped = Mapped({**named, **chosen}, fixed)
    if not {"userId", "anonymousId", "email", "phone"} & (mapped.columns.keys() | fixed.keys()):
        raise Invalid(
            "--map",
            "says who did it by no column: map one to userId, anonymousId, email or phone, such as "
            f"--map userId={columns[0]}",
        )
    return mapped


def header_of(path: Path) -> list[str]:
    """The columns of a CSV file."""
    with open_file(path) as (_, file):
        return list(csv.DictReader(_decoded(file)).fieldnames or ())


def _decoded(file: IO[bytes]) -> Iterator[str]:
    """The lines as text, without the mark that some programs begin a file with."""
    for number, raw in enumerate(file):
        yield raw.decode("utf-8-sig" if number == 0 else "utf-8", errors="replace")


def event_of(call: Mapping[str, Any], message_id: str) -> Event:
    """A Segment call as the contract's event; `message_id` is for one that has none."""
    kind = call.get("type") or ("track" if call.get("event") else "identify")
    if kind not in _TYPES:
        raise Invalid("type", f"is none of {', '.join(_TYPES)}: {kind!r}")
    event = Event(type=_TYPES[kind], message_id=message_id)
    for name, field in _TEXTS.items():
        if call.get(name) not in (None, ""):
            setattr(event, field, str(call[name]))
    event.name = str(call.get("event" if kind == "track" else "name") or "")
    if text := call.get("originalTimestamp") or call.get("timestamp"):
        event.timestamp.FromDatetime(_time(text))
    for name in _OBJECTS:
        if call.get(name) is not None:
            setattr(event, f"{name}_json", orjson.dumps(call[name]))
    return event


def _call(row: Mapping[str, Any], mapped: Mapped) -> dict[str, Any]:
    texts = {target: row.get(column) or "" for target, column in mapped.columns.items()} | dict(
        mapped.constants
    )
    call: dict[str, Any] = {}
    for target, text in texts.items():
        outer, dot, inner = target.partition(".")
        if not text:
            continue
        if dot:
            call.setdefault(outer, {})[inner] = _value(text)
        else:
            call[target] = text
    return call


def _value(text: str) -> object:
    """Numbers and truths as such; what would not be written so again, such as `007`, stays a text."""
    if text in ("true", "false"):
        return text == "true"
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text) if "." in text else int(text)
    return number if abs(number) < 2**53 else text


def _pair(option: str, text: str) -> tuple[str, str]:
    target, equals, value = text.partition("=")
    if not equals or not value:
        raise Invalid(option, f"is target=…, such as userId=CustomerID, not {text!r}")
    if not _is_target(target):
        raise Invalid(option, f"{target!r} is none of {', '.join(FIELDS)}, traits.…, properties.…, context.…")
    return target, value


def _is_target(name: str) -> bool:
    outer, dot, inner = name.partition(".")
    return bool(outer in _OBJECTS and dot and inner) or name in FIELDS


def _time(text: object) -> datetime:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        raise Invalid(
            "timestamp", f"is not an ISO 8601 time such as 2026-01-31T12:00:00Z: {text!r}"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _message_id(name: str, number: int, raw: bytes) -> str:
    """The same for the same line of the same file, so that an import can be repeated harmlessly."""
    return (
        "import-" + hashlib.blake2b(f"{name}\0{number}\0".encode() + raw.strip(), digest_size=16).hexdigest()
    )
