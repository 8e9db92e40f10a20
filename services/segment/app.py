"""Wires segment: the only module that knows everything."""

from pathlib import Path

from libs import rpc
from libs.database import Schema
from libs.hosting import open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.topics import PROFILE_UPDATES, SEGMENT_DEAD_LETTERS
from libs.settings import Role
from services.segment.consumer import UpdateHandler
from services.segment.grpc_api import SegmentServicer
from services.segment.handlers import Segments
from services.segment.histories import ProfileHistories
from services.segment.repository import Plans, SqlDefinitions, SqlMembers
from services.segment.settings import Settings
from tessera.segment.v1 import segment_service_pb2_grpc

SCHEMA = Schema("segment", Path(__file__).parent / "migrations")


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base:
        if role == "migrate":
            return
        channel = rpc.open_channel(settings.profile_address, api_key=settings.service_api_key, tls=base.tls)
        async with channel as profile:
            components: list[Component] = []
            if base.consumes:
                consumed = ConsumerSettings(
                    group="segment",
                    topics=(PROFILE_UPDATES,),
                    dead_letters=SEGMENT_DEAD_LETTERS,
                    workers=settings.consumer_workers,
                    batch_records=settings.batch_records,
                )
                plans, histories = Plans(base.database), ProfileHistories(profile)

                def handler() -> UpdateHandler:
                    return UpdateHandler(plans, histories, settings.topic_partitions)

                components.append(Consumer(base.database, base.event_log, consumed, handler))
            definitions = SqlDefinitions(base.database, settings.topic_partitions)
            servicer = SegmentServicer(Segments(definitions, SqlMembers(base.database)))
            add = segment_service_pb2_grpc.add_SegmentServiceServicer_to_server
            await base.run([(add, servicer)], components)
