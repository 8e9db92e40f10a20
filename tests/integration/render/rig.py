"""Render on a real PostgreSQL, between neighbours that answer what a test says."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import orjson

from libs import rpc
from libs.database import Database, open_database
from libs.database.migrations import migrate
from libs.messaging import Batch, PostgresLog, Received, Record
from libs.messaging.news import News
from libs.messaging.topics import owned_by
from libs.times import timestamp
from libs.unsubscribe import Links
from services.render.app import SCHEMA, handler_of, servicers_of
from services.render.deciding.clients import GrpcNeighbours
from services.render.deciding.use_cases import Decider
from services.render.delivery.jobs import Listener
from services.render.delivery.sql.queue import CHANNEL, SqlQueue
from services.render.delivery.use_cases import Deliveries
from services.render.engine.clients import Engine
from services.render.model import MICROS
from tessera.profile.v1 import profile_pb2, profile_service_pb2, profile_service_pb2_grpc
from tessera.recommend.v1 import (
    product_pb2,
    recommend_service_pb2,
    recommend_service_pb2_grpc,
    recommendation_pb2,
)
from tessera.render.v1 import (
    campaign_pb2,
    campaign_service_pb2,
    campaign_service_pb2_grpc,
    delivery_service_pb2_grpc,
    message_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    preview_service_pb2_grpc,
    template_pb2,
    template_service_pb2,
    template_service_pb2_grpc,
)
from tessera.segment.v1 import (
    membership_pb2,
    membership_service_pb2,
    membership_service_pb2_grpc,
    segment_events_pb2,
)
from tessera.type.v1.money_pb2 import Money

NOW = 1_800_000_000
KEY = "a key that only the tests know"
CONNECTOR_KEY = "connector"
HTML = (
    "<html><body><p>Hello {{ profile.traits.name }}</p>{% for r in recommendations %}{{ r.name }}{% endfor %}"
)
SUBJECT = "{{ event.product }} waits, {{ profile.traits.name }}"


def profile(
    profile_id: str, revision: int = 1, email: str = "ada@example.com", **traits: Any
) -> profile_pb2.Profile:
    """Somebody who wants mail."""
    identifiers = [
        profile_pb2.Identifier(kind=profile_pb2.IDENTIFIER_KIND_EMAIL, value=value)
        for value in [email]
        if value
    ]
    return profile_pb2.Profile(
        profile_id=profile_id,
        revision=revision,
        identifiers=identifiers,
        email=email,
        traits_json=orjson.dumps({"name": "Ada", **traits}),
        consent={"email_marketing": True},
    )


@dataclass
class Profiles(profile_service_pb2_grpc.ProfileServiceServicer):
    """Answers with the profiles that it is given."""

    profiles: dict[str, profile_pb2.Profile] = field(default_factory=dict)
    down: bool = False
    calls: int = 0
    asked: list[int] = field(default_factory=list)
    """How many, by each call."""
    most_bytes: int = 4 << 20

    async def BatchGetProfiles(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls += 1
        if self.down:
            await context.abort(grpc.StatusCode.UNKNOWN, "down")
        self.asked.append(len(request.profile_ids))
        response = profile_service_pb2.BatchGetProfilesResponse()
        size = 0
        for number, profile_id in enumerate(request.profile_ids):
            if profile_id not in self.profiles:
                continue
            size += self.profiles[profile_id].ByteSize()
            if number and size > self.most_bytes:
                response.remaining_profile_ids.extend(request.profile_ids[number:])
                break
            response.profiles[profile_id].CopyFrom(self.profiles[profile_id])
        return response

    def add(self, **what: Any) -> str:
        """Add somebody; returns the id."""
        profile_id = str(uuid.uuid4())
        self.profiles[profile_id] = profile(profile_id, **what)
        return profile_id


@dataclass
class Segments(membership_service_pb2_grpc.MembershipServiceServicer):
    """Everybody is in one segment."""

    calls: int = 0

    async def GetMemberships(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls += 1
        return membership_service_pb2.GetMembershipsResponse(
            memberships=[
                membership_pb2.Membership(profile_id=i, segment_id="everybody") for i in request.profile_ids
            ]
        )


@dataclass
class Recommends(recommend_service_pb2_grpc.RecommendServiceServicer):
    """Recommends the same to everybody."""

    down: bool = False
    asked: list[str] = field(default_factory=list)
    spared_carts: bool = True
    """Whether every request leaves out what lies in the person's cart."""

    async def BatchRecommend(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked += [one.profile_id for one in request.requests]
        if self.down:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "down")
        products = [
            product_pb2.Product(product_id=str(n), name=f"Lamp {n}", price=Money(units=n))
            for n in range(1, 5)
        ]
        similar = recommendation_pb2.RECOMMENDATION_REASON_SIMILAR
        found = [recommendation_pb2.Recommendation(product=one, reason=similar) for one in products]
        responses = [
            recommend_service_pb2.RecommendResponse(
                recommendations=[
                    each for each in found if each.product.product_id not in one.exclude_product_ids
                ][: one.limit],
                model_version=7,
            )
            for one in request.requests
        ]
        self.spared_carts &= all(one.exclude_in_cart for one in request.requests)
        return recommend_service_pb2.BatchRecommendResponse(responses=responses)


