"""Between the log's records, the contract's messages and the steps of a profile's life."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from google.protobuf.message import DecodeError

from libs.errors import Invalid
from libs.ids import uuid_text
from libs.messaging import Record
from libs.times import micros, set_time, timestamp
from services.profile.history.model import Step, StoredStep
from services.profile.identity.model import ANONYMOUS_ID, EMAIL, PHONE, USER_ID, Change, Event, kind_of
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import history_pb2, profile_events_pb2, profile_pb2

UPDATED = "tessera.profile.v1.ProfileUpdated"
CLOCK = "tessera.profile.v1.ClockAdvanced"

_KINDS = {
    USER_ID: profile_pb2.IDENTIFIER_KIND_USER_ID,
    EMAIL: profile_pb2.IDENTIFIER_KIND_EMAIL,
    PHONE: profile_pb2.IDENTIFIER_KIND_PHONE,
    ANONYMOUS_ID: profile_pb2.IDENTIFIER_KIND_ANONYMOUS_ID,
}
_SOURCES = {True: profile_pb2.CONSENT_SOURCE_SERVER, False: profile_pb2.CONSENT_SOURCE_BROWSER}
_IDENTIFY, _SERVER = event_pb2.EVENT_TYPE_IDENTIFY, event_pb2.SOURCE_KIND_SERVER
# A step is a record on the log: a part of a large batch gets a step of its own.
_STEP_BYTES = 400_000
# Fields of ProfileUpdated: 1 and 10, length-delimited; 2, a number.
_ID_TAG, _REVISION_TAG, _EVENTS_TAG = b"\x0a", b"\x10", b"\x52"
_SHORT = [bytes((number,)) for number in range(0x80)]
# Values stay the JSON that they came as: a number that is read and written again may lose digits.
_decode_traits = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


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
        profile_id=_profile_id(pb.profile_id),
        previous_id=pb.previous_id,
    )


def _profile_id(text: str) -> str:
    """In its normal form; empty for what is none, since the event may name its person otherwise."""
    try:
        return uuid_text(text, "profile_id") if text else ""
    except Invalid:
        return ""


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
        told = _consent_alone(event.body) if event.is_withheld else event.body
        if size + len(told) > _STEP_BYTES and size:
            bodies.append(b"".join(parts))
            parts, size = [], 0
        parts += (_EVENTS_TAG, _varint(len(told)), told)
        size += len(told)
    bodies.append(b"".join(parts))
    return bodies


def _consent_alone(body: bytes) -> bytes:
    """Of an event of somebody who has refused analytics: when, by whom, and what it says of consent."""
    pb = ingest_events_pb2.EventCollected.FromString(body)
    kept = ingest_events_pb2.EventCollected(
        event_id=pb.event_id,
        source_id=pb.source_id,
        source_kind=pb.source_kind,
        message_id=pb.message_id,
        type=event_pb2.EVENT_TYPE_CONSENT,
        user_id=pb.user_id,
        anonymous_id=pb.anonymous_id,
        email=pb.email,
        phone=pb.phone,
        previous_id=pb.previous_id,
        event_time=pb.event_time,
        received_time=pb.received_time,
        consent=pb.consent,
        profile_id=pb.profile_id,
    )
    return kept.SerializeToString()


def _head(change: Change) -> bytes:
    """What a step tells beside its events. Made in place: nested messages would be copied."""
    profile = change.profile
    pb = profile_events_pb2.ProfileUpdated()
    for name in sorted(change.traits):
        trait = profile.traits[name]
        told = pb.trait_changes.add(name=name, value_json=trait.value or b"", event_id=trait.event_id)
        set_time(told.time, trait.time)
    for purpose in sorted(change.consent):
        choice = profile.consent[purpose]
        consent = pb.consent_changes.add(purpose=purpose).consent
        consent.granted = choice.granted
        said = choice.holds
        set_time(consent.time, said.moment)
        consent.source = _SOURCES[said.trusted]
        consent.proof.event_id = said.event_id
    for identifier in change.added:
        pb.identifiers_added.add(kind=_KINDS[kind_of(identifier)], value=identifier[2:])
    for identifier in change.removed:
        pb.identifiers_removed.add(kind=_KINDS[kind_of(identifier)], value=identifier[2:])
    for absorbed in change.absorbed:
        pb.absorbed_profile_ids.append(absorbed.profile.profile_id)
    return pb.SerializeToString()


def tombstone_of(survivor_id: str) -> bytes:
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


def records_of(steps: Iterable[Step], now: int, traced: Mapping[bytes, str]) -> list[Record]:
    """The records of a batch's steps; each continues the trace of the first of its events that has one."""
    return [
        Record(
            step.profile_id.encode(),
            UPDATED,
            update_bytes(step.profile_id, step.revision, step.body, step.moved, step.more),
            now,
            _trace(step.causes, traced) if traced else None,
        )
        for step in steps
    ]


def _trace(causes: Sequence[Event], traced: Mapping[bytes, str]) -> dict[str, str] | None:
    parents = (traced[event.event_id] for event in causes if event.event_id in traced)
    parent = next(parents, None)
    return None if parent is None else {"traceparent": parent}


def stored_record_of(profile_id: str, step: StoredStep, now: int) -> Record:
    """The record of a step that was told before."""
    value = update_bytes(profile_id, step.revision, step.body, step.moved)
    return Record(profile_id.encode(), UPDATED, value, now)


def clock_record_of(time: int, partition: int) -> Record:
    """Tells the readers of one partition up to when everything has been applied."""
    value = profile_events_pb2.ClockAdvanced(time=timestamp(time)).SerializeToString()
    return Record(b"", CLOCK, value, time, partition=partition, ephemeral=True)


def _varint(number: int) -> bytes:
    if number < 0x4000:
        return _SHORT[number] if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def step_pb(profile_id: str, step: StoredStep) -> history_pb2.HistoryStep:
    """To the contract, whose fields have the numbers that they have in the step's record."""
    pb = history_pb2.HistoryStep.FromString(update_bytes(profile_id, step.revision, step.body, step.moved))
    pb.DiscardUnknownFields()
    return pb


def events_in(body: bytes) -> list[bytes]:
    """The events of a step, in the order in which they were applied."""
    return [e.SerializeToString() for e in history_pb2.HistoryStep.FromString(body).events]


def event_pb(event: bytes) -> history_pb2.HistoryEvent:
    """To the contract."""
    pb = history_pb2.HistoryEvent.FromString(event)
    pb.DiscardUnknownFields()
    return pb
