"""Builds events as tests need them: what is not said is of no importance to the test."""

import hashlib
import itertools
import time
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from libs.messaging import Record
from tessera.ingest.v1 import event_pb2, ingest_events_pb2

_numbers = itertools.count(1)
SECOND = 1_000_000


def event_id(message_id: str, source: str = "shop") -> bytes:
    """The id that ingest gives to a message."""
    return hashlib.blake2b(f"{source}\0{message_id}".encode(), digest_size=16).digest()


def micros() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


def collected(
    name: str = "Product Viewed",
    *,
    traits: Mapping[str, Any] | bytes | None = None,
    message_id: str = "",
    at: int | None = None,
    received: int | None = None,
    browser: bool = False,
    consent: Mapping[str, bool] | None = None,
    properties: Mapping[str, Any] | None = None,
    **identifiers: str,
) -> ingest_events_pb2.EventCollected:
    """An accepted event: an identify where it has traits, else a track. Times are microseconds."""
    message_id = message_id or f"message {next(_numbers)}"
    received = received or micros()
    identify = traits is not None
    return ingest_events_pb2.EventCollected(
        event_id=event_id(message_id),
        source_id="shop",
        source_kind=event_pb2.SOURCE_KIND_BROWSER if browser else event_pb2.SOURCE_KIND_SERVER,
        message_id=message_id,
        type=event_pb2.EVENT_TYPE_IDENTIFY if identify else event_pb2.EVENT_TYPE_TRACK,
        name="" if identify else name,
        event_time=timestamp(received if at is None else at),
        received_time=timestamp(received),
        properties_json=orjson.dumps(properties or {}),
        traits_json=traits if isinstance(traits, bytes) else orjson.dumps(traits or {}),
        consent=consent,
        **identifiers,  # type: ignore[arg-type]
    )


def timestamp(value: int) -> Timestamp:
    """From microseconds since 1970."""
    return Timestamp(seconds=value // SECOND, nanos=value % SECOND * 1000)


def record_of(event: ingest_events_pb2.EventCollected) -> Record:
    """The record that ingest puts on the log."""
    key = event.anonymous_id or event.user_id or event.previous_id or event.email or event.phone
    received = event.received_time.seconds * SECOND + event.received_time.nanos // 1000
    return Record(key.encode(), "tessera.ingest.v1.EventCollected", event.SerializeToString(), received)
