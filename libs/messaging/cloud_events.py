"""CloudEvents in Kafka's binary mode: attributes as headers, the protobuf body as the value.

Every record passes here twice, so constant parts are encoded once and times are cut, not parsed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from libs.messaging.records import Received

NUMBER = "tessera-number"
"""The header that holds a relayed record's number in its outbox."""

Header = tuple[str, bytes]
Message = tuple[bytes, bytes, list[Header]]
"""Key, value, headers."""

_VERSION: Header = ("ce_specversion", b"1.0")
_CONTENT_TYPE: Header = ("content-type", b"application/protobuf")
_UNREAD = frozenset({"ce_id", "ce_source", "ce_specversion", "content-type"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1024)
def _type_header(name: str) -> Header:
    return ("ce_type", name.encode())


@lru_cache(maxsize=1024)
def _second(seconds: int) -> bytes:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19].encode()


@lru_cache(maxsize=1024)
def _micros(second: bytes) -> int:
    return int(datetime.fromisoformat(f"{second.decode()}+00:00").timestamp()) * 1_000_000


@lru_cache(maxsize=1024)
def _text(value: bytes) -> str:
    return value.decode()


def _rfc3339(time: int) -> bytes:
    seconds, micros = divmod(time, 1_000_000)
    return b"%s.%06dZ" % (_second(seconds), micros)


def _parsed(time: bytes) -> int:
    if len(time) == 27 and time[19] == 46 and time[26] == 90:  # ours: "….ffffffZ"
        return _micros(time[:19]) + int(time[20:26])
    passed = datetime.fromisoformat(time.decode()) - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def encode(
    id_: str,
    source: Header,
    type_: str,
    time: int,
    headers: Mapping[str, str] | None,
    number: int | None = None,
) -> list[Header]:
    """The headers of one record."""
    encoded = [
        _type_header(type_),
        ("ce_time", _rfc3339(time)),
        ("ce_id", id_.encode()),
        source,
        _VERSION,
        _CONTENT_TYPE,
    ]
    if number is not None:
        encoded.append((NUMBER, b"%d" % number))
    if headers:
        encoded += [(name, value.encode()) for name, value in headers.items()]
    return encoded


def source_of(namespace: str, owner: str) -> Header:
    """The `ce_source` of a service: `/tessera/profile`."""
    return ("ce_source", f"/{namespace}/{owner}".encode())


def decode(topic: str, message: Any) -> Received:
    """A record as aiokafka delivers it."""
    type_ = ""
    time = None
    number = None
    headers: dict[str, str] = {}
    for name, value in message.headers:
        if name == "ce_type":
            type_ = _text(value)
        elif name == "ce_time":
            time = _parsed(value)
        elif name == NUMBER:
            number = int(value)
        elif name not in _UNREAD:
            headers[name] = value.decode()
    return Received(
        topic,
        message.partition,
        message.offset,
        message.key or b"",
        type_,
        message.value or b"",
        message.timestamp * 1000 if time is None else time,
        headers,
        number,
    )
