"""Wires render: the only module that knows everything."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from libs import rpc
from libs.database import Connection, Database, Schema
from libs.hosting import Foundations, open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.news import News
from libs.messaging.topics import RENDER_DEAD_LETTERS, SEGMENT_TRANSITIONS
from libs.rpc.server import Service
from libs.settings import Role
from libs.unsubscribe import Links, keys_of
from services.render.campaigns import sql as campaigns_sql
from services.render.campaigns.api import CampaignServicer
from services.render.campaigns.use_cases import CampaignBook
from services.render.deciding.clients import GrpcNeighbours
from services.render.deciding.ports import Storage
from services.render.deciding.stream import GROUP, TransitionHandler
from services.render.deciding.use_cases import Decider
from services.render.delivery import sql as delivery_sql
from services.render.delivery import wire as delivery_wire
from services.render.delivery.api.deliveries import DeliveryServicer
from services.render.delivery.api.messages import MessageServicer
from services.render.delivery.jobs import ExpireJob, Listener
from services.render.delivery.sql.messages import MessagesOfBatch, SqlMessages
from services.render.delivery.sql.queue import CHANNEL, SqlQueue
from services.render.delivery.use_cases import Archive, Deliveries
from services.render.engine.clients import Engine
from services.render.library import sql as library_sql
from services.render.library.api import TemplateServicer
from services.render.library.use_cases import Library
from services.render.previews.api import PreviewServicer
from services.render.previews.use_cases import Previews
from services.render.settings import Settings
from tessera.render.v1 import (
    campaign_service_pb2_grpc,
    delivery_service_pb2_grpc,
    message_service_pb2_grpc,
    preview_service_pb2_grpc,
    template_service_pb2_grpc,
)

SCHEMA = Schema(
    "render",
    Path(__file__).parent / "migrations",
    tables=(*library_sql.TABLES, *campaigns_sql.TABLES, *delivery_sql.TABLES),
)


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base, AsyncExitStack() as stack:
        if role == "migrate":
            return
        if role == "relay":
            await base.run()
            return
        keys = keys_of(settings.unsubscribe_keys)
        if not keys:
            raise ValueError("UNSUBSCRIBE_KEYS is required: the secrets of unsubscribe links")
        links = Links(keys, settings.public_url)
        neighbours = await _neighbours(settings, base, stack)
        components: list[Component] = []
        if base.consumes:
            components += await _consuming(settings, base, stack, neighbours, links)
        if not base.serves:
            await base.run(components=components)
            return
        # Apart from the consumer's: whoever tries templates out does not keep mail waiting.
        engine = await stack.enter_async_context(Engine(seconds=settings.engine_seconds))
        news = News()
        servicers = servicers_of(base.database, engine, neighbours, links, news)
        await base.run(servicers, [*components, Listener(base.database, CHANNEL, news)])


def servicers_of(
    database: Database,
    engine: Engine,
    neighbours: GrpcNeighbours,
    links: Links,
    news: News,
    clock: Callable[[], float] = time.time,
) -> list[Service]:
    """The services of the contract, each with what adds it to a server."""
    library = Library(library_sql.SqlTemplates(database), engine, clock)
    campaigns = CampaignBook(campaigns_sql.SqlCampaigns(database), clock)
    messages = SqlMessages(database)
    previews = Previews(library, campaigns, neighbours, engine, messages, links, clock)
    deliveries = Deliveries(SqlQueue(database), neighbours, clock)
    return [
        (template_service_pb2_grpc.add_TemplateServiceServicer_to_server, TemplateServicer(library)),
        (campaign_service_pb2_grpc.add_CampaignServiceServicer_to_server, CampaignServicer(campaigns)),
        (preview_service_pb2_grpc.add_PreviewServiceServicer_to_server, PreviewServicer(previews)),
        (message_service_pb2_grpc.add_MessageServiceServicer_to_server, MessageServicer(Archive(messages))),
        (delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server, DeliveryServicer(deliveries, news)),
    ]


def handler_of(decider: Decider) -> TransitionHandler:
    """What a worker does with transitions: all that it reads and writes is of its transaction."""
    return TransitionHandler(decider, _storage_of, delivery_wire.record_of)


def _storage_of(connection: Connection) -> Storage:
    return Storage(
        campaigns_sql.CampaignsOfBatch(connection),
        library_sql.TemplatesOfBatch(connection),
        MessagesOfBatch(connection),
    )


async def _neighbours(settings: Settings, base: Foundations, stack: AsyncExitStack) -> GrpcNeighbours:
    addresses = (settings.profile_address, settings.segment_address, settings.recommend_address)
    key, tls = settings.service_api_key, base.tls
    channels = [
        await stack.enter_async_context(rpc.open_channel(address, api_key=key, tls=tls))
        for address in addresses
    ]
    return GrpcNeighbours(*channels)


async def _consuming(
    settings: Settings, base: Foundations, stack: AsyncExitStack, neighbours: GrpcNeighbours, links: Links
) -> list[Component]:
    engine = await stack.enter_async_context(Engine(settings.engine_processes, settings.engine_seconds))
    await engine.start()
    decider = Decider(neighbours, engine, links)
    consumed = ConsumerSettings(
        group=GROUP,
        topics=(SEGMENT_TRANSITIONS,),
        dead_letters=RENDER_DEAD_LETTERS,
        workers=settings.consumer_workers,
        batch_records=settings.batch_records,
    )
    consumer = Consumer(base.database, base.event_log, consumed, lambda: handler_of(decider))
    return [consumer, ExpireJob(SqlQueue(base.database))]
