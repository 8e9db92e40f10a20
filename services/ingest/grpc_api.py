"""The gRPC API of ingest."""

from typing import Any

import grpc

from libs import rpc
from libs.observability import metrics
from services.ingest import convert
from services.ingest.handlers import Administration, Collector
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1 import ingest_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_NEWEST = 1 << 62


class IngestServicer(ingest_service_pb2_grpc.IngestServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, collector: Collector, administration: Administration) -> None:
        self._collector = collector
        self._administration = administration

    async def CollectEvents(
        self, request: pb.CollectEventsRequest, context: Context
    ) -> pb.CollectEventsResponse:
        source = await self._collector.source_of(request.write_key)
        result = await self._collector.collect(source, convert.pb_items(request.events))
        metrics.EVENTS_ACCEPTED.labels("collect").inc(result.accepted)
        metrics.EVENTS_REJECTED.labels("collect").inc(len(result.rejections))
        rejections = [convert.rejection_pb(rejection) for rejection in result.rejections]
        return pb.CollectEventsResponse(accepted=result.accepted, rejections=rejections)

    async def ImportEvents(
        self, request: pb.ImportEventsRequest, context: Context
    ) -> pb.ImportEventsResponse:
        items = convert.pb_items(request.events)
        result = await self._collector.collect_imports(request.source_id, items)
        metrics.EVENTS_ACCEPTED.labels("import").inc(result.accepted)
        metrics.EVENTS_REJECTED.labels("import").inc(len(result.rejections))
        rejections = [convert.rejection_pb(rejection) for rejection in result.rejections]
        return pb.ImportEventsResponse(accepted=result.accepted, rejections=rejections)

    async def CreateSource(
        self, request: pb.CreateSourceRequest, context: Context
    ) -> pb.CreateSourceResponse:
        source = await self._administration.create(convert.source_of(request.source))
        return pb.CreateSourceResponse(source=convert.source_pb(source))

    async def ListSources(self, request: pb.ListSourcesRequest, context: Context) -> pb.ListSourcesResponse:
        sources = await self._administration.sources()
        return pb.ListSourcesResponse(sources=[convert.source_pb(source) for source in sources])

    async def ListRejectedEvents(
        self, request: pb.ListRejectedEventsRequest, context: Context
    ) -> pb.ListRejectedEventsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        rejected_of = f"rejected/{request.source_id}"
        (before,) = rpc.decode_token(request.page_token, rejected_of, tuple[int]) or (_NEWEST,)
        kept = await self._administration.rejections(before, size, request.source_id)
        token = rpc.encode_token(rejected_of, kept[-1].rejection_id) if len(kept) == size else ""
        return pb.ListRejectedEventsResponse(
            rejected_events=[convert.rejected_pb(one) for one in kept], next_page_token=token
        )
