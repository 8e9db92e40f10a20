"""Between the contracts' messages, Segment's JSON and the domain."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from libs.errors import Invalid, Malformed, Required, TooLarge
from libs.times import micros, set_time, timestamp
from services.ingest.domain import MOST_EVENT_BYTES, Collected, EventType, Incoming, Source
from services.ingest.handlers import Item, Rejection, Unreadable
from services.ingest.ports import KeptRejection
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.ingest.v1 import ingest_service_pb2 as pb

Decoded = TypeVar("Decoded")

COLLECTED = "tessera.ingest.v1.EventCollected"

_TYPE_PB = {
    EventType.IDENTIFY: event_pb2.EVENT_TYPE_IDENTIFY,
    EventType.TRACK: event_pb2.EVENT_TYPE_TRACK,
    EventType.PAGE: event_pb2.EVENT_TYPE_PAGE,
    EventType.SCREEN: event_pb2.EVENT_TYPE_SCREEN,
    EventType.GROUP: event_pb2.EVENT_TYPE_GROUP,
    EventType.ALIAS: event_pb2.EVENT_TYPE_ALIAS,
    EventType.CONSENT: event_pb2.EVENT_TYPE_CONSENT,
}
# What the domain calls by the names of Segment's JSON.
_FIELDS = {
    "messageId": "message_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "previousId": "previous_id",
    "groupId": "group_id",
    "event": "name",
    "properties": "properties_json",
    "traits": "traits_json",
    "context": "context_json",
}
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
_TYPE_NAMES = {number: kind.value for kind, number in _TYPE_PB.items()}
_SOURCE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# HTTP Basic ends it at a colon.
_WRITE_KEY = re.compile(r"[!-9;-~]{0,200}")
_RAW_NULL = (b"", b"null")


# ---- Segment's JSON


class Call(msgspec.Struct, rename="camel"):
    """One call of a Segment SDK; what we do not read may be there and is ignored."""

    type: str | None = None
    message_id: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    properties: msgspec.Raw = msgspec.Raw()
    traits: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()


class CallBatch(msgspec.Struct, rename="camel"):
    """The body of /v1/batch."""

    batch: list[msgspec.Raw]
    sent_at: str | None = None
    context: msgspec.Raw = msgspec.Raw()
    write_key: str | None = None


class WriteKey(msgspec.Struct, rename="camel"):
    """The write key where a single call carries it in its body."""

    write_key: str | None = None


_call = msgspec.json.Decoder(Call)
_batch = msgspec.json.Decoder(CallBatch)
_write_key = msgspec.json.Decoder(WriteKey)
# Values stay as they came: a number that is read and written again may lose digits.
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
# msgspec ends a complaint with the place: "Expected `str`, got `array` - at `$.userId`".
_COMPLAINT = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)


def batch_of(body: bytes) -> CallBatch:
    """The body of /v1/batch; Invalid where it is no such JSON."""
    return _decoded(_batch, body)


def write_key_of(body: bytes) -> str:
    """The write key in a single call's body, or nothing."""
    return _decoded(_write_key, body).write_key or ""


def batch_items(batch: CallBatch) -> list[Item]:
    """The calls of a batch, each with the batch's context below its own."""
    return [call_item(bytes(raw), None, batch.sent_at, bytes(batch.context)) for raw in batch.batch]


def call_item(
    body: bytes, type_: str | None = None, sent_at: str | None = None, context: bytes = b""
) -> Item:
    """One call; `type_` is the endpoint's, `sent_at` and `context` the batch's."""
    event: Incoming | Unreadable
    message_id = ""
    try:
        call = _decoded(_call, body)
        message_id = call.message_id or ""
        # The batch's context counts for each of its events: it is stored with each.
        size = len(body) + len(context)
        if size > MOST_EVENT_BYTES:
            raise TooLarge("body", f"has {size:,} bytes, {MOST_EVENT_BYTES:,} are allowed")
        event = _incoming_of_call(call, type_, sent_at, context)
    except Invalid as error:
        event = Unreadable(message_id, error)
    return Item(event, lambda: body)


