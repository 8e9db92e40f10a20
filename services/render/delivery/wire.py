"""Between the contract's messages and leases and ours."""

from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from libs.errors import Invalid
from libs.times import timestamp
from services.render.delivery.model import DeliveryState, Granted, Lease, Message, Outcome
from services.render.delivery.ports import Filter
from services.render.engine.model.parts import HTML, PREHEADER, SUBJECT, TEXT
from services.render.model.people import Stream
from tessera.render.v1 import campaign_pb2, message_pb2, message_service_pb2, render_events_pb2
from tessera.render.v1 import delivery_service_pb2 as pb

Kind = TypeVar("Kind")

# The contract's numbers are ours; what neither knows is refused, or who asks for one would get all.
_OUTCOMES: dict[int, Outcome] = {int(outcome): outcome for outcome in Outcome}
_STATES: dict[int, DeliveryState] = {int(state): state for state in DeliveryState}
_STREAMS: dict[int, Stream] = {int(stream): stream for stream in Stream}


def message_pb(message: Message) -> message_pb2.Message:
    """To the contract."""
    made = message_pb2.Message(
        message_id=message.message_id,
        idempotency_key=message.idempotency_key,
        rfc5322_message_id=message.rfc5322_message_id,
        profile_id=message.profile_id,
        to=message.address,
        sender=message.sender,
        reply_to=message.reply_to,
        stream=campaign_pb2.Stream.ValueType(int(message.stream)),
        campaign_id=message.campaign_id,
        campaign_version=message.campaign_version,
        definition_id=message.definition_id,
        cause_id=message.cause_id,
        cause_time=timestamp(message.cause_time),
        event_name=message.event_name,
        template_id=message.template_id,
        template_version=message.template_version,
        inputs_hash=message.inputs_hash,
        model_version=message.model_version,
        profile_revision=message.profile_revision,
        create_time=timestamp(message.created),
        expire_time=timestamp(message.expires),
        outcome=message_pb2.Outcome.ValueType(int(message.outcome)),
        outcome_reason=message.reason,
        delivery_state=message_pb2.DeliveryState.ValueType(int(message.state)),
        omitted=message.omitted,
        test=message.test,
    )
    if message.content is not None:
        made.subject = message.content.parts[SUBJECT]
        made.preheader = message.content.parts[PREHEADER]
        made.html = message.content.parts[HTML]
        made.text = message.content.parts[TEXT]
        made.headers.extend(
            message_pb2.Header(name=name, value=value) for name, value in message.content.headers
        )
        made.event_properties_json = message.content.event
    return made


def record_of(message: Message) -> tuple[str, bytes]:
    """The type and the value of the record of a rendered message."""
    record = render_events_pb2.MessageRendered(message=message_pb(message))
    return record.DESCRIPTOR.full_name, record.SerializeToString()


def filter_of(request: message_service_pb2.ListMessagesRequest) -> Filter:
    """Which messages are asked for."""
    return Filter(
        request.profile_id,
        request.campaign_id,
        _named("outcome", _OUTCOMES, request.outcome),
        _named("delivery_state", _STATES, request.delivery_state),
    )


def _named(field: str, known: Mapping[int, Kind], number: int) -> Kind | None:
    if number and number not in known:
        raise Invalid(field, "is not one that this version knows")
    return known[number] if number else None


def counts_pb(counts: Mapping[Outcome, int]) -> list[message_service_pb2.OutcomeCount]:
    """To the contract, in the order of the outcomes' numbers."""
    return [
        message_service_pb2.OutcomeCount(outcome=message_pb2.Outcome.ValueType(int(outcome)), count=count)
        for outcome, count in sorted(counts.items())
    ]


def stream_of(request: pb.SubscribeRequest) -> Stream | None:
    """Whose messages a connector wants; None for all."""
    return _named("stream", _STREAMS, request.stream)


def seconds_of(field: str, duration: Duration) -> int:
    """Whole seconds; Invalid where they are not."""
    if duration.nanos:
        raise Invalid(field, "must be whole seconds")
    return duration.seconds


def pause_of(request: pb.RejectMessagesRequest) -> int | None:
    """For how many seconds a connector wants no retry; None where it leaves that to us."""
    return seconds_of("retry_after", request.retry_after) if request.HasField("retry_after") else None


def granted_pb(granted: Granted) -> pb.SubscribeResponse:
    """To the contract."""
    return pb.SubscribeResponse(
        message=message_pb(granted.message),
        lease_id=granted.lease.lease_id,
        lease_end_time=timestamp(granted.end_time),
        attempt=granted.attempt,
    )


def lease_of(lease: pb.Lease) -> Lease:
    """From the contract."""
    return Lease(lease.message_id, lease.lease_id)


def lease_pb(lease: Lease) -> pb.Lease:
    """To the contract."""
    return pb.Lease(message_id=lease.message_id, lease_id=lease.lease_id)
