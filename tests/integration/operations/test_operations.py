"""Long-running work as its callers see it: over gRPC, kept in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from libs import rpc
from libs.database import Database, open_database
from libs.operations import sql
from libs.operations.api import OperationServicer
from libs.operations.model import State
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from tessera.operations.v1 import operation_pb2, operation_service_pb2_grpc
from tessera.operations.v1 import operation_service_pb2 as pb
from tests.unit.libs.rpc.conftest import Pauses, api_keys

MINUTE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1.5
        return self.now


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, "test") as database:
        await database.pool.execute("create schema shop")
        for statement in sql.statements("shop"):
            await database.pool.execute(statement)
        yield database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def operations(database: Database, clock: Clock) -> Operations:
    return Operations(SqlOperations(database, "shop"), clock)


@pytest.fixture
async def stub(operations: Operations) -> AsyncIterator[Any]:
    add = operation_service_pb2_grpc.add_OperationServiceServicer_to_server
    keys = api_keys(operator=("operations.*",), reader=("operations.read",))
    server = rpc.RpcServer("127.0.0.1:0", [(add, OperationServicer(operations))], api_keys=keys)
    await server.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(server.run(stopping))
    async with rpc.open_channel(server.address, api_key="operator", rng=Pauses(1e9)) as channel:
        yield operation_service_pb2_grpc.OperationServiceStub(channel)
    stopping.set()
    await running


async def test_work_is_seen_from_its_start_to_its_end(operations: Operations, stub: Any) -> None:
    started = await operations.start("shop.count", "lamps", total=3)
    watched = stub.WatchOperation(pb.WatchOperationRequest(operation_id=started.operation_id))
    seen = [(await watched.read()).operation]
    async with operations.run(started) as progress:
        for done in (1, 2, 3):
            await progress.advance(done, detail=f"lamp {done}")
        seen.append((await watched.read()).operation)
        progress.result["lamps"] = 3
    seen += [answer.operation async for answer in watched]

    assert (0, 3, "lamps") == (seen[0].done, seen[0].total, seen[0].subject)
    assert operation_pb2.OPERATION_STATE_RUNNING == seen[0].state
    assert (3, "lamp 3") == (seen[1].done, seen[1].detail)
    assert operation_pb2.OPERATION_STATE_SUCCEEDED == seen[-1].state
    assert b'{"lamps":3}' == seen[-1].result_json
    assert seen[-1].create_time.ToNanoseconds() < seen[-1].end_time.ToNanoseconds()


async def test_a_watch_ends_after_its_timeout(operations: Operations, stub: Any) -> None:
    started = await operations.start("shop.count")

    request = pb.WatchOperationRequest(operation_id=started.operation_id, timeout={"nanos": 1})
    assert 1 == len([answer async for answer in stub.WatchOperation(request)])


async def test_work_that_is_cancelled_ends_at_its_next_step(operations: Operations, stub: Any) -> None:
    started = await operations.start("shop.count", total=10)
    steps = 0
    async with operations.run(started) as progress:
        for step in range(10):
            await progress.advance(step)
            steps = step
            if step == 4:
                request = pb.CancelOperationRequest(operation_id=started.operation_id)
                assert (await stub.CancelOperation(request)).operation.cancel_requested
    ended = await operations.get(started.operation_id)

    assert (4, State.CANCELLED) == (steps, ended.state)
    again = await stub.CancelOperation(pb.CancelOperationRequest(operation_id=started.operation_id))
    assert operation_pb2.OPERATION_STATE_CANCELLED == again.operation.state


async def test_work_that_cannot_be_cancelled_says_so(operations: Operations, stub: Any) -> None:
    started = await operations.start("shop.count", cancellable=False)

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.CancelOperation(pb.CancelOperationRequest(operation_id=started.operation_id))
    assert grpc.StatusCode.FAILED_PRECONDITION is failed.value.code()


async def test_work_that_fails_tells_why_and_raises(operations: Operations) -> None:
    started = await operations.start("shop.count")
    with pytest.raises(ZeroDivisionError):
        async with operations.run(started) as progress:
            await progress.advance(1 // 0)
    ended = await operations.get(started.operation_id)

    assert (State.FAILED, "ZeroDivisionError") == (ended.state, ended.detail)


async def test_work_whose_process_is_gone_fails_after_a_while(operations: Operations, clock: Clock) -> None:
    gone = await operations.start("shop.count", "gone")
    waiting = await operations.start("shop.count", "waits for its turn")
    alive = await operations.start("shop.count", "alive")
    store = operations._store
    for each in (gone, alive):
        await store.advance(each.operation_id, 1, 2, "", int(clock() * 1e6))
    clock.now += 3 * MINUTE
    await store.advance(alive.operation_id, 2, 2, "", int(clock() * 1e6))

    assert 1 == await operations.fail_silent()
    assert State.FAILED is (await operations.get(gone.operation_id)).state
    assert State.RUNNING is (await operations.get(waiting.operation_id)).state
    assert State.RUNNING is (await operations.get(alive.operation_id)).state


async def test_the_same_request_starts_work_once(operations: Operations) -> None:
    first = await operations.start("shop.count", request_id="r1")
    again = await operations.start("shop.count", request_id="r1")
    other = await operations.start("shop.count", request_id="r2")

    assert first.operation_id == again.operation_id != other.operation_id


async def test_operations_are_listed_newest_first_in_pages(operations: Operations, stub: Any) -> None:
    made = [await operations.start("shop.count" if n % 2 else "shop.sort", str(n)) for n in range(7)]
    listed, token = [], ""
    while True:
        page = await stub.ListOperations(
            pb.ListOperationsRequest(page_size=2, page_token=token, kind="shop.count")
        )
        listed += [one.operation_id for one in page.operations]
        token = page.next_page_token
        if not token:
            break

    assert [one.operation_id for one in reversed(made) if one.kind == "shop.count"] == listed


async def test_an_operation_that_nobody_knows_is_not_found(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetOperation(pb.GetOperationRequest(operation_id="00000000-0000-0000-0000-000000000000"))
    assert grpc.StatusCode.NOT_FOUND is failed.value.code()
