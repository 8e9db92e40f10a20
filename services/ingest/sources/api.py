"""The gRPC API of sources."""

from typing import Any, Final

import grpc

from libs import rpc
from libs.etags import check_etag
from services.ingest.sources import wire
from services.ingest.sources.model import Source
from services.ingest.sources.use_cases import SourceAdministration
from tessera.ingest.v1 import source_service_pb2 as pb
from tessera.ingest.v1 import source_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_SOURCES: Final = "sources"
_NEWEST: Final = 1 << 62


class SourceServicer(source_service_pb2_grpc.SourceServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, administration: SourceAdministration) -> None:
        self._administration = administration

    async def CreateSource(
        self, request: pb.CreateSourceRequest, context: Context
    ) -> pb.CreateSourceResponse:
        source = await self._administration.create(
            wire.source_of(request.source), request.write_key, request.request_id, request.validate_only
        )
        return pb.CreateSourceResponse(source=wire.source_pb(source))

    async def GetSource(self, request: pb.GetSourceRequest, context: Context) -> pb.GetSourceResponse:
        source = await self._administration.get(request.source_id)
        return pb.GetSourceResponse(source=wire.source_pb(source))

    async def ListSources(self, request: pb.ListSourcesRequest, context: Context) -> pb.ListSourcesResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        (after,) = rpc.decode_token(request.page_token, _SOURCES, tuple[str]) or ("",)
        page = await self._administration.page(after, size)
        token = rpc.encode_token(_SOURCES, page[-1].source_id) if len(page) == size else ""
        return pb.ListSourcesResponse(
            sources=[wire.source_pb(source) for source in page], next_page_token=token
        )

    async def UpdateSource(
        self, request: pb.UpdateSourceRequest, context: Context
    ) -> pb.UpdateSourceResponse:
        source = await self._administration.update(
            request.source.source_id, wire.changed(request), request.allow_missing, request.validate_only
        )
        return pb.UpdateSourceResponse(source=wire.source_pb(source))

    async def DeleteSource(
        self, request: pb.DeleteSourceRequest, context: Context
    ) -> pb.DeleteSourceResponse:
        def check(source: Source) -> None:
            check_etag(request.etag, wire.etag(source), f"source {source.source_id}")

        await self._administration.delete(request.source_id, request.allow_missing, check)
        return pb.DeleteSourceResponse()

    async def ListSourceVersions(
        self, request: pb.ListSourceVersionsRequest, context: Context
    ) -> pb.ListSourceVersionsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        versions_of = f"versions/{request.source_id}"
        (before,) = rpc.decode_token(request.page_token, versions_of, tuple[int]) or (_NEWEST,)
        page = await self._administration.versions(request.source_id, before, size)
        token = rpc.encode_token(versions_of, page[-1].version) if len(page) == size else ""
        return pb.ListSourceVersionsResponse(
            versions=[wire.version_pb(version) for version in page], next_page_token=token
        )

    async def AddSourceKey(
        self, request: pb.AddSourceKeyRequest, context: Context
    ) -> pb.AddSourceKeyResponse:
        source = await self._administration.add_key(request.source_id, request.write_key, request.request_id)
        return pb.AddSourceKeyResponse(source=wire.source_pb(source))

    async def RemoveSourceKey(
        self, request: pb.RemoveSourceKeyRequest, context: Context
    ) -> pb.RemoveSourceKeyResponse:
        source = await self._administration.remove_key(request.source_id, request.key_id)
        return pb.RemoveSourceKeyResponse(source=wire.source_pb(source))
