"""Reads whole histories from profile."""

from collections.abc import Mapping, Sequence

import grpc

from libs import rpc
from services.segment import convert
from services.segment.domain import Update
from services.segment.ports import History
from tessera.profile.v1 import profile_service_pb2 as pb
from tessera.profile.v1 import profile_service_pb2_grpc

# The consumer's transaction is open meanwhile: rather try again than hold it.
_SECONDS = 8.0


class ProfileHistories:
    """Histories by profile's ReadHistory."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = profile_service_pb2_grpc.ProfileServiceStub(channel)

    async def read(self, profile_ids: Sequence[str]) -> Mapping[str, History]:
        updates: dict[str, list[Update]] = {profile_id: [] for profile_id in profile_ids}
        revisions: dict[str, int] = {}
        try:
            request = pb.ReadHistoryRequest(profile_ids=profile_ids)
            async for part in self._stub.ReadHistory(request, timeout=_SECONDS):
                updates[part.profile_id] += map(convert.update_of_pb, part.updates)
                if part.HasField("revision"):
                    revisions[part.profile_id] = part.revision
        except grpc.aio.AioRpcError as error:
            raise rpc.error_from(error) from error
        return {id_: History(found, revisions[id_]) for id_, found in updates.items()}