@dataclass
class Rig:
    """Everything that a test turns and looks at."""

    database: Database
    log: PostgresLog
    decider: Decider
    links: Links
    profiles: Profiles
    segments: Segments
    recommends: Recommends
    now: float = NOW
    address: str = ""
    deliveries: Any = None
    templates: Any = None
    campaigns: Any = None
    previews: Any = None
    archive: Any = None
    connectors: Any = None
    """The stub of DeliveryService; `deliveries` is what it calls."""
    server: Any = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def transition(
        self,
        profile_id: str,
        cause: bytes | None = None,
        definition: str = "cart",
        age: float = 1,
        revision: int = 1,
        kind: Any = segment_events_pb2.TRANSITION_KIND_TRIGGERED,
        event: Any = None,
        trusted: bool = True,
    ) -> segment_events_pb2.TransitionOccurred:
        """A trigger that fired."""
        return segment_events_pb2.TransitionOccurred(
            profile_id=profile_id,
            profile_revision=revision,
            kind=kind,
            definition_id=definition,
            time=timestamp(int((self.now - age) * MICROS)),
            cause_id=cause or uuid.uuid4().bytes,
            event_properties_json=orjson.dumps({"product": "The blue lamp"} if event is None else event),
            event_name="Product Added",
            trusted=trusted,
        )

    def records(self, *transitions: segment_events_pb2.TransitionOccurred) -> list[Record]:
        """Transitions as their writer puts them on the log."""
        return [
            Record(t.profile_id.encode(), t.DESCRIPTOR.full_name, t.SerializeToString(), NOW)
            for t in transitions
        ]

    def batch(self, *transitions: segment_events_pb2.TransitionOccurred) -> Batch:
        """Transitions as a worker reads them."""
        received = [
            Received("segment.transitions", 0, offset, r.key, r.type, r.value, r.time, {})
            for offset, r in enumerate(self.records(*transitions))
        ]
        return Batch(received, (0,))

    async def decide(self, *transitions: segment_events_pb2.TransitionOccurred) -> int:
        """Handle a batch in one transaction, as the consumer does; returns how many messages it appends."""
        async with self.database.begin() as connection:
            outcome = await handler_of(self.decider).handle(connection, self.batch(*transitions))
            for topic, records in outcome.output:
                await self.log.append(connection, topic, records)
        outcome.after_commit()
        return sum(len(records) for _, records in outcome.output)

    async def messages(self, **wanted: Any) -> Sequence[message_pb2.Message]:
        """All decisions, newest first, with their bodies."""
        listed = await self.archive.ListMessages(message_service_pb2.ListMessagesRequest(**wanted))
        requests = [message_service_pb2.GetMessageRequest(message_id=m.message_id) for m in listed.messages]
        return [(await self.archive.GetMessage(request)).message for request in requests]

    async def totals(self, **wanted: Any) -> dict[str, int]:
        """How many there are of each outcome."""
        counted = await self.archive.CountMessages(message_service_pb2.CountMessagesRequest(**wanted))
        return {message_pb2.Outcome.Name(one.outcome): one.count for one in counted.counts}

    async def put_template(self, **parts: Any) -> Any:
        """A template, created or changed; the whole answer."""
        template = template_pb2.Template(**{"template_id": "t", "subject": "s", "html": "<p>h</p>", **parts})
        return await self.templates.UpdateTemplate(
            template_service_pb2.UpdateTemplateRequest(
                template=template, update_mask={"paths": ["*"]}, allow_missing=True
            )
        )

    async def put(self, html: str = HTML, subject: str = SUBJECT, **campaign: Any) -> campaign_pb2.Campaign:
        """A template, and a campaign that uses it."""
        template_id = campaign.pop("template_id", "cart")
        await self.put_template(template_id=template_id, subject=subject, html=html)
        values = {
            "campaign_id": "cart",
            "display_name": "Your cart",
            "template_id": template_id,
            "sender": "Shop <shop@shop.example.com>",
            **({} if "segment_id" in campaign else {"trigger_id": "cart"}),
            **campaign,
        }
        request = campaign_service_pb2.UpdateCampaignRequest(
            campaign=campaign_pb2.Campaign(**values), update_mask={"paths": ["*"]}, allow_missing=True
        )
        return (await self.campaigns.UpdateCampaign(request)).campaign


