"""The gRPC API of rejected events."""

from typing import Any, Final

import grpc

from libs import rpc
from services.ingest.rejections import wire
from services.ingest.rejections.use_cases import Rejections
from tessera.ingest.v1 import rejection_service_pb2 as pb
from tessera.ingest.v1 import rejection_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_NEWEST: Final = 1 << 62


class RejectionServicer(rejection_service_pb2_grpc.RejectionServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, rejections: Rejections) -> None:
        self._rejections = rejections

    async def ListRejectedEvents(
        self, request: pb.ListRejectedEventsRequest, context: Context
    ) -> pb.ListRejectedEventsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        rejected_of = f"rejected/{request.source_id}"
        (before,) = rpc.decode_token(request.page_token, rejected_of, tuple[int]) or (_NEWEST,)
        kept, displaced = await self._rejections.page(before, size, request.source_id)
        token = rpc.encode_token(rejected_of, kept[-1].rejection_id) if len(kept) == size else ""
        return pb.ListRejectedEventsResponse(
            rejected_events=[wire.rejected_pb(one) for one in kept],
            next_page_token=token,
            displaced_count=displaced,
        )
