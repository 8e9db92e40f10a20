"""What both logs promise when processes are killed or stopped under load."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.messaging import EventLog
from tests.integration.messaging.harness import (
    EVENTS,
    UPDATES,
    Deployment,
    Effects,
    Program,
    Programs,
    assert_once_and_in_order,
    consumer,
    counted,
    numbered,
    running,
    until,
    until_counted,
)


async def test_what_was_acknowledged_is_stored_though_its_writer_is_killed(
    deployment: Deployment, programs: Programs
) -> None:
    acknowledged: list[str] = []
    async with deployment.open() as (database, log):
        writers = [programs.start(deployment, "publish", name=f"life {life}") for life in range(3)]
        for writer in writers:
            await until(lambda w=writer: len(w.lines()) > 300, 60, "a writer under load")  # type: ignore[misc]
            writer.kill()
            lines = writer.lines()
            assert "ready" == lines[0]
            acknowledged += lines[1:]
        async with running(consumer(database, log, lambda: Effects("first"))):
            await until_counted(database, "first", len(acknowledged))
            await log.publish(EVENTS, numbered("last", 0, 50, keys=50))

            async def all_read() -> bool:
                last = "select count(*) from effects where value like 'last %'"
                return bool(50 == await database.pool.fetchval(last))

            await until(all_read, 60, "the end")
        stored = [row["value"] for row in await database.pool.fetch("select value from effects")]

    assert len(acknowledged) >= 900
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    # The kills came under load: they caught records that were stored, but whose writer did not live to
    # hear of it; or at the least cut off writers that had been answered until then.
    assert all(any(v.startswith(f"life {life}.") for v in acknowledged) for life in range(3))


@asynccontextmanager
async def _load(log: EventLog, values: list[str]) -> AsyncIterator[None]:
    """Publish all the time."""
    stopping = asyncio.Event()

    async def write(name: str) -> None:
        number = 0
        while not stopping.is_set():
            records = numbered(name, number, 20)
            await log.publish(EVENTS, records)
            number += len(records)
            values.extend(record.value.decode() for record in records)
            await asyncio.sleep(0.05)

    writers = [asyncio.create_task(write(f"w{n}")) for n in range(2)]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*writers)


async def _in_the_middle_of_a_batch(member: Program) -> None:
    """Wait for a batch that has begun since now."""
    begun = len(member.lines())
    await until(lambda: len(member.lines()) > begun + 1 or not member.said("ready"), 60, "a batch")


def _in_batches(member: Program) -> int:
    return sum(int(line.split()[-1]) for line in member.lines()[1:])


async def test_a_member_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    deployment: Deployment, programs: Programs
) -> None:
    values: list[str] = []
    async with deployment.open() as (database, log):

        async def something_waits() -> bool:
            return await counted(database, "first") < len(values)

        settings = {"batch_records": 50, "workers": 2}
        survivor = consumer(database, log, lambda: Effects("first", UPDATES))
        last = consumer(database, log, lambda: Effects("second"), UPDATES)
        async with running(last, *deployment.relay(database)):
            async with _load(log, values):
                members = [
                    programs.start(deployment, "consume", seconds=0.05, settings=settings) for _ in range(2)
                ]
                for member in members:
                    await member.ready()
                    await _in_the_middle_of_a_batch(member)
                # It has committed some, and is at work on more.
                await until_counted(database, "first", 1)
                members[0].kill()
                begun = _in_batches(members[0])
                await until_counted(database, "first", len(values) + 100)
                await _in_the_middle_of_a_batch(members[1])
                members[1].signal(signal.SIGSTOP)
                await until(something_waits, what="records before the second member")
                members[1].kill()
                async with running(survivor):
                    await until_counted(database, "first", len(values) + 100)
            async with running(survivor):
                await until_counted(database, "first", len(values))
                await until_counted(database, "second", len(values))

        assert begun > 0
        await assert_once_and_in_order(database, "first", values)
        await assert_once_and_in_order(database, "second", values)


async def test_a_zombie_that_comes_back_after_its_session_writes_nothing_twice(
    deployment: Deployment, programs: Programs
) -> None:
    values: list[str] = []
    async with deployment.open() as (database, log):
        settings = {"batch_records": 50, "workers": 1}
        async with _load(log, values):
            zombie = programs.start(deployment, "consume", seconds=0.3, settings=settings)
            await zombie.ready()
            await _in_the_middle_of_a_batch(zombie)
            zombie.signal(signal.SIGSTOP)
            stood = await counted(database, "first")
            async with running(consumer(database, log, lambda: Effects("first", UPDATES))):
                # Its session is over: somebody else reads its partitions, past its unfinished batch.
                await until_counted(database, "first", stood + 200)
                begun = len(zombie.lines())
                zombie.signal(signal.SIGCONT)
                await until(lambda: "consumer retries" in zombie.log(), 60, "the fence")
                await until(lambda: len(zombie.lines()) > begun, 60, "a new share for it")
                zombie.stop()
        async with running(consumer(database, log, lambda: Effects("first", UPDATES))):
            await until_counted(database, "first", len(values))

        await assert_once_and_in_order(database, "first", values)
