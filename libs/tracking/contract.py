"""Calls as the contract's messages, and back."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.errors import Invalid, Malformed
from libs.times import micros, set_time
from libs.tracking.calls import Call, LeftOut
from tessera.ingest.v1 import event_pb2

TYPES: Final = {
    "identify": event_pb2.EVENT_TYPE_IDENTIFY,
    "track": event_pb2.EVENT_TYPE_TRACK,
    "page": event_pb2.EVENT_TYPE_PAGE,
    "screen": event_pb2.EVENT_TYPE_SCREEN,
    "group": event_pb2.EVENT_TYPE_GROUP,
    "alias": event_pb2.EVENT_TYPE_ALIAS,
    "consent": event_pb2.EVENT_TYPE_CONSENT,
}
_NAMES: Final = {number: name for name, number in TYPES.items()}
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
# By what Segment's JSON calls them.
_FIELDS: Final = {
    "messageId": "message_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "previousId": "previous_id",
    "groupId": "group_id",
    "event": "name",
    "sentAt": "sent_at",
    "properties": "properties_json",
    "traits": "traits_json",
    "context": "context_json",
    "integrations": "integrations_json",
}


def field_name(name: str) -> str:
    """The contract's name of what Segment's JSON names: `properties.price` is `properties_json.price`."""
    head, dot, rest = name.partition(".")
    return f"{_FIELDS.get(head, head)}{dot}{rest}"


def call_of(event: event_pb2.Event) -> Call:
    """An event of the contract; Invalid names the field that can't be read."""
    call = Call(
        type=_NAMES.get(event.type) or str(event.type or ""),
        message_id=event.message_id or None,
        user_id=event.user_id or None,
        anonymous_id=event.anonymous_id or None,
        email=event.email or None,
        phone=event.phone or None,
        previous_id=event.previous_id or None,
        group_id=event.group_id or None,
        name=event.name or None,
        time=_micros("timestamp", event.timestamp) if event.HasField("timestamp") else None,
        properties=event.properties_json,
        traits=event.traits_json,
        context=event.context_json,
        # Going through a map of the contract costs as much as all other fields, even where it is empty.
        consent=dict(event.consent) if event.consent else {},
        integrations=event.integrations_json,
        channel=event.channel or None,
    )
    if event.HasField("sent_at"):
        _set_sent_at(call, event.sent_at)
    return call


def _set_sent_at(call: Call, time: Timestamp) -> None:
    """It only corrects clocks: where it is no time, the call stays without it."""
    try:
        call.sent_at = _micros("sentAt", time)
    except Malformed as error:
        call.left_out = (LeftOut(error.field, error.problem, error.reason),)


def event_of(call: Call, message_id: str = "") -> event_pb2.Event:
    """A call as an event of the contract; `message_id` is for one that has none. Invalid for its type."""
    if call.type not in TYPES:
        raise Invalid("type", f"is none of {', '.join(TYPES)}: {call.type!r}")
    event = event_pb2.Event(
        type=TYPES[call.type],
        message_id=call.message_id or message_id,
        user_id=call.user_id or "",
        anonymous_id=call.anonymous_id or "",
        email=call.email or "",
        phone=call.phone or "",
        previous_id=call.previous_id or "",
        group_id=call.group_id or "",
        name=call.name or "",
        properties_json=call.properties,
        traits_json=call.traits,
        context_json=call.context,
        consent=call.consent,
        integrations_json=call.integrations,
        channel=call.channel or "",
    )
    if call.time is not None:
        set_time(event.timestamp, call.time)
    if call.sent_at is not None:
        set_time(event.sent_at, call.sent_at)
    return event


def _micros(field: str, time: Timestamp) -> int:
    """Microseconds since 1970; Invalid beyond the year 9999, where milliseconds taken for seconds lie."""
    if not (_YEAR_1 <= time.seconds < _YEAR_10000 and 0 <= time.nanos < 1_000_000_000):
        raise Malformed(
            field, f"is not a time: {time.seconds} seconds since 1970 and {time.nanos} nanoseconds"
        )
    return micros(time)
