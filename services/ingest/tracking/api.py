"""The gRPC API of tracking."""

from typing import Any

import grpc

from libs.ids import uuid_text
from libs.observability import metrics, traces
from libs.operations.wire import operation_pb
from libs.rpc.calls import TRACEPARENT_KEY
from services.ingest.sources.use_cases import Authenticator
from services.ingest.tracking import wire
from services.ingest.tracking.use_cases import Collector, Imports
from tessera.ingest.v1 import import_service_pb2, import_service_pb2_grpc, ingest_service_pb2_grpc
from tessera.ingest.v1 import ingest_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class IngestServicer(ingest_service_pb2_grpc.IngestServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, authenticator: Authenticator, collector: Collector) -> None:
        self._authenticator = authenticator
        self._collector = collector

    async def CollectEvents(
        self, request: pb.CollectEventsRequest, context: Context
    ) -> pb.CollectEventsResponse:
        source = await self._authenticator.by_key(request.write_key)
        parent = _traceparent(context) if source.trusted else None
        with traces.span("ingest CollectEvents", parent):
            result = await self._collector.collect(source, wire.pb_items(request.events))
        metrics.EVENTS_ACCEPTED.labels("collect").inc(result.accepted)
        metrics.EVENTS_REJECTED.labels("collect").inc(len(result.rejections))
        return pb.CollectEventsResponse(
            accepted=result.accepted,
            rejections=[wire.rejection_pb(rejection) for rejection in result.rejections],
            warnings=[wire.warning_pb(notice) for notice in result.warnings],
        )


class ImportServicer(import_service_pb2_grpc.ImportServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, authenticator: Authenticator, imports: Imports) -> None:
        self._authenticator = authenticator
        self._imports = imports

    async def StartImport(
        self, request: import_service_pb2.StartImportRequest, context: Context
    ) -> import_service_pb2.StartImportResponse:
        source = await self._authenticator.by_id(request.source_id)
        operation = await self._imports.start(source, request.total_count, request.detail, request.request_id)
        return import_service_pb2.StartImportResponse(operation=operation_pb(operation))

    async def ImportEvents(
        self, request: import_service_pb2.ImportEventsRequest, context: Context
    ) -> import_service_pb2.ImportEventsResponse:
        source = await self._authenticator.by_id(request.source_id)
        operation_id = uuid_text(request.operation_id, "operation_id") if request.operation_id else ""
        items = wire.pb_items(request.events)
        result = await self._imports.collect(source, items, operation_id, request.done_count)
        metrics.EVENTS_ACCEPTED.labels("import").inc(result.accepted)
        metrics.EVENTS_REJECTED.labels("import").inc(len(result.rejections))
        return import_service_pb2.ImportEventsResponse(
            accepted=result.accepted,
            rejections=[wire.rejection_pb(rejection) for rejection in result.rejections],
            warnings=[wire.warning_pb(notice) for notice in result.warnings],
        )

    async def EndImport(
        self, request: import_service_pb2.EndImportRequest, context: Context
    ) -> import_service_pb2.EndImportResponse:
        operation = await self._imports.end(
            uuid_text(request.operation_id, "operation_id"),
            request.accepted_count,
            request.rejected_count,
            request.failure,
        )
        return import_service_pb2.EndImportResponse(operation=operation_pb(operation))


def _traceparent(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == TRACEPARENT_KEY and isinstance(value, str):
            return value
    return None
