"""The gRPC API of the directory."""

from typing import Any

import grpc

from libs import rpc
from libs.errors import Required
from services.profile.directory import wire
from services.profile.directory.use_cases import Profiles
from tessera.profile.v1 import profile_service_pb2 as pb
from tessera.profile.v1 import profile_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class ProfileServicer(profile_service_pb2_grpc.ProfileServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def GetProfile(self, request: pb.GetProfileRequest, context: Context) -> pb.GetProfileResponse:
        by = request.WhichOneof("by")
        if by is None:
            raise Required("profile_id", "is required, or identifier")
        if by == "identifier":
            identifier = wire.identifier_of(request.identifier)
            profile = await self._profiles.find(identifier, request.min_revision)
        else:
            profile = await self._profiles.get(request.profile_id, request.min_revision)
        return pb.GetProfileResponse(profile=wire.profile_pb(profile))

    async def BatchGetProfiles(
        self, request: pb.BatchGetProfilesRequest, context: Context
    ) -> pb.BatchGetProfilesResponse:
        found = await self._profiles.batch(request.profile_ids)
        return pb.BatchGetProfilesResponse(
            profiles={asked: wire.profile_pb(profile) for asked, profile in found.profiles.items()},
            remaining_profile_ids=found.remaining,
        )

    async def ListProfiles(
        self, request: pb.ListProfilesRequest, context: Context
    ) -> pb.ListProfilesResponse:
        size = rpc.page_size(request.page_size, 50, 1000)
        after = rpc.uuid_behind(request.page_token, "profiles")
        page = await self._profiles.page(after, size, count_all=request.count_all)
        token = rpc.encode_token("profiles", page.last) if page.last else ""
        return pb.ListProfilesResponse(
            profiles=[wire.profile_pb(profile) for profile in page.profiles],
            next_page_token=token,
            total_size=page.total,
        )
