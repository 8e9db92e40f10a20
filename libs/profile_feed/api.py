"""The gRPC API of those who are set aside, which every reader of profile's stream serves."""

from typing import Any, Final

import grpc

from libs import rpc
from libs.database import Database
from libs.ids import uuid_texts
from libs.profile_feed.set_aside import SetAside
from libs.times import timestamp
from tessera.operations.v1 import set_aside_service_pb2 as pb
from tessera.operations.v1 import set_aside_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_MOST: Final = 1000
_LIST: Final = "set-aside"


class SetAsideServicer(set_aside_service_pb2_grpc.SetAsideServiceServicer):
    """Lists the people whom one service has set aside, and lets them be rebuilt."""

    def __init__(self, database: Database, aside: SetAside) -> None:
        self._database = database
        self._aside = aside

    async def ListSetAsideProfiles(
        self, request: pb.ListSetAsideProfilesRequest, context: Context
    ) -> pb.ListSetAsideProfilesResponse:
        size = rpc.page_size(request.page_size, 50, _MOST)
        async with self._database.begin() as connection:
            found = await self._aside.page(connection, rpc.uuid_behind(request.page_token, _LIST), size)
        return pb.ListSetAsideProfilesResponse(
            profiles=[
                pb.SetAsideProfile(
                    profile_id=profile.profile_id,
                    reason=profile.reason,
                    set_aside_time=timestamp(profile.since),
                    attempts=profile.attempts,
                    retry_time=timestamp(profile.retry_at),
                )
                for profile in found
            ],
            next_page_token=rpc.encode_token(_LIST, found[-1].profile_id) if len(found) == size else "",
        )

    async def RebuildProfiles(
        self, request: pb.RebuildProfilesRequest, context: Context
    ) -> pb.RebuildProfilesResponse:
        profile_ids = uuid_texts(request.profile_ids, "profile_ids", _MOST)
        async with self._database.begin() as connection:
            await self._aside.ask(connection, profile_ids)
        return pb.RebuildProfilesResponse()
