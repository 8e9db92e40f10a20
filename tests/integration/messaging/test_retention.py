"""What is dropped from the log in PostgreSQL, what is not, and what a reader meets that comes too late."""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.admin.records_to_delete import RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]
from prometheus_client import REGISTRY

from libs.database import Database
from libs.messaging import EventLog, Partition, Position, Record, Topic, offsets
from libs.messaging.retention import Retention, drop_read, unread_seconds
from libs.messaging.topics import ALL, PROFILE_DEAD_LETTERS, RENDER_MESSAGES
from tests.integration.messaging.harness import (
    EVENTS,
    UPDATES,
    Deployment,
    Effects,
    consumer,
    counted,
    running,
    until,
    until_counted,
)

BRIEF = Topic("test.brief", owner="test", readers=("one", "other"), retention=timedelta(0))
WEEKLY = Topic("test.weekly", owner="test", readers=("one",))
CLOCKED = Topic("test.clocked", owner="test", readers=("one",))


@asynccontextmanager
async def _opened(deployment: Deployment, *topics: Topic) -> AsyncIterator[tuple[Database, EventLog]]:
    async with deployment.open() as (database, log):
        await log.declare(topics)
        yield database, log


async def _put(log: EventLog, topic: Topic, *values: bytes, index: int = 0, ephemeral: bool = False) -> None:
    """A chunk for each value."""
    for value in values:
        await log.publish(topic, [Record(b"", "t", value, 0, partition=index, ephemeral=ephemeral)])


async def _read_up_to(database: Database, group: str, topic: Topic, offset: int, index: int = 0) -> None:
    async with database.begin() as connection:
        before = await offsets.load(connection, group, [topic.name], [index])
        after = {Partition(topic.name, index): Position(offset)}
        await offsets.advance(connection, group, before, after, {})


async def _age(database: Database, days: int) -> None:
    """Make all that is in the log older."""
    await database.pool.execute(
        "update event_log.chunks set create_time = create_time - make_interval(days => $1)", days
    )


async def _left(database: Database) -> list[int]:
    rows = await database.pool.fetch("select next_offset from event_log.chunks order by 1")
    return [row["next_offset"] for row in rows]


async def test_a_chunk_goes_when_every_declared_reader_has_read_it_and_retention_has_passed(
    on_postgres: Deployment,
) -> None:
    async with _opened(on_postgres, BRIEF) as (database, log):
        await _put(log, BRIEF, b"1", b"2", b"3")
        await _read_up_to(database, "one", BRIEF, 3)
        await _read_up_to(database, "other", BRIEF, 1)
        await drop_read(database, on_postgres.namespace, [BRIEF])
        assert [2, 3] == await _left(database)

        await _read_up_to(database, "other", BRIEF, 3)
        await drop_read(database, on_postgres.namespace, [BRIEF])
        assert [] == await _left(database)


async def test_what_retention_promises_stays_though_all_have_read_it(on_postgres: Deployment) -> None:
    async with _opened(on_postgres, WEEKLY) as (database, log):
        await _put(log, WEEKLY, b"1")
        await _age(database, 2)
        await _put(log, WEEKLY, b"2")
        await _read_up_to(database, "one", WEEKLY, 2)
        await drop_read(database, on_postgres.namespace, [WEEKLY])
        assert [1, 2] == await _left(database)

        await _age(database, 6)
        await drop_read(database, on_postgres.namespace, [WEEKLY])
        assert [2] == await _left(database)


@pytest.mark.parametrize("topic", [RENDER_MESSAGES, PROFILE_DEAD_LETTERS])
async def test_topics_that_nobody_reads_are_dropped_by_their_retention(
    on_postgres: Deployment, topic: Topic
) -> None:
    assert not topic.readers
    days = topic.retention.days
    async with _opened(on_postgres, topic) as (database, log):
        await _put(log, topic, b"old")
        await _age(database, 2)
        await _put(log, topic, b"new")
        await _age(database, days - 1)
        await drop_read(database, on_postgres.namespace, [topic])

        assert [2] == await _left(database)


