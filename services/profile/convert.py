"""Between the contracts' messages and the domain."""

from collections.abc import Iterable

import msgspec
from google.protobuf.message import DecodeError

from libs.addresses import normal_email, normal_phone
from libs.errors import Invalid, Malformed, Required
from libs.times import micros, set_time, timestamp
from services.profile.domain import (
    ANONYMOUS_ID,
    EMAIL,
    PHONE,
    USER_ID,
    Change,
    Event,
    Profile,
    kind_of,
    strongest_first,
)
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import profile_events_pb2, profile_pb2

UPDATED = "tessera.profile.v1.ProfileUpdated"
CLOCK = "tessera.profile.v1.ClockAdvanced"

_KINDS = {
    profile_pb2.IDENTIFIER_KIND_USER_ID: USER_ID,
    profile_pb2.IDENTIFIER_KIND_EMAIL: EMAIL,
    profile_pb2.IDENTIFIER_KIND_PHONE: PHONE,
    profile_pb2.IDENTIFIER_KIND_ANONYMOUS_ID: ANONYMOUS_ID,
}
_IDENTIFY, _SERVER = event_pb2.EVENT_TYPE_IDENTIFY, event_pb2.SOURCE_KIND_SERVER
_KINDS_OF = {letter: kind for kind, letter in _KINDS.items()}
# A step is a record on the log: a part of a large batch gets a step of its own.
_STEP_BYTES = 400_000
# Fields of ProfileUpdated: 1 and 10, length-delimited; 2, a number.
_ID_TAG, _REVISION_TAG, _EVENTS_TAG = b"\x0a", b"\x10", b"\x52"
_SHORT = [bytes((number,)) for number in range(0x80)]
# Values stay the JSON that they came as: a number that is read and written again may lose digits.
_decode_traits = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_encode_traits = msgspec.json.Encoder(order="sorted").encode


def event_of(record: bytes) -> Event:
    """An event from the record of `tessera.ingest.events`; Invalid where it can't be read."""
    try:
        pb = ingest_events_pb2.EventCollected.FromString(record)
    except DecodeError as error:
        raise Invalid("record", f"not an EventCollected: {error}") from error
    if len(pb.event_id) != 16:
        raise Invalid("event_id", "must have 16 bytes")
    named = ((USER_ID, pb.user_id), (EMAIL, pb.email), (PHONE, pb.phone), (ANONYMOUS_ID, pb.anonymous_id))
    identifiers = [f"{kind}:{value}" for kind, value in named if value]
    if pb.previous_id and pb.previous_id != pb.anonymous_id:
        identifiers.append(f"{ANONYMOUS_ID}:{pb.previous_id}")
    identify = pb.type == _IDENTIFY
    return Event(
        event_id=pb.event_id,
        trusted=pb.source_kind == _SERVER,
        time=micros(pb.event_time),
        received=micros(pb.received_time),
        identifiers=tuple(identifiers),
        traits=_traits_of(pb.traits_json) if identify and pb.traits_json else {},
        consent=dict(pb.consent) if pb.consent else {},
        body=record,
    )


def _traits_of(text: bytes) -> dict[str, bytes | None]:
    values = ((name, bytes(raw)) for name, raw in (_decode_traits(text) or {}).items())
    return {name: None if value == b"null" else value for name, value in values}


def bodies_of(change: Change) -> list[bytes]:
    """A change as the bodies of one or more steps: ProfileUpdated without id and revision.

    Serialized messages that follow each other parse as one, so the collected events are copied as
    the bytes that they came in.
    """
    head = _head(change) if change.has_more_than_events else b""
    bodies, parts, size = [], [head], len(head)
    for event in change.events:
        if size + len(event.body) > _STEP_BYTES and size:
            bodies.append(b"".join(parts))
            parts, size = [], 0
        parts += (_EVENTS_TAG, _varint(len(event.body)), event.body)
        size += len(event.body)
    bodies.append(b"".join(parts))
    return bodies


