"""Between the contracts' messages and records, and the model."""

import zlib
from functools import lru_cache

import orjson
import structlog

from libs.messaging import Record
from libs.profile_feed import step_of
from libs.times import micros, timestamp
from services.segment.membership.model import (
    ExitReason,
    Fact,
    Membership,
    Occurrence,
    Transition,
    TransitionKind,
    Update,
    origin_of,
)
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import history_pb2, profile_events_pb2, profile_pb2
from tessera.segment.v1 import membership_pb2, segment_events_pb2

log = structlog.get_logger(__name__)

TRANSITION = "tessera.segment.v1.TransitionOccurred"

_TRACK, _SERVER = event_pb2.EVENT_TYPE_TRACK, event_pb2.SOURCE_KIND_SERVER
# Pages and screens have names of their own: rules know all of them as one event, too.
_EVENT_NAMES = {
    event_pb2.EVENT_TYPE_PAGE: "Page Viewed",
    event_pb2.EVENT_TYPE_SCREEN: "Screen Viewed",
    event_pb2.EVENT_TYPE_IDENTIFY: "Identified",
    event_pb2.EVENT_TYPE_GROUP: "Group Joined",
}
_VIEWS = {event_pb2.EVENT_TYPE_PAGE: "page", event_pb2.EVENT_TYPE_SCREEN: "screen"}
_KINDS = {
    TransitionKind.ENTERED: segment_events_pb2.TRANSITION_KIND_ENTERED,
    TransitionKind.EXITED: segment_events_pb2.TRANSITION_KIND_EXITED,
    TransitionKind.TRIGGERED: segment_events_pb2.TRANSITION_KIND_TRIGGERED,
    TransitionKind.WITHDRAWN: segment_events_pb2.TRANSITION_KIND_WITHDRAWN,
}
_REASONS = {
    None: segment_events_pb2.EXIT_REASON_UNSPECIFIED,
    ExitReason.RULE: segment_events_pb2.EXIT_REASON_RULE,
    ExitReason.MERGED: segment_events_pb2.EXIT_REASON_MERGED,
    ExitReason.DEFINITION: segment_events_pb2.EXIT_REASON_DEFINITION,
}


_Step = profile_events_pb2.ProfileUpdated | history_pb2.HistoryStep


def read_update(record: bytes) -> Update:
    """A step from the record of `tessera.profile.updates`; Invalid where it can't be read."""
    pb = step_of(record)
    return update_of(pb, pb.more)


def update_of(pb: _Step, more: bool = False) -> Update:
    """A step from the stream or from a history, which is read to its end."""
    # Most steps are one event: what is empty is not gone through.
    return Update(
        profile_id=pb.profile_id,
        revision=pb.revision,
        moved=pb.moved,
        more=more,
        merged_into=pb.merged_into or None,
        occurrences=tuple([_occurrence(event) for event in pb.events]),
        traits=_traits(pb) if pb.trait_changes else (),
        consent=tuple([_choice(change) for change in pb.consent_changes]) if pb.consent_changes else (),
    )


def _traits(pb: _Step) -> tuple[tuple[str, Fact], ...]:
    """What changed; a value that can't be read is as if it were removed, and costs nothing else."""
    trusted = _trusted_ids(pb)
    facts = []
    for change in pb.trait_changes:
        try:
            value = orjson.loads(change.value_json) if change.value_json else None
        except orjson.JSONDecodeError:
            log.warning("trait unreadable", profile_id=pb.profile_id, trait=change.name)
            value = None
        event_id = change.event_id
        facts.append((change.name, Fact(value, micros(change.time), event_id, None, event_id in trusted)))
    return tuple(facts)


def _trusted_ids(pb: _Step) -> set[bytes]:
    return {event.event_id for event in pb.events if event.source_kind == _SERVER}


def _choice(change: profile_events_pb2.ConsentChange | history_pb2.HistoryConsent) -> tuple[str, Fact]:
    consent = change.consent
    trusted = consent.source == profile_pb2.CONSENT_SOURCE_SERVER
    return change.purpose, Fact(consent.granted, micros(consent.time), consent.proof.event_id, None, trusted)


def _occurrence(event: ingest_events_pb2.EventCollected | history_pb2.HistoryEvent) -> Occurrence:
    kind = event.type
    # A server's clock is one; of a browser's source each device has its own.
    trusted = event.source_kind == _SERVER
    origin = _origin(trusted, event.source_id, "" if trusted else event.anonymous_id)
    received = micros(event.received_time)
    if kind == _TRACK:
        return Occurrence(
            event.event_id, event.name, micros(event.event_time), event.properties_json, received, origin
        )
    return Occurrence(
        event.event_id,
        _EVENT_NAMES.get(kind, ""),
        micros(event.event_time),
        event.properties_json,
        received,
        origin,
        _VIEWS.get(kind, ""),
        event.name,
    )


@lru_cache(10_000)
def _origin(trusted: bool, source_id: str, device: str) -> int:
    clock = source_id if trusted else f"{source_id}\0{device}"
    return origin_of(trusted, zlib.crc32(clock.encode()))


def transition_record(transition: Transition, version: int, now: int, traceparent: str | None) -> Record:
    """The record of `tessera.segment.transitions`; `version` is the definition's, `now` in microseconds."""
    value = segment_events_pb2.TransitionOccurred(
        profile_id=transition.profile_id,
        profile_revision=transition.revision,
        kind=_KINDS[transition.kind],
        definition_id=transition.definition_id,
        definition_version=version,
        time=timestamp(transition.time),
        cause_id=transition.cause_id,
        event_id=transition.event_id,
        event_properties_json=transition.properties,
        exit_reason=_REASONS[transition.exit_reason],
        trusted=transition.trusted,
        event_name=transition.event_name,
    ).SerializeToString()
    headers = {"traceparent": traceparent} if traceparent else None
    return Record(transition.profile_id.encode(), TRANSITION, value, now, headers)


def membership_pb(segment_id: str, profile_id: str, membership: Membership) -> membership_pb2.Membership:
    """To the contract."""
    return membership_pb2.Membership(
        segment_id=segment_id,
        profile_id=profile_id,
        enter_time=timestamp(membership.entered),
        cause_event_id=membership.event_id,
    )
