"""Reading histories from a profile that refuses."""

from typing import Any

import grpc
import pytest

from libs import rpc
from libs.errors import Unavailable
from services.segment.histories import ProfileHistories
from tessera.profile.v1 import profile_service_pb2 as pb
from tessera.profile.v1 import profile_service_pb2_grpc


class Refusing(profile_service_pb2_grpc.ProfileServiceServicer):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    async def ReadHistory(  # noqa: N802 - the contract's name
        self, request: pb.ReadHistoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        await context.abort(self._code, "no")


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL],
)
async def test_whatever_profile_refuses_with_no_record_is_at_fault(code: grpc.StatusCode) -> None:
    server = grpc.aio.server()
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(Refusing(code), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with rpc.open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(Unavailable) as raised:
            _ = [part async for part in ProfileHistories(channel).read(["p"])]
    await server.stop(None)

    assert "profile's history" in raised.value.message
