"""Wires profile: the only module that knows everything."""

import time
from collections.abc import Callable
from pathlib import Path

from libs.database import Connection, Database, Schema
from libs.hosting import open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings, EventLog
from libs.messaging.topics import INGEST_EVENTS, INGEST_IMPORTS, PROFILE_DEAD_LETTERS
from libs.rpc.server import Service
from libs.settings import Role
from services.profile.directory.api import ProfileServicer
from services.profile.directory.sql import SqlDirectory
from services.profile.directory.use_cases import Profiles
from services.profile.history import sql as history_sql
from services.profile.history import wire
from services.profile.history.api import HistoryServicer
from services.profile.history.jobs import GROUP, ClockJob
from services.profile.history.sql import SqlHistories, SqlSteps
from services.profile.history.stream import EventHandler, Resender
from services.profile.history.use_cases import History, Recorder
from services.profile.identity import sql as identity_sql
from services.profile.identity.sql import Cache, SqlPeople
from services.profile.identity.use_cases import Identities
from services.profile.settings import Settings
from tessera.profile.v1 import history_service_pb2_grpc, profile_service_pb2_grpc

SCHEMA = Schema(
    "profile",
    Path(__file__).parent / "migrations",
    tables=(*identity_sql.TABLES, *history_sql.TABLES),
)


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
                Consumer(base.database, base.event_log, consumed, event_handler),
                ClockJob(base.database, base.event_log, settings.clock_seconds),
            ]
        await base.run(services(base.database, base.event_log), components)


def event_handler(clock: Callable[[], float] = time.time) -> EventHandler:
    """What applies a worker's batches, with a memory of its own."""
    cache = Cache()

    def recorder(connection: Connection, now: int) -> Recorder:
        people = SqlPeople(connection, cache, now)
        return Recorder(Identities(people), SqlSteps(connection), wire)

    return EventHandler(recorder, cache.forget, clock)


def services(database: Database, event_log: EventLog) -> list[Service]:
    """The gRPC services."""
    profiles = Profiles(SqlDirectory(database))
    history = History(SqlHistories(database), Resender(database, event_log), wire.events_in)
    return [
        (profile_service_pb2_grpc.add_ProfileServiceServicer_to_server, ProfileServicer(profiles)),
        (history_service_pb2_grpc.add_HistoryServiceServicer_to_server, HistoryServicer(history)),
    ]
