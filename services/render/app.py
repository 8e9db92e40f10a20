"""Wires render: the only module that knows everything."""

from contextlib import AsyncExitStack
from pathlib import Path

from libs import rpc
from libs.database import Schema
from libs.hosting import Foundations, open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.news import News
from libs.messaging.topics import RENDER_DEAD_LETTERS, SEGMENT_TRANSITIONS
from libs.settings import Role
from libs.unsubscribe import Links
from services.render.consumer import GROUP, TransitionHandler
from services.render.engine.pool import Engine
from services.render.engine.text import text_template
from services.render.grpc_api import RenderServicer
from services.render.handlers import Decider, Deliveries, Library, Previews
from services.render.jobs import ExpireJob, Listener
from services.render.ports import Neighbours
from services.render.repository import (
    CHANNEL,
    GrpcNeighbours,
    SqlCampaigns,
    SqlMessages,
    SqlQueue,
    SqlTemplates,
)
from services.render.settings import Settings
from tessera.render.v1 import render_service_pb2_grpc

SCHEMA = Schema("render", Path(__file__).parent / "migrations")
_LEAST_KEY = 16


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base, AsyncExitStack() as stack:
        if role == "migrate":
            return
        if role == "relay":
            await base.run()
            return
        if len(settings.unsubscribe_key) < _LEAST_KEY:
            raise ValueError(f"UNSUBSCRIBE_KEY must have at least {_LEAST_KEY} characters")
        links = Links(settings.unsubscribe_key, settings.public_url)
        neighbours = await _neighbours(settings, base, stack)
        components: list[Component] = []
        if base.consumes:
            components += await _consuming(settings, base, stack, neighbours, links)
        if not base.serves:
            await base.run(components=components)
            return
        # Apart from the consumer's: whoever tries templates out does not keep mail waiting.
        engine = await stack.enter_async_context(Engine(seconds=settings.engine_seconds))
        library = Library(SqlTemplates(base.database), SqlCampaigns(base.database), engine, text_template)
        news = News()
        servicer = RenderServicer(
            library,
            Previews(library, neighbours, engine, links),
            SqlMessages(base.database),
            Deliveries(SqlQueue(base.database), neighbours),
            news,
        )
        add = render_service_pb2_grpc.add_RenderServiceServicer_to_server
        await base.run([(add, servicer)], [*components, Listener(base.database, CHANNEL, news)])


async def _neighbours(settings: Settings, base: Foundations, stack: AsyncExitStack) -> Neighbours:
    addresses = (settings.profile_address, settings.segment_address, settings.recommend_address)
    key, tls = settings.service_api_key, base.tls
    channels = [
        await stack.enter_async_context(rpc.open_channel(address, api_key=key, tls=tls))
        for address in addresses
    ]
    return GrpcNeighbours(*channels)


async def _consuming(
    settings: Settings, base: Foundations, stack: AsyncExitStack, neighbours: Neighbours, links: Links
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
    consumer = Consumer(base.database, base.event_log, consumed, lambda: TransitionHandler(decider))
    return [consumer, ExpireJob(SqlQueue(base.database))]
