"""The gRPC API of tracking."""

from typing import Any

import grpc

from libs.observability import metrics, traces
from libs.rpc.calls import TRACEPARENT_KEY
from services.ingest.sources.use_cases import Authenticator
from services.ingest.tracking import wire
from services.ingest.tracking.use_cases import Collector
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1 import ingest_service_pb2_grpc

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

    async def ImportEvents(
        self, request: pb.ImportEventsRequest, context: Context
    ) -> pb.ImportEventsResponse:
        source = await self._authenticator.by_id(request.source_id)
        result = await self._collector.collect_imports(source, wire.pb_items(request.events))
        metrics.EVENTS_ACCEPTED.labels("import").inc(result.accepted)
        metrics.EVENTS_REJECTED.labels("import").inc(len(result.rejections))
        return pb.ImportEventsResponse(
            accepted=result.accepted,
            rejections=[wire.rejection_pb(rejection) for rejection in result.rejections],
            warnings=[wire.warning_pb(notice) for notice in result.warnings],
        )


def _traceparent(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == TRACEPARENT_KEY and isinstance(value, str):
            return value
    return None
