"""Wires profile: the only module that knows everything."""

from pathlib import Path

from libs.database import Schema
from libs.hosting import open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.topics import INGEST_EVENTS, INGEST_IMPORTS, PROFILE_DEAD_LETTERS
from libs.settings import Role
from services.profile.consumer import EventHandler
from services.profile.grpc_api import ProfileServicer
from services.profile.handlers import Profiles
from services.profile.histories import LogStream
from services.profile.jobs import GROUP, ClockJob, ForgetJob
from services.profile.repository import SqlDirectory
from services.profile.settings import Settings
from tessera.profile.v1 import profile_service_pb2_grpc

SCHEMA = Schema("profile", Path(__file__).parent / "migrations")


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base:
        if role == "migrate":
            return
        components: list[Component] = []
        if base.consumes:
            consumed = ConsumerSettings(
                group=GROUP,
                topics=(INGEST_EVENTS,),
                background=(INGEST_IMPORTS,),
                dead_letters=PROFILE_DEAD_LETTERS,
                workers=settings.consumer_workers,
                batch_records=settings.batch_records,
                tick_seconds=settings.clock_seconds,
            )
            components += [
                Consumer(base.database, base.event_log, consumed, EventHandler),
                ClockJob(base.database, base.event_log, settings.clock_seconds),
                ForgetJob(base.database),
            ]
        stream = LogStream(base.database, base.event_log)
        servicer = ProfileServicer(Profiles(SqlDirectory(base.database), stream))
        add = profile_service_pb2_grpc.add_ProfileServiceServicer_to_server
        await base.run([(add, servicer)], components)
