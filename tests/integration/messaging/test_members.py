"""Members of a PostgreSQL group share its partitions."""

import asyncio
import uuid
from contextlib import AsyncExitStack

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.database import open_database
from libs.messaging import PostgresLog, members
from tests.integration.messaging.harness import Deployment, until


@given(st.lists(st.uuids(), min_size=1, max_size=9, unique=True), st.sampled_from([1, 2, 8, 64]))
def test_targets_cover_every_partition_once_and_evenly(living: list[uuid.UUID], partitions: int) -> None:
    living = sorted(living)
    targets = [members._target(living, member, partitions) for member in living]

    assert list(range(partitions)) == sorted(index for target in targets for index in target)
    assert max(map(len, targets)) - min(map(len, targets)) <= 1


@pytest.fixture
async def connections(on_postgres: Deployment) -> list[asyncpg.Connection]:  # type: ignore[misc]
    made = [await asyncpg.connect(on_postgres.database_url) for _ in range(3)]
    yield made
    for connection in made:
        connection.terminate()


async def test_nobody_takes_what_another_still_holds(connections: list[asyncpg.Connection]) -> None:
    ids = sorted(uuid.uuid4() for _ in range(2))

    async def beat(member: int) -> tuple[int, ...]:
        return await members.beat(connections[member], "g", ids[member], 4, 600.0)

    assert (0, 1, 2, 3) == await beat(0)
    assert () == await beat(1), "the first has not given anything up yet"
    assert (0, 2) == await beat(0)
    assert (1, 3) == await beat(1)
    await members.leave(connections[0], "g", ids[0])
    assert (0, 1, 2, 3) == await beat(1)


async def test_a_member_whose_connection_is_gone_loses_its_share_at_once(
    connections: list[asyncpg.Connection],
) -> None:
    first, second = (uuid.uuid4() for _ in range(2))
    await members.beat(connections[0], "g", first, 4, 60.0)
    connections[0].terminate()

    async def taken() -> bool:
        return (0, 1, 2, 3) == await members.beat(connections[1], "g", second, 4, 60.0)

    await until(taken, 60, "the share of the dead")


async def test_a_member_that_is_silent_for_its_session_loses_its_share_and_may_return(
    connections: list[asyncpg.Connection],
) -> None:
    first, second = sorted(uuid.uuid4() for _ in range(2))
    await members.beat(connections[0], "g", first, 4, 0.2)

    async def taken() -> bool:
        return (0, 1, 2, 3) == await members.beat(connections[1], "g", second, 4, 0.2)

    await until(taken, 60, "the share of the silent")
    assert () == await members.beat(connections[0], "g", first, 4, 600.0)
    assert (1, 3) == await members.beat(connections[1], "g", second, 4, 600.0)
    assert (0, 2) == await members.beat(connections[0], "g", first, 4, 600.0)


async def test_a_member_that_hangs_in_a_heartbeat_does_not_cost_the_others_theirs(
    on_postgres: Deployment, connections: list[asyncpg.Connection]
) -> None:
    async with open_database(on_postgres.database_url, "test") as database, AsyncExitStack() as stack:
        log = PostgresLog(database, on_postgres.partitions, on_postgres.namespace, session_seconds=60)
        subscription, other = [await stack.enter_async_context(log.subscribe("g", [])) for _ in range(2)]

        async def shared() -> bool:
            return 2 == len(subscription.assignment.indexes) == len(other.assignment.indexes)

        await until(shared, 60, "shares")
        generations = subscription.assignment.generation, other.assignment.generation
        # Stops in the middle of a beat, with the group's lock, as a SIGSTOP would make it.
        hanging = connections[0]
        await hanging.execute("set idle_in_transaction_session_timeout = '1s'")
        transaction = hanging.transaction()
        await transaction.start()
        await hanging.execute(
            "select pg_advisory_xact_lock(hashtext($1))", f"group {on_postgres.namespace}.g"
        )
        beats = "select min(heartbeat) from event_log.members"
        stood = await connections[1].fetchval(beats)

        async def beaten() -> bool:
            return bool(await connections[1].fetchval(f"select ({beats}) > $1", stood))

        await until(beaten, 60, "further heartbeats")
        await asyncio.sleep(0)

        assert generations == (subscription.assignment.generation, other.assignment.generation)
        assert hanging.is_closed()
