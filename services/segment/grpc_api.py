"""The gRPC API of segment."""

from typing import Any

import grpc

from libs import rpc
from libs.ids import uuid_text, uuid_texts
from services.segment import convert
from services.segment.handlers import Segments
from tessera.segment.v1 import segment_service_pb2 as pb
from tessera.segment.v1 import segment_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_MOST_IDS = 1000


class SegmentServicer(segment_service_pb2_grpc.SegmentServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments

    async def PutSegment(self, request: pb.PutSegmentRequest, context: Context) -> pb.PutSegmentResponse:
        stored = await self._segments.put_segment(convert.segment_of(request.segment))
        return pb.PutSegmentResponse(segment=convert.segment_pb_of(stored))

    async def GetSegment(self, request: pb.GetSegmentRequest, context: Context) -> pb.GetSegmentResponse:
        found = await self._segments.segment(request.segment_id)
        return pb.GetSegmentResponse(segment=convert.segment_pb_of(found))

    async def ListSegments(
        self, request: pb.ListSegmentsRequest, context: Context
    ) -> pb.ListSegmentsResponse:
        found = await self._segments.segments()
        return pb.ListSegmentsResponse(segments=[convert.segment_pb_of(segment) for segment in found])

    async def DeleteSegment(
        self, request: pb.DeleteSegmentRequest, context: Context
    ) -> pb.DeleteSegmentResponse:
        await self._segments.delete_segment(request.segment_id)
        return pb.DeleteSegmentResponse()

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        size = rpc.page_size(request.page_size, 50, 1000)
        members_of = f"members/{request.segment_id}"
        (last,) = rpc.decode_token(request.page_token, members_of, tuple[str]) or ("",)
        after = uuid_text(last, "page_token") if last else ""
        members = await self._segments.members(request.segment_id, after, size)
        token = rpc.encode_token(members_of, members[-1][0]) if len(members) == size else ""
        return pb.ListMembersResponse(
            memberships=[
                convert.membership_pb_of(request.segment_id, profile_id, membership)
                for profile_id, membership in members
            ],
            next_page_token=token,
        )

    async def GetMemberships(
        self, request: pb.GetMembershipsRequest, context: Context
    ) -> pb.GetMembershipsResponse:
        found = await self._segments.memberships(uuid_texts(request.profile_ids, "profile_ids", _MOST_IDS))
        return pb.GetMembershipsResponse(
            memberships=[
                convert.membership_pb_of(segment_id, profile_id, membership)
                for profile_id, segment_id, membership in found
            ]
        )

    async def PutTrigger(self, request: pb.PutTriggerRequest, context: Context) -> pb.PutTriggerResponse:
        stored = await self._segments.put_trigger(convert.trigger_of(request.trigger))
        return pb.PutTriggerResponse(trigger=convert.trigger_pb_of(stored))

    async def ListTriggers(
        self, request: pb.ListTriggersRequest, context: Context
    ) -> pb.ListTriggersResponse:
        found = await self._segments.triggers()
        return pb.ListTriggersResponse(triggers=[convert.trigger_pb_of(trigger) for trigger in found])

    async def DeleteTrigger(
        self, request: pb.DeleteTriggerRequest, context: Context
    ) -> pb.DeleteTriggerResponse:
        await self._segments.delete_trigger(request.trigger_id)
        return pb.DeleteTriggerResponse()
