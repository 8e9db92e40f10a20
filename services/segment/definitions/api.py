"""The gRPC API of segments."""

from typing import Any

import grpc

from libs import rpc
from libs.etags import check_etag
from libs.rpc.resources import updated
from services.segment.definitions import wire
from services.segment.definitions.use_cases import Segments
from tessera.segment.v1 import segment_pb2, segment_service_pb2_grpc
from tessera.segment.v1 import segment_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]
_MOST_A_PAGE = 500
_NEWEST = 1 << 62


class SegmentServicer(segment_service_pb2_grpc.SegmentServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments

    async def CreateSegment(
        self, request: pb.CreateSegmentRequest, context: Context
    ) -> pb.CreateSegmentResponse:
        definition = wire.segment_of(request.segment)
        kept, warnings = await self._segments.create(definition, request.request_id, request.validate_only)
        return pb.CreateSegmentResponse(segment=wire.segment_pb(kept), warnings=wire.warnings_pb(warnings))

    async def GetSegment(self, request: pb.GetSegmentRequest, context: Context) -> pb.GetSegmentResponse:
        found = await self._segments.get(request.segment_id)
        return pb.GetSegmentResponse(segment=wire.segment_pb(found))

    async def ListSegments(
        self, request: pb.ListSegmentsRequest, context: Context
    ) -> pb.ListSegmentsResponse:
        size = rpc.page_size(request.page_size, 50, _MOST_A_PAGE)
        (after,) = rpc.decode_token(request.page_token, "segments", tuple[str]) or ("",)
        found = await self._segments.page(after, size)
        token = rpc.encode_token("segments", found[-1].segment_id) if len(found) == size else ""
        return pb.ListSegmentsResponse(segments=map(wire.segment_pb, found), next_page_token=token)

    async def UpdateSegment(
        self, request: pb.UpdateSegmentRequest, context: Context
    ) -> pb.UpdateSegmentResponse:
        given = request.segment
        base = await self._segments.find(given.segment_id)
        if base is None and request.allow_missing:
            check_etag(given.etag, "", f"segment {given.segment_id}")
            kept, warnings = await self._segments.create(
                wire.segment_of(given), validate_only=request.validate_only
            )
        else:
            base = base or await self._segments.get(given.segment_id)
            check_etag(given.etag, wire.segment_etag(base), f"segment {base.segment_id}")
            stored = segment_pb2.Segment(
                segment_id=base.segment_id, display_name=base.display_name, expression=base.expression
            )
            wanted = wire.segment_of(updated(stored, given, request.update_mask, wire.UPDATABLE))
            kept, warnings = await self._segments.update(wanted, base, request.validate_only)
        return pb.UpdateSegmentResponse(segment=wire.segment_pb(kept), warnings=wire.warnings_pb(warnings))

    async def DeleteSegment(
        self, request: pb.DeleteSegmentRequest, context: Context
    ) -> pb.DeleteSegmentResponse:
        base = await self._segments.find(request.segment_id)
        if base is None and request.allow_missing:
            return pb.DeleteSegmentResponse()
        base = base or await self._segments.get(request.segment_id)
        check_etag(request.etag, wire.segment_etag(base), f"segment {base.segment_id}")
        await self._segments.delete(base)
        return pb.DeleteSegmentResponse()

    async def ListSegmentVersions(
        self, request: pb.ListSegmentVersionsRequest, context: Context
    ) -> pb.ListSegmentVersionsResponse:
        size = rpc.page_size(request.page_size, 50, _MOST_A_PAGE)
        versions_of = f"segment-versions/{request.segment_id}"
        (before,) = rpc.decode_token(request.page_token, versions_of, tuple[int]) or (_NEWEST,)
        found = await self._segments.versions(request.segment_id, before, size)
        token = rpc.encode_token(versions_of, found[-1].version) if len(found) == size else ""
        return pb.ListSegmentVersionsResponse(versions=map(wire.version_pb, found), next_page_token=token)
