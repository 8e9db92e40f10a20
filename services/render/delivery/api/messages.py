"""The gRPC API of messages."""

from typing import Any

import grpc

from libs import rpc
from services.render.delivery import wire
from services.render.delivery.ports import Filter
from services.render.delivery.use_cases import Archive
from tessera.render.v1 import message_service_pb2 as pb
from tessera.render.v1 import message_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_NEWEST = 1 << 62


class MessageServicer(message_service_pb2_grpc.MessageServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def GetMessage(self, request: pb.GetMessageRequest, context: Context) -> pb.GetMessageResponse:
        message = await self._archive.get(request.message_id)
        return pb.GetMessageResponse(message=wire.message_pb(message))

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        messages_of = (
            f"messages/{request.profile_id}/{request.campaign_id}/{request.outcome}/{request.delivery_state}"
        )
        (before,) = rpc.decode_token(request.page_token, messages_of, tuple[int]) or (_NEWEST,)
        page, more = await self._archive.page(wire.filter_of(request), before, size)
        return pb.ListMessagesResponse(
            messages=[wire.message_pb(message) for _, message in page],
            next_page_token=rpc.encode_token(messages_of, page[-1][0]) if more else "",
        )

    async def CountMessages(
        self, request: pb.CountMessagesRequest, context: Context
    ) -> pb.CountMessagesResponse:
        counts = await self._archive.counts(Filter(request.profile_id, request.campaign_id))
        return pb.CountMessagesResponse(counts=wire.counts_pb(counts))
