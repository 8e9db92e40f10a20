"""Wires ingest: the only module that knows everything."""

import random
import time
from pathlib import Path

from libs.database import Schema
from libs.hosting import open_foundations
from libs.settings import Role
from libs.unsubscribe import Links
from services.ingest.grpc_api import IngestServicer
from services.ingest.handlers import Administration, Collector
from services.ingest.http_api import HttpServer, create_app
from services.ingest.repository import LoggedEvents, SqlRejections, SqlSources
from services.ingest.settings import Settings
from services.ingest.unsubscribe_api import unsubscribe_routes
from tessera.ingest.v1 import ingest_service_pb2_grpc

SCHEMA = Schema("ingest", Path(__file__).parent / "migrations")


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base:
        if role == "migrate":
            return
        sources = SqlSources(base.database, time.monotonic)
        rejections = SqlRejections(base.database)
        collector = Collector(sources, LoggedEvents(base.event_log, random.Random()), rejections)
        servicer = IngestServicer(collector, Administration(sources, rejections))
        add = ingest_service_pb2_grpc.add_IngestServiceServicer_to_server
        key = settings.unsubscribe_key
        unsubscribe = unsubscribe_routes(collector, Links(key)) if key else ()
        app = create_app(collector, unsubscribe)
        http = [HttpServer(app, settings.http_address)] if base.serves else []
        await base.run([(add, servicer)], http)