def _decoded(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        match = _COMPLAINT.fullmatch(str(error))
        assert match is not None
        raise Malformed(match["field"] or "body", match["problem"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("body", f"is not valid JSON: {error}") from None


def _incoming_of_call(call: Call, type_: str | None, sent_at: str | None, context: bytes) -> Incoming:
    kind = type_ or call.type or ""
    merged = _merged(context, bytes(call.context))
    traits = bytes(call.traits)
    if kind == "identify" and traits in _RAW_NULL:
        traits = _traits_in(merged)
    return Incoming(
        type=kind,
        message_id=call.message_id,
        user_id=_id(call.user_id),
        anonymous_id=_id(call.anonymous_id),
        previous_id=_id(call.previous_id),
        group_id=_id(call.group_id),
        name=call.event if kind == "track" else call.name,
        time=_time("timestamp", call.original_timestamp or call.timestamp),
        sent_at=_time("sentAt", call.sent_at or sent_at),
        properties=_present(bytes(call.properties)),
        traits=_present(traits),
        context=_present(merged),
    )


def _present(raw: bytes) -> bytes:
    return b"" if raw in _RAW_NULL else raw


def _id(value: str | int | None) -> str | None:
    """SDKs send numbers, and the empty string for nobody."""
    return None if value is None or value == "" else str(value)


def _merged(below: bytes, above: bytes) -> bytes:
    """Two JSON objects, the second over the first; what is no object is left to the checks."""
    if below in _RAW_NULL:
        return above
    if above in _RAW_NULL:
        return below
    try:
        return msgspec.json.encode({**_object.decode(below), **_object.decode(above)})
    except (msgspec.DecodeError, UnicodeDecodeError):
        return above


def _traits_in(context: bytes) -> bytes:
    """Some SDKs put an identify's traits into the context."""
    try:
        return bytes(_object.decode(context).get("traits", b"")) if context else b""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""


def _time(field: str, text: str | None) -> int | None:
    """Microseconds since 1970 of an ISO 8601 time; without a zone it is UTC."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise Malformed(field, "is not an ISO 8601 time such as 2026-01-31T12:00:00.000Z") from None


# ---- the contracts


def pb_items(events: Sequence[event_pb2.Event]) -> list[Item]:
    """The events of a gRPC batch."""
    return [_pb_item(event) for event in events]


def _pb_item(event: event_pb2.Event) -> Item:
    incoming: Incoming | Unreadable
    try:
        size = event.ByteSize()
        if size > MOST_EVENT_BYTES:
            raise TooLarge("body", f"has {size:,} bytes, {MOST_EVENT_BYTES:,} are allowed")
        incoming = _incoming_of_pb(event)
    except Invalid as error:
        incoming = Unreadable(event.message_id, error)
    return Item(incoming, event.SerializeToString)


def _incoming_of_pb(event: event_pb2.Event) -> Incoming:
    return Incoming(
        type=_TYPE_NAMES.get(event.type) or str(event.type or ""),
        message_id=event.message_id or None,
        user_id=event.user_id or None,
        anonymous_id=event.anonymous_id or None,
        email=event.email or None,
        phone=event.phone or None,
        previous_id=event.previous_id or None,
        group_id=event.group_id or None,
        name=event.name or None,
        time=_micros("timestamp", event.timestamp) if event.HasField("timestamp") else None,
        sent_at=_micros("sent_at", event.sent_at) if event.HasField("sent_at") else None,
        properties=event.properties_json,
        traits=event.traits_json,
        context=event.context_json,
        # Going through a map of the contract costs as much as all other fields, even where it is empty.
        consent=dict(event.consent) if event.consent else {},
    )


def _micros(field: str, time: Timestamp) -> int:
    """Microseconds since 1970; Invalid beyond the year 9999, where milliseconds taken for seconds lie."""
    if not (_YEAR_1 <= time.seconds < _YEAR_10000 and 0 <= time.nanos < 1_000_000_000):
        raise Malformed(
            field, f"is not a time: {time.seconds} seconds since 1970 and {time.nanos} nanoseconds"
        )
    return micros(time)


def collected_bytes(event: Collected) -> bytes:
    """The record of an accepted event."""
    pb = ingest_events_pb2.EventCollected(
        event_id=event.event_id,
        source_id=event.source.source_id,
        source_kind=_source_kind(event.source),
        message_id=event.message_id,
        type=_TYPE_PB[event.type],
        name=event.name,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        email=event.email,
        phone=event.phone,
        previous_id=event.previous_id,
        group_id=event.group_id,
        properties_json=event.properties,
        traits_json=event.traits,
        context_json=event.context,
        consent=event.consent or None,
    )
    # Set in place: a Timestamp of its own costs twice as much.
    set_time(pb.event_time, event.event_time)
    set_time(pb.received_time, event.received_time)
    if event.original_time is not None:
        set_time(pb.original_time, event.original_time)
    return pb.SerializeToString()


def _source_kind(source: Source) -> event_pb2.SourceKind.ValueType:
    return event_pb2.SOURCE_KIND_SERVER if source.trusted else event_pb2.SOURCE_KIND_BROWSER


def source_of(source: pb.Source) -> Source:
    """A source to create; Invalid names the wrong field."""
    if not source.source_id:
        raise Required("source.source_id", "is required")
    if not _SOURCE_ID.fullmatch(source.source_id):
        raise Malformed("source.source_id", "must be lower-case letters, digits, - and _, at most 63")
    if source.kind not in (event_pb2.SOURCE_KIND_BROWSER, event_pb2.SOURCE_KIND_SERVER):
        raise Invalid("source.kind", "must be browser or server")
    if not _WRITE_KEY.fullmatch(source.write_key):
        raise Invalid("source.write_key", "must be at most 200 visible ASCII characters, without a colon")
    if any("\0" in purpose for purpose in source.default_consent):
        raise Invalid("source.default_consent", "contains the character U+0000")
    trusted = source.kind == event_pb2.SOURCE_KIND_SERVER
    return Source(source.source_id, trusted, source.write_key, dict(source.default_consent))


def source_pb(source: Source) -> pb.Source:
    """To the contract."""
    return pb.Source(
        source_id=source.source_id,
        kind=_source_kind(source),
        write_key=source.write_key,
        default_consent=source.default_consent,
    )


def rejection_pb(rejection: Rejection) -> pb.Rejection:
    """To the contract."""
    # `properties.price` is `properties_json.price` there.
    head, dot, rest = rejection.error.field.partition(".")
    return pb.Rejection(
        index=rejection.index,
        message_id=rejection.message_id,
        field=f"{_FIELDS.get(head, head)}{dot}{rest}",
        reason=rejection.error.problem,
        code=rejection.error.reason,
    )


def rejected_pb(kept: KeptRejection) -> pb.RejectedEvent:
    """To the contract."""
    rejected = kept.rejected
    return pb.RejectedEvent(
        rejection_id=str(kept.rejection_id),
        source_id=rejected.source_id,
        received_time=timestamp(rejected.received),
        field=rejected.field,
        reason=rejected.reason,
        body=rejected.body,
    )
