"""Between the contracts' messages and the domain."""

import re
import uuid
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from typing import Any

import orjson
from google.protobuf.message import DecodeError

from libs.addresses import normal_email
from libs.errors import Invalid, Malformed, Required, TooLarge
from libs.ids import uuid_text
from libs.times import micros, timestamp
from services.render.domain import (
    HTML,
    MOST_RECOMMENDATIONS,
    PREHEADER,
    SUBJECT,
    TEXT,
    Advice,
    Campaign,
    Cause,
    Decision,
    Outcome,
    Person,
    Start,
    Stream,
    Template,
)
from services.render.ports import Delivery, Filter, Granted, Lease, Subscriber
from tessera.profile.v1 import profile_pb2
from tessera.recommend.v1 import recommend_service_pb2
from tessera.render.v1 import message_pb2, render_events_pb2
from tessera.render.v1 import render_service_pb2 as pb
from tessera.segment.v1 import segment_events_pb2

RENDERED = "tessera.render.v1.MessageRendered"

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_MOST_NAME = 200
_MOST_LINE_SOURCE = 10_000
_MOST_SOURCE = 400_000
_MOST_CONTEXT = 1_000_000
_MOST_MAX_AGE = 7 * 86_400
_MOST_EXPIRE_AFTER = 30 * 86_400
_MOST_LEASES = 1000
_MOST_REASON = 1000
_MOST_PAUSE = 86_400

_STARTS = {
    segment_events_pb2.TRANSITION_KIND_ENTERED: Start.SEGMENT,
    segment_events_pb2.TRANSITION_KIND_TRIGGERED: Start.TRIGGER,
}
# The contract's numbers are the domain's; what neither knows means "any".
_OUTCOMES: dict[int, Outcome] = {int(outcome): outcome for outcome in Outcome}
_STREAMS: dict[int, Stream] = {int(stream): stream for stream in Stream}


def _checked_id(field: str, value: str) -> str:
    if not value:
        raise Required(field, "is required")
    if not _ID.fullmatch(value):
        raise Malformed(field, "must be lower-case letters, digits, - and _, at most 63")
    return value


# ---- transitions, profiles, recommendations


def cause_of(record: bytes, traceparent: str) -> Cause | None:
    """An entry or a trigger from the record of `tessera.segment.transitions`; None for an exit."""
    try:
        found = segment_events_pb2.TransitionOccurred.FromString(record)
    except DecodeError as error:
        raise Invalid("record", f"not a TransitionOccurred: {error}") from error
    start = _STARTS.get(found.kind)
    if start is None:
        return None
    if not found.cause_id:
        raise Invalid("cause_id", "is required")
    return Cause(
        profile_id=uuid_text(found.profile_id, "profile_id"),
        profile_revision=found.profile_revision,
        start=start,
        definition_id=found.definition_id,
        cause_id=found.cause_id,
        time=micros(found.time),
        event=found.event_properties_json,
        traceparent=traceparent,
    )


def person_of(profile: profile_pb2.Profile) -> Person:
    """From profile's contract."""
    emails = [i.value for i in profile.identifiers if i.kind == profile_pb2.IDENTIFIER_KIND_EMAIL]
    traits = orjson.loads(profile.traits_json) if profile.traits_json else {}
    user_ids = (i.value for i in profile.identifiers if i.kind == profile_pb2.IDENTIFIER_KIND_USER_ID)
    consent = dict(profile.consent)
    return Person(profile.profile_id, profile.revision, traits, consent, emails, next(user_ids, ""))


def advice_of(response: recommend_service_pb2.RecommendResponse) -> Advice:
    """From recommend's contract, as templates see it."""
    found: list[Mapping[str, Any]] = [
        {
            "product_id": one.product.product_id,
            "name": one.product.name,
            "price": one.product.price,
            "url": one.product.url,
            "image_url": one.product.image_url,
            "category": one.product.category,
            "reason": one.reason,
        }
        for one in response.recommendations
    ]
    return Advice(found, response.model_version)


# ---- templates and campaigns


def sources_of(template: message_pb2.Template) -> dict[str, str]:
    """The parts of a template; Invalid names the wrong one."""
    sources = {
        SUBJECT: template.subject,
        PREHEADER: template.preheader,
        HTML: template.html,
        TEXT: template.text,
    }
    for part, source in sources.items():
        most = _MOST_LINE_SOURCE if part in (SUBJECT, PREHEADER) else _MOST_SOURCE
        if len(source) > most:
            raise TooLarge(f"template.{part}", f"has {len(source):,} characters, {most:,} are allowed")
        if "\0" in source:
            raise Invalid(f"template.{part}", "contains the character U+0000")
    for part in (SUBJECT, HTML):
        if not sources[part].strip():
            raise Required(f"template.{part}", "is required")
    return sources


def template_id_of(template: message_pb2.Template) -> str:
    """Its id; Invalid where it can't be one."""
    return _checked_id("template.template_id", template.template_id)