def _head(change: Change) -> bytes:
    """What a step tells beside its events. Made in place: nested messages would be copied."""
    profile = change.profile
    pb = profile_events_pb2.ProfileUpdated()
    for name in sorted(change.traits):
        trait = profile.traits[name]
        told = pb.trait_changes.add(name=name, value_json=trait.value or b"", event_id=trait.event_id)
        set_time(told.time, trait.time)
    for purpose in change.consent:
        pb.consent_changes[purpose] = profile.consent[purpose].granted
    for identifier in change.added:
        pb.identifiers_added.add(kind=_KINDS_OF[kind_of(identifier)], value=identifier[2:])
    for identifier in change.removed:
        pb.identifiers_removed.add(kind=_KINDS_OF[kind_of(identifier)], value=identifier[2:])
    for absorbed in change.absorbed:
        pb.absorbed_profile_ids.append(absorbed.profile.profile_id)
    return pb.SerializeToString()


def tombstone_body(survivor_id: str) -> bytes:
    """An absorbed profile's last step."""
    return profile_events_pb2.ProfileUpdated(merged_into=survivor_id).SerializeToString()


def update_bytes(
    profile_id: str, revision: int, body: bytes, moved: bool = False, more: bool = False
) -> bytes:
    """The record of a step."""
    if moved or more:
        flags = profile_events_pb2.ProfileUpdated(moved=moved, more=more)
        body = flags.SerializeToString() + body
    # Written out: with every event comes one.
    return b"".join(
        (_ID_TAG, _varint(len(profile_id)), profile_id.encode(), _REVISION_TAG, _varint(revision), body)
    )


def _varint(number: int) -> bytes:
    if number < 0x4000:
        return _SHORT[number] if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def identifier_pb(identifier: str) -> profile_pb2.Identifier:
    """To the contract."""
    return profile_pb2.Identifier(kind=_KINDS_OF[kind_of(identifier)], value=identifier[2:])


_MALFORMED = {
    EMAIL: "is not an email address",
    PHONE: "is not a phone number in E.164 form, such as +33123456789",
}


def identifier_of(pb: profile_pb2.Identifier) -> str:
    """From the contract, in normal form; Invalid for an unknown kind or a wrong value."""
    kind = _KINDS.get(pb.kind)
    if kind is None:
        raise Required("identifier.kind", "is required: user id, email, phone or anonymous id")
    if not pb.value:
        raise Required("identifier.value", "is required")
    value: str | None = pb.value
    if kind == EMAIL:
        value = normal_email(pb.value)
    elif kind == PHONE:
        value = normal_phone(pb.value)
    if not value or "\0" in value:
        raise Malformed("identifier.value", _MALFORMED.get(kind, "contains the character U+0000"))
    return f"{kind}:{value}"


def profile_pb(profile: Profile) -> profile_pb2.Profile:
    """To the contract."""
    traits = {name: msgspec.Raw(t.value) for name, t in profile.traits.items() if t.value is not None}
    return profile_pb2.Profile(
        profile_id=profile.profile_id,
        revision=profile.revision,
        identifiers=[identifier_pb(i) for i in strongest_first(profile.identifiers)],
        traits_json=_encode_traits(traits),
        consent={purpose: choice.granted for purpose, choice in profile.consent.items()},
        event_count=profile.events,
        create_time=timestamp(profile.created),
        absorbed_profile_ids=profile.absorbed,
    )


def updates_pb(
    profile_id: str, steps: Iterable[tuple[int, bool, bytes]]
) -> list[profile_events_pb2.ProfileUpdated]:
    """Steps as the records that a reader of the topic would have seen."""
    return [
        profile_events_pb2.ProfileUpdated.FromString(update_bytes(profile_id, revision, body, moved))
        for revision, moved, body in steps
    ]


def events_in(body: bytes) -> list[ingest_events_pb2.EventCollected]:
    """The events of a step, in the order in which they were applied."""
    return list(profile_events_pb2.ProfileUpdated.FromString(body).events)
