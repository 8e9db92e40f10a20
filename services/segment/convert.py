"""Between the contracts' messages and the domain."""

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from libs.errors import Invalid
from libs.times import micros, timestamp
from services.segment.domain import (
    ExitReason,
    Fact,
    Membership,
    Occurrence,
    SegmentDefinition,
    Transition,
    TransitionKind,
    TriggerDefinition,
    Update,
)
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import history_pb2, profile_events_pb2
from tessera.segment.v1 import segment_events_pb2, segment_pb2

UPDATED = "tessera.profile.v1.ProfileUpdated"
CLOCK = "tessera.profile.v1.ClockAdvanced"
TRANSITION = "tessera.segment.v1.TransitionOccurred"

_TRACK = event_pb2.EVENT_TYPE_TRACK
# Pages and screens have names of their own: rules know all of them as one event.
_EVENT_NAMES = {
    event_pb2.EVENT_TYPE_PAGE: "Page Viewed",
    event_pb2.EVENT_TYPE_SCREEN: "Screen Viewed",
    event_pb2.EVENT_TYPE_IDENTIFY: "Identified",
    event_pb2.EVENT_TYPE_GROUP: "Group Joined",
}
_KINDS = {
    TransitionKind.ENTERED: segment_events_pb2.TRANSITION_KIND_ENTERED,
    TransitionKind.EXITED: segment_events_pb2.TRANSITION_KIND_EXITED,
    TransitionKind.TRIGGERED: segment_events_pb2.TRANSITION_KIND_TRIGGERED,
}
_REASONS = {
    None: segment_events_pb2.EXIT_REASON_UNSPECIFIED,
    ExitReason.RULE: segment_events_pb2.EXIT_REASON_RULE,
    ExitReason.MERGED: segment_events_pb2.EXIT_REASON_MERGED,
    ExitReason.DEFINITION: segment_events_pb2.EXIT_REASON_DEFINITION,
}


def update_of(record: bytes) -> Update:
    """A step from the record of `tessera.profile.updates`; Invalid where it can't be read."""
    try:
        pb = profile_events_pb2.ProfileUpdated.FromString(record)
    except DecodeError as error:
        raise Invalid("record", f"not a ProfileUpdated: {error}") from error
    return update_of_pb(pb, pb.more)


def update_of_pb(
    pb: profile_events_pb2.ProfileUpdated | history_pb2.HistoryStep, more: bool = False
) -> Update:
    """A step from the contract."""
    # Most steps are one event: what is empty is not gone through.
    traits = pb.trait_changes
    return Update(
        profile_id=pb.profile_id,
        revision=pb.revision,
        moved=pb.moved,
        more=more,
        merged_into=pb.merged_into or None,
        occurrences=tuple([_occurrence(event) for event in pb.events]),
        traits=tuple([(change.name, _fact(change)) for change in traits]) if traits else (),
        consent=tuple([_choice(change) for change in pb.consent_changes]) if pb.consent_changes else (),
    )


def _occurrence(event: ingest_events_pb2.EventCollected | history_pb2.HistoryEvent) -> Occurrence:
    kind = event.type
    name = event.name if kind == _TRACK else _EVENT_NAMES.get(kind, "")
    return Occurrence(event.event_id, name, micros(event.event_time), event.properties_json)


def _choice(change: profile_events_pb2.ConsentChange | history_pb2.HistoryConsent) -> tuple[str, Fact]:
    consent = change.consent
    return change.purpose, Fact(consent.granted, micros(consent.time), consent.proof.event_id)


def _fact(change: profile_events_pb2.TraitChange | history_pb2.HistoryTrait) -> Fact:
    value = orjson.loads(change.value_json) if change.value_json else None
    return Fact(value, micros(change.time), change.event_id)


def clock_of(record: bytes) -> int:
    """The time that a clock record tells."""
    return micros(profile_events_pb2.ClockAdvanced.FromString(record).time)


def transition_bytes(transition: Transition, version: int) -> bytes:
    """The record of a transition."""
    return segment_events_pb2.TransitionOccurred(
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
    ).SerializeToString()


def segment_of(pb: segment_pb2.Segment) -> SegmentDefinition:
    """A segment to create or change."""
    return SegmentDefinition(pb.segment_id, pb.display_name, pb.expression)


def segment_pb_of(definition: SegmentDefinition) -> segment_pb2.Segment:
    """To the contract."""
    return segment_pb2.Segment(
        segment_id=definition.segment_id,
        display_name=definition.display_name,
        expression=definition.expression,
        version=definition.version,
        state=_state(definition.active),
        member_count=definition.members,
        create_time=timestamp(definition.created),
    )


def trigger_of(pb: segment_pb2.Trigger) -> TriggerDefinition:
    """A trigger to create or change."""
    delay = pb.delay.seconds * 1_000_000 + pb.delay.nanos // 1000
    unless = tuple(pb.unless_event_names)
    return TriggerDefinition(pb.trigger_id, pb.display_name, pb.event_name, unless, delay, pb.condition)


def trigger_pb_of(definition: TriggerDefinition) -> segment_pb2.Trigger:
    """To the contract."""
    seconds, rest = divmod(definition.delay, 1_000_000)
    return segment_pb2.Trigger(
        trigger_id=definition.trigger_id,
        display_name=definition.display_name,
        event_name=definition.event_name,
        unless_event_names=definition.unless,
        delay=Duration(seconds=seconds, nanos=rest * 1000),
        condition=definition.condition,
        version=definition.version,
        state=_state(definition.active),
        create_time=timestamp(definition.created),
    )


def membership_pb_of(segment_id: str, profile_id: str, membership: Membership) -> segment_pb2.Membership:
    """To the contract."""
    return segment_pb2.Membership(
        segment_id=segment_id,
        profile_id=profile_id,
        enter_time=timestamp(membership.entered),
        cause_event_id=membership.event_id,
    )


def _state(active: bool) -> segment_pb2.SegmentState.ValueType:
    return segment_pb2.SEGMENT_STATE_ACTIVE if active else segment_pb2.SEGMENT_STATE_BUILDING
