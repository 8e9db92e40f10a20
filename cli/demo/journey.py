"""Tells one customer's story: from the events to the message, with everything in between."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from cli.clients import Clients
from cli.formats import moment, word
from cli.people import KIND_WORDS
from tessera.ingest.v1.event_pb2 import EventType
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.profile.v1 import profile_service_pb2 as profile_pb
from tessera.profile.v1.history_pb2 import HistoryEvent
from tessera.recommend.v1 import recommend_service_pb2 as recommend_pb
from tessera.recommend.v1 import recommendation_pb2
from tessera.render.v1.message_pb2 import DeliveryState, Message
from tessera.segment.v1 import membership_service_pb2 as membership_pb

_EVENTS = 6
_REASONS = {
    recommendation_pb2.RECOMMENDATION_REASON_SIMILAR: "similar",
    recommendation_pb2.RECOMMENDATION_REASON_POPULAR: "popular",
}


class Hop(msgspec.Struct, frozen=True):
    """A span of the traced event."""

    service: str
    name: str
    after_seconds: float
    """From the first span's start."""
    seconds: float


class Journey(msgspec.Struct, frozen=True):
    """From events to a message."""

    profile_id: str
    identifiers: list[tuple[str, str]]
    event_count: int
    events: list[tuple[str, str, str]]
    """Time, name and what it was about; the deciding one last."""
    cause: str
    segments: list[str]
    recommendations: list[tuple[str, str]]
    """Product and reason."""
    model_version: int
    message_id: str
    subject: str
    to: str
    campaign_id: str
    template: str
    delivery: str
    latency_seconds: float
    """From the deciding moment to the rendered message."""
    hops: list[Hop]


def choose(messages: Sequence[Message], traced: Mapping[bytes, str]) -> Message | None:
    """The message whose story tells most: traced, from a trigger, with recommendations, delivered."""

    def worth(message: Message) -> tuple[bool, bool, bool, float]:
        delivered = message.delivery_state == DeliveryState.DELIVERY_STATE_ACKNOWLEDGED
        return (
            message.cause_id in traced,
            delivered,
            message.model_version > 0,
            message.create_time.ToNanoseconds() / 1e9,
        )

    return max(messages, key=worth, default=None)


async def tell(clients: Clients, message: Message, spans: Path, trace_id: str) -> Journey:
    """Gather the story of one message."""
    profile = await clients.profile()
    ids = [message.profile_id]
    person = (await profile.GetProfile(profile_pb.GetProfileRequest(profile_id=message.profile_id))).profile
    listed = await (await clients.history()).ListEvents(
        history_pb.ListEventsRequest(profile_id=message.profile_id, page_size=100)
    )
    memberships = await (await clients.memberships()).GetMemberships(
        membership_pb.GetMembershipsRequest(profile_ids=ids)
    )
    recommended = await (await clients.recommend()).Recommend(
        recommend_pb.RecommendRequest(
            profile_id=message.profile_id, limit=3, exclude_purchased=True, exclude_in_cart=True
        )
    )
    created, caused = message.create_time.ToNanoseconds(), message.cause_time.ToNanoseconds()
    return Journey(
        profile_id=person.profile_id,
        identifiers=[(KIND_WORDS[i.kind], i.value) for i in person.identifiers],
        event_count=person.event_count,
        events=[_told(event) for event in _up_to(list(listed.events), message.cause_id)],
        cause=message.definition_id,
        segments=sorted(membership.segment_id for membership in memberships.memberships),
        recommendations=[
            (r.product.name or r.product.product_id, _REASONS.get(r.reason, ""))
            for r in recommended.recommendations
        ],
        model_version=recommended.model_version,
        message_id=message.message_id,
        subject=message.subject,
        to=message.to,
        campaign_id=message.campaign_id,
        template=f"{message.template_id} version {message.template_version}",
        delivery=word(DeliveryState.Name(message.delivery_state), "DELIVERY_STATE"),
        latency_seconds=round((created - caused) / 1e9, 3),
        hops=hops(spans, trace_id) if trace_id else [],
    )


def hops(spans: Path, trace_id: str) -> list[Hop]:
    """The spans of one trace, in the order of their starts; of those with one name the first."""
    if not spans.exists():
        return []
    found = [orjson.loads(line) for line in spans.read_bytes().splitlines()]
    ours = sorted(
        (span for span in found if span["trace_id"] == trace_id), key=lambda span: int(span["start_ns"])
    )
    firsts: dict[tuple[str, str], Hop] = {}
    for span in ours:
        since = round((span["start_ns"] - ours[0]["start_ns"]) / 1e9, 4)
        hop = Hop(span["service"], span["name"], since, round(span["seconds"], 4))
        firsts.setdefault((hop.service, hop.name), hop)
    return list(firsts.values())


def _up_to(events: list[HistoryEvent], cause_id: bytes) -> list[HistoryEvent]:
    """The last events before the deciding one, and that; oldest first."""
    place = next((i for i, event in enumerate(events) if event.event_id == cause_id), 0)
    return list(reversed(events[place : place + _EVENTS]))


def _told(event: HistoryEvent) -> tuple[str, str, str]:
    kind = word(EventType.Name(event.type), "EVENT_TYPE")
    properties: dict[str, Any] = orjson.loads(event.properties_json or b"{}")
    about = properties.get("name") or properties.get("order_id") or properties.get("url") or ""
    return moment(event.event_time), event.name or kind, str(about)
