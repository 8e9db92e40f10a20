"""Ingest on a free port over real PostgreSQL, with a server's source and a browser's."""

import hashlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from libs import rpc
from libs.database import Database, open_database
from libs.database.embedded import free_port
from libs.database.migrations import migrate
from libs.http_server import HttpServer
from libs.messaging import PostgresLog, chunks
from libs.messaging.topics import INGEST_EVENTS, Topic, owned_by
from libs.operations.api import OperationServicer
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from libs.rpc.server import Service
from libs.unsubscribe import Links
from services.ingest.app import SCHEMA, create_app
from services.ingest.rejections.api import RejectionServicer
from services.ingest.rejections.sql import SqlRejections
from services.ingest.rejections.use_cases import Rejections
from services.ingest.sources.api import SourceServicer
from services.ingest.sources.model import Source
from services.ingest.sources.sql import RememberedSources, SqlSources
from services.ingest.sources.use_cases import Authenticator, SourceAdministration
from services.ingest.tracking.api import ImportServicer, IngestServicer
from services.ingest.tracking.clients import LoggedEvents
from services.ingest.tracking.http import TrackingApi
from services.ingest.tracking.use_cases import Collector, Imports
from services.ingest.unsubscribes.http import unsubscribe_routes
from services.ingest.unsubscribes.use_cases import Unsubscriber
from tessera.ingest.v1 import (
    import_service_pb2_grpc,
    ingest_service_pb2_grpc,
    rejection_service_pb2_grpc,
    source_service_pb2_grpc,
)
from tessera.ingest.v1.ingest_events_pb2 import EventCollected
from tessera.operations.v1 import operation_service_pb2_grpc
from tests.integration.messaging.harness import running, until

SERVER = Source("shop", trusted=True)
BROWSER = Source("site", trusted=False)
SERVER_KEY, BROWSER_KEY = "server-key", "browser-key"
LINKS = Links(["a secret that only the tests know"])


@dataclass
class Ingest:
    """A running ingest."""

    database: Database
    administration: SourceAdministration
    rejections: Rejections
    collector: Collector
    http: httpx.AsyncClient
    stub: Any = None
    source_stub: Any = None
    rejection_stub: Any = None
    import_stub: Any = None
    operation_stub: Any = None

    async def stored(self, topic: Topic = INGEST_EVENTS) -> list[EventCollected]:
        """The events on the log, by receive time."""
        return [EventCollected.FromString(value) for value, _ in await self.records(topic)]

    async def records(self, topic: Topic = INGEST_EVENTS) -> list[tuple[bytes, dict[str, str]]]:
        """The values on the log with their headers, by receive time."""
        rows = await self.database.pool.fetch(
            "select payload from event_log.chunks join event_log.topics using (topic_id) where name = $1 "
            "order by create_time, partition, next_offset",
            f"tessera.{topic.name}",
        )
        return [
            (value, dict(headers or {}))
            for row in rows
            for _, _, value, _, headers, *_ in chunks.decode(row[0])
        ]


@asynccontextmanager
async def open_ingest(database_url: str, kept: int = 1000) -> AsyncIterator[Ingest]:
    await migrate(database_url, SCHEMA)
    async with open_database(database_url, "ingest test") as database:
        log = PostgresLog(database, 4)
        await log.declare(owned_by("ingest"))
        sources = SqlSources(database)
        authenticator = Authenticator(RememberedSources(sources, time.monotonic))
        rejections = Rejections(SqlRejections(database), kept)
        collector = Collector(LoggedEvents(log, random.Random(1)), rejections)
        administration = SourceAdministration(sources)
        for source, key in ((SERVER, SERVER_KEY), (BROWSER, BROWSER_KEY)):
            await administration.create(source, key)
        caller = rpc.Caller("admin", frozenset({"*"}))
        keys = rpc.ApiKeys({hashlib.sha256(b"admin").hexdigest(): caller})
        services: list[Service] = [
            (
                ingest_service_pb2_grpc.add_IngestServiceServicer_to_server,
                IngestServicer(authenticator, collector),
            ),
            (
                source_service_pb2_grpc.add_SourceServiceServicer_to_server,
                SourceServicer(administration),
            ),
            (
                rejection_service_pb2_grpc.add_RejectionServiceServicer_to_server,
                RejectionServicer(rejections),
            ),
        ]
        operations = Operations(SqlOperations(database, "ingest"))
        services += [
            (
                import_service_pb2_grpc.add_ImportServiceServicer_to_server,
                ImportServicer(authenticator, Imports(collector, operations)),
            ),
            (
                operation_service_pb2_grpc.add_OperationServiceServicer_to_server,
                OperationServicer(operations),
            ),
        ]
        grpc_server = rpc.RpcServer("127.0.0.1:0", services, api_keys=keys, drain_seconds=1)
        await grpc_server.start()
        port = free_port()
        pages = create_app(unsubscribe_routes(Unsubscriber(collector), LINKS))
        http = HttpServer(TrackingApi(authenticator, collector, pages), f"127.0.0.1:{port}")
        async with (
            running(http, grpc_server),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            rpc.open_channel(grpc_server.address, api_key="admin") as channel,
        ):
            ingest = Ingest(database, administration, rejections, collector, client)
            ingest.stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            ingest.source_stub = source_service_pb2_grpc.SourceServiceStub(channel)
            ingest.rejection_stub = rejection_service_pb2_grpc.RejectionServiceStub(channel)
            ingest.import_stub = import_service_pb2_grpc.ImportServiceStub(channel)
            ingest.operation_stub = operation_service_pb2_grpc.OperationServiceStub(channel)

            async def listens() -> bool:
                try:
                    return (await client.options("/v1/batch")).status_code > 0
                except httpx.ConnectError:
                    return False

            await until(listens, 10, "the HTTP server")
            yield ingest


@pytest.fixture
async def ingest(database_url: str) -> AsyncIterator[Ingest]:
    async with open_ingest(database_url) as opened:
        yield opened