async def test_a_former_reader_of_a_topic_no_longer_keeps_it(on_postgres: Deployment) -> None:
    async with _opened(on_postgres, WEEKLY) as (database, log):
        await _put(log, WEEKLY, b"1", b"2")
        # It has read the first record once, and nobody declares it any more.
        await _read_up_to(database, "former", WEEKLY, 1)
        await _read_up_to(database, "one", WEEKLY, 2)
        await _age(database, 8)
        await drop_read(database, on_postgres.namespace, [WEEKLY])

        assert [] == await _left(database)


@pytest.mark.parametrize("began", [True, False])
async def test_what_a_declared_reader_that_is_down_has_not_read_stays_for_four_weeks(
    on_postgres: Deployment, began: bool
) -> None:
    async with _opened(on_postgres, WEEKLY) as (database, log):
        await _put(log, WEEKLY, b"1", b"2")
        if began:
            await _read_up_to(database, "one", WEEKLY, 1)
        await _age(database, 27)
        await drop_read(database, on_postgres.namespace, [WEEKLY])
        kept = await _left(database)
        unread = await unread_seconds(database, on_postgres.namespace, [WEEKLY, UPDATES])
        await _age(database, 2)
        await drop_read(database, on_postgres.namespace, [WEEKLY])
        lost = await database.pool.fetch("select lost_through from event_log.offsets where lost_through > 0")

        assert ([2] if began else [1, 2]) == kept
        assert 27 * 86_400 == pytest.approx(unread[WEEKLY.name], abs=600)
        assert 0 == unread[UPDATES.name], "nothing is in it"
        assert [] == await _left(database)
        # Who never read begins with what is left: nothing of its own was lost.
        assert ([2] if began else []) == [row["lost_through"] for row in lost]


async def test_an_ephemeral_chunk_goes_when_all_have_read_it_whatever_its_retention(
    on_postgres: Deployment,
) -> None:
    async with _opened(on_postgres, CLOCKED) as (database, log):
        await _put(log, CLOCKED, b"clock", b"clock", ephemeral=True)
        await _put(log, CLOCKED, b"change")
        await _put(log, CLOCKED, b"clock", ephemeral=True)
        mixed = [Record(b"", "t", b"", 0, partition=0, ephemeral=n > 0) for n in range(2)]
        await log.publish(CLOCKED, mixed)
        await _read_up_to(database, "one", CLOCKED, 1)
        await drop_read(database, on_postgres.namespace, [CLOCKED])
        assert [2, 3, 4, 6] == await _left(database)

        await _read_up_to(database, "one", CLOCKED, 6)
        await drop_read(database, on_postgres.namespace, [CLOCKED])
        assert [3, 6] == await _left(database), "what is not all ephemeral stays"

        async with log.subscribe("late", [CLOCKED]) as subscription:
            reading = await subscription.read({Partition(CLOCKED.name, 0): Position(0)}, 100)
        assert [2, 4, 5] == [record.offset for record in reading.records]


async def test_ephemeral_chunks_that_nobody_reads_go_with_retention_and_are_no_loss(
    on_postgres: Deployment,
) -> None:
    async with _opened(on_postgres, CLOCKED) as (database, log):
        await _put(log, CLOCKED, b"change")
        await _read_up_to(database, "one", CLOCKED, 1)
        await _put(log, CLOCKED, b"clock", b"clock", ephemeral=True)
        await _put(log, CLOCKED, b"change")
        await _age(database, 8)
        await drop_read(database, on_postgres.namespace, [CLOCKED])
        assert [4] == await _left(database)

        async with log.subscribe("one", [CLOCKED]) as subscription:
            reading = await subscription.read({Partition(CLOCKED.name, 0): Position(1)}, 100)
        assert [3] == [record.offset for record in reading.records]
        assert not reading.gaps


async def test_what_a_declared_reader_has_not_begun_with_stays(on_postgres: Deployment) -> None:
    async with _opened(on_postgres, BRIEF) as (database, log):
        await _put(log, BRIEF, b"1")
        assert 0 == await drop_read(database, on_postgres.namespace, [BRIEF])

        # Nor does it go where a group has begun with the topic, but not with this partition.
        await _put(log, BRIEF, b"2", index=1)
        await _read_up_to(database, "one", BRIEF, 1, index=0)
        await _read_up_to(database, "other", BRIEF, 1, index=1)
        assert 0 == await drop_read(database, on_postgres.namespace, [BRIEF])


