"""Which calls are made again, and when."""

import itertools
import random
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from libs import errors, rpc
from libs.rpc.channel import pauses
from tessera.profile.v1 import profile_service_pb2_grpc
from tessera.profile.v1.profile_pb2 import Profile
from tessera.profile.v1.profile_service_pb2 import BatchGetProfilesRequest, BatchGetProfilesResponse
from tests.unit.libs.rpc.conftest import Pauses


class FailsTwice:
    """Raises twice, then answers."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    async def __call__(self, _: Any) -> Profile:
        self.calls += 1
        if self.calls <= 2:
            raise self.error
        return Profile(profile_id="found")


async def test_an_unavailable_server_is_asked_again(running: Any, profiles: Any, request_: Any) -> None:
    profiles.get = FailsTwice(errors.Unavailable("not yet"))
    rng = Pauses(0.001)
    async with rpc.open_channel(running.server.address, api_key="admin", rng=rng) as channel:
        response = await profile_service_pb2_grpc.ProfileServiceStub(channel).GetProfile(request_)

    assert "found" == response.profile.profile_id
    assert 3 == profiles.get.calls
    assert 2 == rng.drawn


async def test_a_batch_of_a_megabyte_is_retried_too(running: Any, profiles: Any) -> None:
    answers = FailsTwice(errors.Unavailable("not yet"))

    async def batch(_: Any, context: Any) -> BatchGetProfilesResponse:
        return BatchGetProfilesResponse(profiles={"1": await answers(context)})

    profiles.batch = batch
    async with rpc.open_channel(running.server.address, api_key="admin", rng=Pauses(0)) as channel:
        await profile_service_pb2_grpc.ProfileServiceStub(channel).BatchGetProfiles(
            BatchGetProfilesRequest(profile_ids=["x" * 1_000_000])
        )

    assert 3 == answers.calls


@pytest.mark.parametrize(
    "error",
    [errors.Conflict("no"), errors.ResourceExhausted("no"), errors.NotFound("no"), RuntimeError("no")],
)
async def test_no_other_failure_is_retried(
    running: Any, profiles: Any, request_: Any, lines: Any, error: Exception
) -> None:
    profiles.get = FailsTwice(error)
    async with rpc.open_channel(running.server.address, api_key="admin", rng=Pauses(0)) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await profile_service_pb2_grpc.ProfileServiceStub(channel).GetProfile(request_)

    assert 1 == profiles.get.calls


async def test_the_deadline_bounds_the_retries(running: Any, profiles: Any, request_: Any) -> None:
    profiles.get = FailsTwice(errors.Unavailable("not yet"))
    rng = Pauses(60)
    async with rpc.open_channel(running.server.address, api_key="admin", rng=rng) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await profile_service_pb2_grpc.ProfileServiceStub(channel).GetProfile(request_, timeout=5)

    assert StatusCode.UNAVAILABLE is failed.value.code()
    assert (1, 1) == (profiles.get.calls, rng.drawn)


async def test_a_server_that_starts_late_is_found(start: Any, profiles: Any, request_: Any) -> None:
    profiles.get = FailsTwice(errors.Unavailable("not yet"))
    async with start() as gone:
        address = gone.server.address
    async with rpc.open_channel(address, api_key="admin", rng=Pauses(0.02)) as channel:
        stub: Any = profile_service_pb2_grpc.ProfileServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetProfile(request_, timeout=0.2)
        async with start(address=address):
            response = await stub.GetProfile(request_, timeout=10)

    assert "found" == response.profile.profile_id


def test_pauses_grow_up_to_a_bound_and_are_spread_from_zero() -> None:
    longest = Pauses(0)
    bounds: list[float] = []
    longest.uniform = lambda a, b: bounds.append(b) or b  # type: ignore[method-assign,func-returns-value]
    list(itertools.islice(pauses(longest), 8))
    drawn = [next(pauses(random.Random(seed))) for seed in range(200)]

    assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0] == bounds
    assert min(drawn) < 0.005
    assert 0.045 < max(drawn) <= 0.05
