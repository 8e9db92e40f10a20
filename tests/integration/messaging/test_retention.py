"""What is dropped from the log in PostgreSQL, and what is not."""

from datetime import timedelta

import pytest

from libs.database import Database
from libs.messaging import EventLog, Partition, Position, Record, Topic, offsets
from libs.messaging.retention import Retention, drop_read
from tests.integration.messaging.harness import EVENTS, UPDATES, Deployment, running, until

BRIEF = Topic("test.brief", owner="test", retention=timedelta(0))


async def _put(log: EventLog, topic: Topic, *values: bytes, index: int = 0, ephemeral: bool = False) -> None:
    """A chunk for each value."""
    for value in values:
        await log.publish(topic, [Record(b"", "t", value, 0, partition=index, ephemeral=ephemeral)])


async def _read_up_to(database: Database, group: str, topic: Topic, offset: int, index: int = 0) -> None:
    async with database.begin() as connection:
        before = await offsets.load(connection, group, [topic.name], [index])
        after = {Partition(topic.name, index): Position(offset)}
        await offsets.advance(connection, group, before, after, {})


async def _left(database: Database) -> list[int]:
    rows = await database.pool.fetch("select next_offset from event_log.chunks order by 1")
    return [row["next_offset"] for row in rows]


async def test_a_chunk_goes_when_every_group_has_read_it_and_retention_has_passed(
    on_postgres: Deployment,
) -> None:
    async with on_postgres.open() as (database, log):
        await log.declare([BRIEF])
        await _put(log, BRIEF, b"1", b"2", b"3")
        await _read_up_to(database, "one", BRIEF, 3)
        await _read_up_to(database, "other", BRIEF, 1)
        await drop_read(database, on_postgres.namespace)
        assert [2, 3] == await _left(database)

        await _read_up_to(database, "other", BRIEF, 3)
        await drop_read(database, on_postgres.namespace)
        assert [] == await _left(database)


async def test_what_retention_promises_stays_though_all_have_read_it(on_postgres: Deployment) -> None:
    async with on_postgres.open() as (database, log):
        await _put(log, EVENTS, b"1", b"2")
        await _read_up_to(database, "one", EVENTS, 2)
        await drop_read(database, on_postgres.namespace)
        assert [1, 2] == await _left(database)

        await database.pool.execute(
            "update event_log.chunks set create_time = create_time - interval '8 days' where next_offset = 1"
        )
        await drop_read(database, on_postgres.namespace)
        assert [2] == await _left(database)


async def test_an_ephemeral_chunk_goes_when_all_have_read_it_whatever_its_retention(
    on_postgres: Deployment,
) -> None:
    async with on_postgres.open() as (database, log):
        await _put(log, UPDATES, b"clock", b"clock", ephemeral=True)
        await _put(log, UPDATES, b"change")
        await _put(log, UPDATES, b"clock", ephemeral=True)
        mixed = [Record(b"", "t", b"", 0, partition=0, ephemeral=n > 0) for n in range(2)]
        await log.publish(UPDATES, mixed)
        await _read_up_to(database, "one", UPDATES, 1)
        await drop_read(database, on_postgres.namespace)
        assert [2, 3, 4, 6] == await _left(database)

        await _read_up_to(database, "one", UPDATES, 6)
        await drop_read(database, on_postgres.namespace)
        assert [3, 6] == await _left(database), "what is not all ephemeral stays"

        async with log.subscribe("late", [UPDATES]) as subscription:
            reading = await subscription.read({Partition(UPDATES.name, 0): Position(0)}, 100)
        assert [2, 4, 5] == [record.offset for record in reading.records]


async def test_what_nobody_ever_read_stays(on_postgres: Deployment) -> None:
    async with on_postgres.open() as (database, log):
        await log.declare([BRIEF])
        await _put(log, BRIEF, b"1")
        assert 0 == await drop_read(database, on_postgres.namespace)

        # Nor does it go where a group has begun with the topic, but not with this partition.
        await _put(log, BRIEF, b"2", index=1)
        await _read_up_to(database, "one", BRIEF, 1, index=0)
        await _read_up_to(database, "other", BRIEF, 1, index=1)
        assert 0 == await drop_read(database, on_postgres.namespace)


@pytest.mark.parametrize("most", [1, 3])
async def test_a_batch_is_bounded_for_each_partition(on_postgres: Deployment, most: int) -> None:
    async with on_postgres.open() as (database, log):
        await log.declare([BRIEF])
        for index in range(2):
            await _put(log, BRIEF, *(b"%d" % n for n in range(5)), index=index)
            await _read_up_to(database, "one", BRIEF, 5, index=index)

        assert 2 * most == await drop_read(database, on_postgres.namespace, most)


async def test_another_deployments_topics_are_left_alone(on_postgres: Deployment) -> None:
    async with on_postgres.open() as (database, log):
        await log.declare([BRIEF])
        await _put(log, BRIEF, b"1")
        await _read_up_to(database, "one", BRIEF, 1)
        assert 0 == await drop_read(database, "elsewhere")

        # The component does by itself what the function does when it is told.
        async with running(Retention(database, on_postgres.namespace)):

            async def gone() -> bool:
                return [] == await _left(database)

            await until(gone, 5, "the drop")
