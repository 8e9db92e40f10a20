"""Whole histories from profile, for those whose stream has a gap."""

from collections.abc import AsyncIterator, Sequence

import grpc

from libs import rpc
from libs.errors import Unavailable
from services.recommend.interactions import wire
from services.recommend.interactions.ports import History
from tessera.profile.v1 import history_service_pb2, history_service_pb2_grpc

# Less than the ten seconds after which PostgreSQL ends a transaction that stands idle.
_HISTORY_SECONDS = 8.0


class ProfileHistories:
    """Histories over profile's gRPC API.

    The caller's key needs `pii.read` beside `profile.history`: without it profile leaves out the
    properties, which name the products.
    """

    def __init__(self, profiles: "history_service_pb2_grpc.HistoryServiceAsyncStub") -> None:
        self._profiles = profiles

    async def read(self, profile_ids: Sequence[str]) -> AsyncIterator[History]:
        request = history_service_pb2.ReadHistoryRequest(profile_ids=profile_ids)
        try:
            async for part in self._profiles.ReadHistory(request, timeout=_HISTORY_SECONDS):
                yield wire.history_of(part)
        except grpc.aio.AioRpcError as error:
            # Whatever profile answers, no record is at fault: the batch waits until it answers well.
            raise Unavailable(f"profile's history: {rpc.error_from(error)}") from error