@pytest.mark.parametrize("most", [1, 3])
async def test_a_batch_is_bounded_for_each_partition(on_postgres: Deployment, most: int) -> None:
    async with _opened(on_postgres, BRIEF) as (database, log):
        for index in range(2):
            await _put(log, BRIEF, *(b"%d" % n for n in range(5)), index=index)
            for group in BRIEF.readers:
                await _read_up_to(database, group, BRIEF, 5, index=index)

        assert 2 * most == await drop_read(database, on_postgres.namespace, [BRIEF], most)


async def test_another_deployments_and_another_services_topics_are_left_alone(
    on_postgres: Deployment,
) -> None:
    unread = dataclasses.replace(BRIEF, readers=())
    async with _opened(on_postgres, unread) as (database, log):
        await _put(log, unread, b"1")
        assert 0 == await drop_read(database, "elsewhere", [unread])
        assert 0 == await drop_read(database, on_postgres.namespace, [UPDATES])

        # The component does by itself what the function does when it is told.
        async with running(Retention(database, on_postgres.namespace, [unread])):

            async def gone() -> bool:
                return [] == await _left(database)

            await until(gone, 60, "the drop")


def test_every_topic_says_who_reads_it() -> None:
    assert {
        "ingest.events": ("profile",),
        "ingest.imports": ("profile",),
        "profile.updates": ("segment", "recommend"),
        "segment.transitions": ("render",),
    } == {topic.name: topic.readers for topic in ALL if topic.readers}


async def test_a_group_that_no_topic_declares_may_not_consume(on_postgres: Deployment) -> None:
    async with on_postgres.open() as (database, log):
        with pytest.raises(ValueError, match=r"stranger is no declared reader of test\.events"):
            consumer(database, log, Effects("first"), group="stranger")


async def _drop_below(deployment: Deployment, database: Database, offset: int) -> None:
    """Drop the first records of partition 0, as retention does once a backlog is older."""
    if not deployment.kafka:
        await _age(database, 29)
        assert await drop_read(database, deployment.namespace, [EVENTS])
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.kafka)
    await admin.start()
    partition = TopicPartition(f"{deployment.namespace}.{EVENTS.name}", 0)
    await admin.delete_records({partition: RecordsToDelete(before_offset=offset)})
    await admin.close()


def _lost() -> float:
    labels: Mapping[str, str] = {"group": "reads test.events", "topic": EVENTS.name}
    return REGISTRY.get_sample_value("tessera_lost_records_total", dict(labels)) or 0.0


async def test_a_backlog_that_exceeds_retention_is_counted_and_stops_its_partition_alone(
    deployment: Deployment,
) -> None:
    async with deployment.open() as (database, log):
        member = consumer(database, log, lambda: Effects("first"))
        await _put(log, EVENTS, b"read")
        async with running(member):
            await until_counted(database, "first", 1)
        await _put(log, EVENTS, b"lost", b"lost")
        await _drop_below(deployment, database, 3)
        await _put(log, EVENTS, b"behind")
        lost = _lost()
        async with running(member):
            await until(lambda: _lost() == lost + 2, 60, "the count")
            await _put(log, EVENTS, b"elsewhere", index=1)
            await until_counted(database, "first", 2)
        async with running(member):
            await until(lambda: _lost() == lost + 4, 60, "another start tells it again")
        assert 2 == await counted(database, "first")

        # What docs/production.md tells: go on behind what is lost.
        status = await database.pool.execute(
            "update event_log.offsets set next_offset = lost_through, outbox_number = -1 "
            "where lost_through > next_offset"
        )
        assert "UPDATE 1" == status
        async with running(member):
            await until_counted(database, "first", 3)
        values = [row["value"] for row in await database.pool.fetch("select value from effects order by 1")]

        assert ["behind", "elsewhere", "read"] == values
