"""Wires ingest: the only module that knows everything."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.database import Schema
from libs.hosting import open_foundations
from libs.http_server import HttpServer
from libs.lifecycle import Component
from libs.operations import sql as operations_sql
from libs.operations.api import OperationServicer
from libs.operations.jobs import SilenceJob
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from libs.rpc.server import Service
from libs.settings import Role
from libs.unsubscribe import Links, keys_of
from services.ingest.rejections import sql as rejections_sql
from services.ingest.rejections.api import RejectionServicer
from services.ingest.rejections.sql import SqlRejections
from services.ingest.rejections.use_cases import Rejections
from services.ingest.settings import Settings
from services.ingest.sources import sql as sources_sql
from services.ingest.sources.api import SourceServicer
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
from tessera.operations.v1 import operation_service_pb2_grpc

SCHEMA = Schema(
    "ingest",
    Path(__file__).parent / "migrations",
    tables=(*sources_sql.TABLES, *rejections_sql.TABLES, operations_sql.table("ingest")),
)


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base:
        if role == "migrate":
            return
        sources = SqlSources(base.database)
        authenticator = Authenticator(RememberedSources(sources, time.monotonic))
        rejections = Rejections(SqlRejections(base.database), settings.rejections_kept)
        collector = Collector(LoggedEvents(base.event_log, random.Random()), rejections)
        operations = Operations(SqlOperations(base.database, "ingest"))
        services: list[Service] = [
            (
                ingest_service_pb2_grpc.add_IngestServiceServicer_to_server,
                IngestServicer(authenticator, collector),
            ),
            (
                import_service_pb2_grpc.add_ImportServiceServicer_to_server,
                ImportServicer(authenticator, Imports(collector, operations)),
            ),
            (
                source_service_pb2_grpc.add_SourceServiceServicer_to_server,
                SourceServicer(SourceAdministration(sources)),
            ),
            (
                rejection_service_pb2_grpc.add_RejectionServiceServicer_to_server,
                RejectionServicer(rejections),
            ),
            (
                operation_service_pb2_grpc.add_OperationServiceServicer_to_server,
                OperationServicer(operations),
            ),
        ]
        keys = keys_of(settings.unsubscribe_keys)
        pages = create_app(unsubscribe_routes(Unsubscriber(collector), Links(keys)) if keys else ())
        api = TrackingApi(authenticator, collector, pages, settings.trace_public)
        components: list[Component] = []
        if base.serves:
            components += [HttpServer(api, settings.http_address), SilenceJob(operations)]
        await base.run(services, components)


def create_app(routes: Sequence[Route]) -> Starlette:
    """The pages, and the answer to browsers that ask before they send to the tracking API."""
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["*"], max_age=86_400
    )
    return Starlette(routes=routes, middleware=[cors], exception_handlers={HTTPException: _no_such_call})


async def _no_such_call(request: Request, error: Exception) -> Response:
    """An SDK that finds no `code` in an answer fails, or sends again for ever."""
    assert isinstance(error, HTTPException)
    content: dict[str, object] = {"success": False, "code": "NOT_FOUND", "message": error.detail}
    return JSONResponse(content, error.status_code)
