"""Who can't be worked with for now, as callers see it over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from libs import rpc
from libs.database import Database, open_database
from libs.profile_feed import SetAside
from libs.profile_feed.api import SetAsideServicer
from tessera.operations.v1 import set_aside_service_pb2 as pb
from tessera.operations.v1 import set_aside_service_pb2_grpc
from tests.model.lives import profile_id
from tests.unit.libs.rpc.conftest import Pauses, api_keys

NOW = 1_700_000_000.0


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, "test") as database:
        await database.pool.execute("create schema shop")
        await database.pool.execute(SetAside.ddl("shop"))
        yield database


@pytest.fixture
def aside() -> SetAside:
    return SetAside("shop", 4, lambda: NOW)


@pytest.fixture
async def stub(database: Database, aside: SetAside) -> AsyncIterator[Any]:
    add = set_aside_service_pb2_grpc.add_SetAsideServiceServicer_to_server
    keys = api_keys(operator=("operations.*",), reader=("operations.read",))
    server = rpc.RpcServer("127.0.0.1:0", [(add, SetAsideServicer(database, aside))], api_keys=keys)
    await server.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(server.run(stopping))
    async with rpc.open_channel(server.address, api_key="operator", rng=Pauses(1e9)) as channel:
        yield set_aside_service_pb2_grpc.SetAsideServiceStub(channel)
    stopping.set()
    await running


async def test_who_is_set_aside_is_listed_with_the_reason_page_by_page(
    database: Database, aside: SetAside, stub: Any
) -> None:
    ids = sorted(profile_id(number) for number in range(1, 6))
    async with database.begin() as connection:
        await aside.put(connection, {id_: f"torn {id_}" for id_ in ids})
    found: list[pb.SetAsideProfile] = []
    request = pb.ListSetAsideProfilesRequest(page_size=2)
    while True:
        page = await stub.ListSetAsideProfiles(request)
        found += page.profiles
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert ids == [one.profile_id for one in found]
    assert {f"torn {ids[0]}"} == {found[0].reason}
    assert (1, NOW) == (found[0].attempts, found[0].set_aside_time.ToSeconds())
    assert NOW < found[0].retry_time.ToSeconds()


async def test_whoever_is_asked_for_is_due_at_once(database: Database, aside: SetAside, stub: Any) -> None:
    torn, sound = profile_id(1), profile_id(2)
    async with database.begin() as connection:
        await aside.put(connection, {torn: "torn"})
        before = await aside.due(connection, range(4), 10)
    await stub.RebuildProfiles(pb.RebuildProfilesRequest(profile_ids=[torn, sound]))
    async with database.begin() as connection:
        after = await aside.due(connection, range(4), 10)

    assert [] == before
    assert {torn, sound} == set(after)


async def test_ids_that_are_none_are_refused(stub: Any) -> None:
    for wrong in ([], ["ada"], [profile_id(1)] * 1001):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.RebuildProfiles(pb.RebuildProfilesRequest(profile_ids=wrong))
        assert grpc.StatusCode.INVALID_ARGUMENT is failed.value.code()