def context_of(context_json: bytes) -> bytes:
    """A preview's context; Invalid where it is no JSON object."""
    if len(context_json) > _MOST_CONTEXT:
        raise TooLarge("context_json", f"has more than {_MOST_CONTEXT:,} bytes")
    try:
        context = orjson.loads(context_json or b"{}")
    except orjson.JSONDecodeError as error:
        raise Malformed("context_json", f"is not valid JSON: {error}") from None
    if not isinstance(context, dict):
        raise Malformed("context_json", "must be a JSON object")
    return context_json or b"{}"


def template_pb(template: Template) -> message_pb2.Template:
    """To the contract."""
    return message_pb2.Template(
        template_id=template.template_id,
        version=template.version,
        create_time=timestamp(template.created),
        **template.sources,
    )


def campaign_of(campaign: message_pb2.Campaign) -> Campaign:
    """A campaign to store, with its defaults; Invalid names the wrong field."""
    if len(campaign.display_name) > _MOST_NAME or "\0" in campaign.display_name:
        raise Invalid("campaign.display_name", f"must have at most {_MOST_NAME} characters")
    start = campaign.WhichOneof("start")
    if start is None:
        raise Required("campaign.start", "is required: segment_id or trigger_id")
    transactional = campaign.stream == message_pb2.STREAM_TRANSACTIONAL
    return Campaign(
        campaign_id=_checked_id("campaign.campaign_id", campaign.campaign_id),
        display_name=campaign.display_name,
        start=Start.SEGMENT if start == "segment_id" else Start.TRIGGER,
        definition_id=_checked_id(f"campaign.{start}", campaign.segment_id or campaign.trigger_id),
        template_id=_checked_id("campaign.template_id", campaign.template_id),
        sender=_mailbox("campaign.from", getattr(campaign, "from")),
        reply_to=_mailbox("campaign.reply_to", campaign.reply_to) if campaign.reply_to else "",
        stream=Stream.TRANSACTIONAL if transactional else Stream.MARKETING,
        max_age_seconds=_within("max_age_seconds", campaign.max_age_seconds, 3600, _MOST_MAX_AGE),
        expire_after_seconds=_within(
            "expire_after_seconds", campaign.expire_after_seconds, 86_400, _MOST_EXPIRE_AFTER
        ),
        recommendations=_within("recommendations", campaign.recommendations, 0, MOST_RECOMMENDATIONS),
        paused=campaign.paused,
    )


def _within(name: str, value: int, default: int, most: int) -> int:
    if not 0 <= value <= most:
        raise Invalid(f"campaign.{name}", f"must be from 0 to {most:,}")
    return value or default


def _mailbox(field: str, value: str) -> str:
    """`Name <address>` or an address, on one line; the address in ASCII, as SMTP takes it everywhere."""
    address = parseaddr(value)[1]
    if len(value) > _MOST_NAME or not value.isprintable() or not address.isascii():
        raise Invalid(field, "must be one line of at most 200 characters, with an address in ASCII")
    if normal_email(address) is None:
        raise Invalid(field, "must be an address, or a name and an address in angle brackets")
    return value


def campaign_pb(campaign: Campaign) -> message_pb2.Campaign:
    """To the contract."""
    message = message_pb2.Campaign(
        campaign_id=campaign.campaign_id,
        display_name=campaign.display_name,
        template_id=campaign.template_id,
        reply_to=campaign.reply_to,
        stream=stream_pb(campaign.stream),
        max_age_seconds=campaign.max_age_seconds,
        expire_after_seconds=campaign.expire_after_seconds,
        recommendations=campaign.recommendations,
        paused=campaign.paused,
    )
    if campaign.start is Start.SEGMENT:
        message.segment_id = campaign.definition_id
    else:
        message.trigger_id = campaign.definition_id
    # `from` is a word of Python's own.
    setattr(message, "from", campaign.sender)
    return message


def stream_pb(stream: Stream) -> message_pb2.Stream.ValueType:
    """To the contract: the numbers are the same."""
    return message_pb2.Stream.ValueType(int(stream))


# ---- messages


def message_pb(decision: Decision) -> message_pb2.Message:
    """A decision as it is stored and published."""
    campaign, cause, content = decision.campaign, decision.cause, decision.content
    message = message_pb2.Message(
        message_id=decision.message_id,
        idempotency_key=decision.idempotency_key,
        rfc5322_message_id=decision.rfc5322_message_id,
        profile_id=cause.profile_id,
        reply_to=campaign.reply_to,
        stream=stream_pb(campaign.stream),
        campaign_id=campaign.campaign_id,
        definition_id=cause.definition_id,
        cause_id=cause.cause_id,
        template_id=campaign.template_id,
        template_version=decision.template_version,
        model_version=decision.model_version,
        profile_revision=decision.profile_revision,
        cause_time=timestamp(cause.time),
        create_time=timestamp(decision.time),
        expire_time=timestamp(decision.expire_time),
        outcome=message_pb2.Outcome.ValueType(int(decision.outcome)),
        outcome_reason=decision.reason,
    )
    setattr(message, "from", campaign.sender)
    if content is not None:
        message.to = content.address
        message.subject = content.parts[SUBJECT]
        message.preheader = content.parts[PREHEADER]
        message.html = content.parts[HTML]
        message.text = content.parts[TEXT]
        message.inputs_hash = content.inputs_hash
        message.omitted.extend(content.omitted)
        message.headers.extend(message_pb2.Header(name=name, value=value) for name, value in content.headers)
        message.delivery_state = message_pb2.DELIVERY_STATE_PENDING
    return message


