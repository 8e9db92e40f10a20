"""Reads whole histories from profile."""

from collections.abc import AsyncIterator, Sequence

import grpc

from libs import rpc
from libs.errors import Unavailable
from services.segment import convert
from services.segment.ports import HistoryPart
from tessera.profile.v1 import history_service_pb2 as pb
from tessera.profile.v1 import history_service_pb2_grpc

# The consumer's transaction is open meanwhile: rather try again than hold it.
_SECONDS = 8.0


class ProfileHistories:
    """Histories by profile's ReadHistory."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = history_service_pb2_grpc.HistoryServiceStub(channel)

    async def read(self, profile_ids: Sequence[str]) -> AsyncIterator[HistoryPart]:
        try:
            request = pb.ReadHistoryRequest(profile_ids=profile_ids)
            async for part in self._stub.ReadHistory(request, timeout=_SECONDS):
                yield HistoryPart(
                    part.profile_id,
                    [convert.update_of_pb(step) for step in part.steps],
                    part.revision if part.HasField("revision") else None,
                )
        except grpc.aio.AioRpcError as error:
            # Whatever profile answers, no record is at fault: the batch waits until it answers well.
            raise Unavailable(f"profile's history: {rpc.error_from(error)}") from error
