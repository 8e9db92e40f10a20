"""The gRPC API of memberships."""

from typing import Any

import grpc

from libs import rpc
from libs.ids import uuid_texts
from services.segment.membership import wire
from services.segment.membership.use_cases import Memberships
from tessera.segment.v1 import membership_service_pb2 as pb
from tessera.segment.v1 import membership_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_MOST_IDS = 1000
_MOST_A_PAGE = 1000


class MembershipServicer(membership_service_pb2_grpc.MembershipServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, memberships: Memberships) -> None:
        self._memberships = memberships

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        size = rpc.page_size(request.page_size, 50, _MOST_A_PAGE)
        members_of = f"members/{request.segment_id}"
        after = rpc.uuid_behind(request.page_token, members_of)
        members = await self._memberships.members(request.segment_id, after, size)
        return pb.ListMembersResponse(
            memberships=[
                wire.membership_pb(request.segment_id, profile_id, membership)
                for profile_id, membership in members
            ],
            next_page_token=rpc.encode_token(members_of, members[-1][0]) if len(members) == size else "",
        )

    async def GetMemberships(
        self, request: pb.GetMembershipsRequest, context: Context
    ) -> pb.GetMembershipsResponse:
        found = await self._memberships.of(uuid_texts(request.profile_ids, "profile_ids", _MOST_IDS))
        return pb.GetMembershipsResponse(
            memberships=[
                wire.membership_pb(segment_id, profile_id, membership)
                for profile_id, segment_id, membership in found
            ]
        )