def record_of(message: message_pb2.Message) -> bytes:
    """The record of a rendered message."""
    return render_events_pb2.MessageRendered(message=message).SerializeToString()


def delivery_pb(delivery: Delivery) -> message_pb2.Message:
    """A stored message with how its delivery stands."""
    message = message_pb2.Message.FromString(delivery.body)
    message.delivery_state = message_pb2.DeliveryState.ValueType(delivery.state)
    message.outcome_reason = delivery.reason
    return message


def filter_of(request: pb.ListMessagesRequest) -> Filter:
    """Which messages are asked for."""
    return Filter(
        uuid_text(request.profile_id, "profile_id") if request.profile_id else "",
        request.campaign_id,
        _outcome_of(request.outcome),
        _delivery_state_of(request.delivery_state),
    )


def _outcome_of(number: int) -> Outcome | None:
    if number and number not in _OUTCOMES:
        raise Invalid("outcome", "is not one that this version knows")
    return _OUTCOMES.get(number)


def _delivery_state_of(number: int) -> int:
    if number not in message_pb2.DeliveryState.values():
        raise Invalid("delivery_state", "is not one that this version knows")
    return number


def totals_pb(totals: Mapping[Outcome, int]) -> dict[str, int]:
    """Totals by the name that the contract gives an outcome."""
    return {message_pb2.Outcome.Name(outcome.value): count for outcome, count in totals.items()}  # type: ignore[arg-type]


# ---- deliveries


def subscriber_of(request: pb.SubscribeRequest) -> Subscriber:
    """A connector's stream; Invalid names the wrong field."""
    if not 1 <= len(request.connector) <= 63:
        raise Invalid("connector", "must have from 1 to 63 characters")
    if not 0 <= request.max_in_flight <= 1000:
        raise Invalid("max_in_flight", "must be from 1 to 1,000")
    if not 0 <= request.lease_seconds <= 3600:
        raise Invalid("lease_seconds", "must be from 1 to 3,600")
    return Subscriber(
        holder=str(uuid.uuid4()),
        max_in_flight=request.max_in_flight or 100,
        lease_seconds=request.lease_seconds or 60,
        stream=_stream_of(request.stream),
    )


def _stream_of(number: int) -> Stream | None:
    """Whose messages a connector wants. Who asks for a stream that we don't know must not get all."""
    if number and number not in _STREAMS:
        raise Invalid("stream", "is not one that this version knows")
    return _STREAMS.get(number)


def granted_pb(granted: Granted) -> pb.SubscribeResponse:
    """To the contract."""
    message = message_pb2.Message.FromString(granted.body)
    message.delivery_state = message_pb2.DELIVERY_STATE_LEASED
    return pb.SubscribeResponse(
        message=message,
        lease_id=granted.lease.lease_id,
        lease_end_time=timestamp(granted.end_time),
        attempt=granted.attempt,
    )


def leases_of(leases: Sequence[pb.Lease]) -> list[Lease]:
    """Named leases; Invalid where an id can't be one."""
    if not 1 <= len(leases) <= _MOST_LEASES:
        kind = TooLarge if leases else Required
        raise kind("leases", "must name from 1 to 1,000 leases")
    try:
        return [Lease(str(uuid.UUID(one.message_id)), str(uuid.UUID(one.lease_id))) for one in leases]
    except ValueError:
        raise Malformed("leases", "message_id and lease_id must be UUIDs") from None


def pause_of(request: pb.RejectMessagesRequest) -> int | None:
    """For how many seconds a connector wants no retry; None where it leaves that to us."""
    if not request.HasField("retry_after_seconds"):
        return None
    if not request.retry:
        raise Invalid("retry_after_seconds", "needs retry")
    if not 0 <= request.retry_after_seconds <= _MOST_PAUSE:
        raise Invalid("retry_after_seconds", "must be from 0 to 86,400")
    return request.retry_after_seconds


def lease_pb(lease: Lease) -> pb.Lease:
    """To the contract."""
    return pb.Lease(message_id=lease.message_id, lease_id=lease.lease_id)


def reason_of(reason: str) -> str:
    """A connector's reason, as long as it may be kept."""
    return reason.replace("\0", "")[:_MOST_REASON]