@asynccontextmanager
async def open_rig(url: str) -> AsyncIterator[Rig]:
    """Start everything on a fresh database."""
    await migrate(url, SCHEMA)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(url, "test"))
        log = PostgresLog(database, 2)
        await log.declare([*owned_by("segment"), *owned_by("render")])
        profiles, segments, recommends = Profiles(), Segments(), Recommends()
        address = await stack.enter_async_context(_neighbours(profiles, segments, recommends))
        channels = [await stack.enter_async_context(rpc.open_channel(address)) for _ in range(3)]
        neighbours = GrpcNeighbours(*channels)
        engine = await stack.enter_async_context(Engine(seconds=0.5))
        links = Links([KEY], "https://shop.example.com")

        def clock() -> float:
            return rig.now

        rig = Rig(
            database,
            log,
            Decider(neighbours, engine, links, clock),
            links,
            profiles,
            segments,
            recommends,
        )
        rig.deliveries = Deliveries(SqlQueue(database), neighbours, clock)
        news = News()
        servicers = servicers_of(database, engine, neighbours, links, news, clock)
        await stack.enter_async_context(_serving(rig, servicers))
        listening = asyncio.create_task(Listener(database, CHANNEL, news).run(rig.stopping))
        channel = await stack.enter_async_context(rpc.open_channel(rig.address, api_key=CONNECTOR_KEY))
        rig.templates = template_service_pb2_grpc.TemplateServiceStub(channel)
        rig.campaigns = campaign_service_pb2_grpc.CampaignServiceStub(channel)
        rig.previews = preview_service_pb2_grpc.PreviewServiceStub(channel)
        rig.archive = message_service_pb2_grpc.MessageServiceStub(channel)
        rig.connectors = delivery_service_pb2_grpc.DeliveryServiceStub(channel)
        yield rig
        rig.stopping.set()
        await listening


@asynccontextmanager
async def _neighbours(*servicers: Any) -> AsyncIterator[str]:
    server = grpc.aio.server()
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(servicers[0], server)
    membership_service_pb2_grpc.add_MembershipServiceServicer_to_server(servicers[1], server)
    recommend_service_pb2_grpc.add_RecommendServiceServicer_to_server(servicers[2], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def _serving(rig: Rig, servicers: Sequence[Any]) -> AsyncIterator[None]:
    keys = {
        CONNECTOR_KEY: rpc.Caller("connector", frozenset({"render.*", "pii.read"})),
        "blind": rpc.Caller("blind", frozenset({"render.*"})),
    }
    hashed = {hashlib.sha256(key.encode()).hexdigest(): who for key, who in keys.items()}
    server = rpc.RpcServer("127.0.0.1:0", servicers, api_keys=rpc.ApiKeys(hashed), drain_seconds=3)
    await server.start()
    rig.address, rig.server = server.address, server
    running = asyncio.create_task(server.run(rig.stopping))
    try:
        yield
    finally:
        rig.stopping.set()
        await running
