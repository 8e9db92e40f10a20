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
from libs.messaging import PostgresLog, chunks
from libs.messaging.topics import INGEST_EVENTS, Topic, owned_by
from services.ingest.app import SCHEMA
from services.ingest.domain import Source
from services.ingest.grpc_api import IngestServicer
from services.ingest.handlers import Administration, Collector
from services.ingest.http_api import HttpServer, create_app
from services.ingest.repository import LoggedEvents, SqlRejections, SqlSources
from tessera.ingest.v1 import ingest_service_pb2_grpc
from tessera.ingest.v1.ingest_events_pb2 import EventCollected
from tests.integration.messaging.harness import running, until

SERVER = Source("shop", trusted=True, write_key="server-key")
BROWSER = Source("site", trusted=False, write_key="browser-key")


@dataclass
class Ingest:
    """A running ingest."""

    database: Database
    sources: SqlSources
    collector: Collector
    administration: Administration
    http: httpx.AsyncClient
    stub: Any = None

    async def stored(self, topic: Topic = INGEST_EVENTS) -> list[EventCollected]:
        """The events on the log, by receive time."""
        rows = await self.database.pool.fetch(
            "select payload from event_log.chunks join event_log.topics using (topic_id) where name = $1 "
            "order by create_time, partition, next_offset",
            f"tessera.{topic.name}",
        )
        return [EventCollected.FromString(value) for row in rows for _, _, value, *_ in chunks.decode(row[0])]


@asynccontextmanager
async def open_ingest(database_url: str) -> AsyncIterator[Ingest]:
    await migrate(database_url, SCHEMA)
    async with open_database(database_url, "ingest test") as database:
        log = PostgresLog(database, 4)
        await log.declare(owned_by("ingest"))
        sources, rejections = SqlSources(database, time.monotonic), SqlRejections(database)
        collector = Collector(sources, LoggedEvents(log, random.Random(1)), rejections)
        administration = Administration(sources, rejections)
        for source in (SERVER, BROWSER):
            await administration.create(source)
        caller = rpc.Caller("admin", frozenset({"*"}))
        keys = rpc.ApiKeys({hashlib.sha256(b"admin").hexdigest(): caller})
        add = ingest_service_pb2_grpc.add_IngestServiceServicer_to_server
        servicer = IngestServicer(collector, administration)
        grpc_server = rpc.RpcServer("127.0.0.1:0", [(add, servicer)], api_keys=keys, drain_seconds=1)
        await grpc_server.start()
        port = free_port()
        http = HttpServer(create_app(collector), f"127.0.0.1:{port}")
        async with (
            running(http, grpc_server),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            rpc.open_channel(grpc_server.address, api_key="admin") as channel,
        ):
            ingest = Ingest(database, sources, collector, administration, client)
            ingest.stub = ingest_service_pb2_grpc.IngestServiceStub(channel)

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
