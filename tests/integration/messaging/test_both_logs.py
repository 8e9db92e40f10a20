"""What both logs promise, in one process: order, sharing, positions, times, dead letters."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import pytest
from prometheus_client import REGISTRY

from libs.database import Connection, Database
from libs.messaging import (
    Batch,
    EventLog,
    OffsetConflict,
    Outcome,
    Partition,
    Position,
    Reading,
    Received,
    Record,
    Subscription,
    Topic,
    TopicDiffers,
    TopicMissing,
    offsets,
    slot_of,
)
from libs.messaging.dead_letters import read_letters
from libs.messaging.records import MOST_BYTES
from tests.integration.messaging.harness import (
    EVENTS,
    IMPORTS,
    LETTERS,
    POISON,
    TYPED,
    UPDATES,
    Deployment,
    Effects,
    assert_once_and_in_order,
    consumer,
    counted,
    numbered,
    running,
    until,
    until_counted,
)


async def _read_all(
    subscription: Subscription, topic: Topic, partitions: int, count: int, limit: int = 100
) -> list[Received]:
    """Read a topic from its beginning until `count` records have come."""
    positions = {Partition(topic.name, index): Position(0) for index in range(partitions)}
    found: list[Received] = []

    async def enough() -> bool:
        reading = await subscription.read(positions, limit)
        found.extend(reading.records)
        for partition, offset in reading.next_offsets.items():
            positions[partition] = Position(offset)
        return len(found) >= count

    await until(lambda: bool(subscription.assignment.indexes), 60, "an assignment")
    await until(enough, 60, f"{count} records")
    return found


def _key_of(index: int, partitions: int) -> bytes:
    """A key that belongs to a partition."""
    return next(key for n in range(1000) if slot_of(key := b"key %d" % n) % partitions == index)


async def test_a_record_comes_back_as_it_was_written(deployment: Deployment) -> None:
    records = [
        Record(b"", "test.Empty", b"", 0, partition=1),
        Record(b"\x00\xff", "test.Bytes", bytes(range(256)), 1_700_000_000_123_456, {"traceparent": "00-é"}),
        Record("clé".encode(), "test.Large", b"x" * 700_000, 2**51, partition=3),
    ]
    async with deployment.open() as (_, log):
        await log.publish(EVENTS, records)
        async with log.subscribe("group", [EVENTS]) as subscription:
            found = await _read_all(subscription, EVENTS, deployment.partitions, len(records))

    expected = {
        (r.key, r.type, r.value, r.time, tuple((r.headers or {}).items()), r.partition) for r in records
    }
    second = slot_of(b"\x00\xff") % deployment.partitions
    assert {e if e[5] is not None else (*e[:5], second) for e in expected} == {
        (r.key, r.type, r.value, r.time, tuple(r.headers.items()), r.partition) for r in found
    }
    assert {"test.events"} == {record.topic for record in found}


async def test_records_of_a_key_keep_their_order_whoever_writes_the_partition(
    deployment: Deployment,
) -> None:
    values: list[str] = []

    async def write(log: EventLog, writer: str) -> None:
        for start in range(0, 600, 30):
            records = numbered(writer, start, 30)
            await log.publish(EVENTS, records)
            values.extend(record.value.decode() for record in records)

    async with deployment.open() as (database, log), deployment.open() as (other_database, other_log):
        first = consumer(database, log, lambda: Effects("first", UPDATES))
        second = consumer(other_database, other_log, lambda: Effects("second"), UPDATES)
        async with running(first, second, *deployment.relay(database)):
            await asyncio.gather(*(write(log, f"a{n}") for n in range(3)), write(other_log, "b"))
            await until_counted(database, "second", len(values))

        assert 2400 == len(values)
        await assert_once_and_in_order(database, "first", values)
        await assert_once_and_in_order(database, "second", values)


async def test_two_members_share_the_partitions_and_one_leaves(deployment: Deployment) -> None:
    handlers = [Effects("first"), Effects("first")]
    values: list[str] = []

    async with AsyncExitStack() as stack:
        database, log = await stack.enter_async_context(deployment.open())

        async def write(rounds: int) -> None:
            for _ in range(rounds):
                records = numbered("w", len(values), 100)
                await log.publish(EVENTS, records)
                values.extend(record.value.decode() for record in records)
                await asyncio.sleep(0)

        async def both_progress() -> bool:
            await write(1)
            return all(handler.handled > 200 for handler in handlers)

        await stack.enter_async_context(running(consumer(database, log, handlers[0], workers=1)))
        async with (
            deployment.open() as (other_database, other_log),
            running(consumer(other_database, other_log, handlers[1], workers=1)),
        ):
            await until(both_progress, 60, "progress of both members")
            await write(5)
        left = handlers[1].handled
        await write(10)
        await until_counted(database, "first", len(values))

        assert left == handlers[1].handled
        assert all(handler.handled for handler in handlers)
        await assert_once_and_in_order(database, "first", values)


class _Fails(Effects):
    """Applies a batch, then fails as often as told."""

    def __init__(self, stage: str, failures: int) -> None:
        super().__init__(stage)
        self._failures = failures

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        outcome = await super().handle(connection, batch)
        if self._failures:
            self._failures -= 1
            raise ConnectionError("passes")
        return outcome


async def test_a_batch_that_fails_for_a_while_is_handled_once(deployment: Deployment) -> None:
    records = numbered("w", 0, 500)
    handler = _Fails("first", failures=3)
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, records)
        async with running(consumer(database, log, handler, workers=1)):
            await until_counted(database, "first", len(records))

        assert handler.forgotten >= 3
        await assert_once_and_in_order(database, "first", [r.value.decode() for r in records])


async def _letters(database: Database, log: EventLog, deployment: Deployment, count: int) -> list[Received]:
    async with running(*deployment.relay(database)), log.subscribe("letters", [LETTERS]) as subscription:
        return await _read_all(subscription, LETTERS, deployment.partitions, count)


async def test_a_poisoned_record_becomes_a_dead_letter_and_the_rest_is_handled(
    deployment: Deployment,
) -> None:
    records = numbered("w", 0, 300)
    records[150:150] = [Record(b"bad", "test.Bad", POISON, 5, {"traceparent": "00-1"})]
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, records)
        async with running(consumer(database, log, lambda: Effects("first"))):
            await until_counted(database, "first", 300)
            (letter,) = await _letters(database, log, deployment, 1)

        assert (POISON, "test.Bad", b"bad", 5) == (letter.value, letter.type, letter.key, letter.time)
        assert "ValueError: poisoned" == letter.headers["reason"]
        assert ("test.events", "00-1") == (letter.headers["topic"], letter.headers["traceparent"])
        await assert_once_and_in_order(
            database, "first", [r.value.decode() for r in records if r.value != POISON]
        )


def _unknown() -> float:
    labels = {"group": "reads test.typed", "topic": TYPED.name}
    return REGISTRY.get_sample_value("tessera_unknown_records_total", labels) or 0.0


async def test_records_of_an_unknown_type_are_counted_and_left_out(deployment: Deployment) -> None:
    strangers = [Record(b"k", type_, POISON, 1) for type_ in ("test.Renamed", "", "test.Happened2")]
    async with deployment.open() as (database, log):
        await log.declare([TYPED])
        await log.publish(TYPED, [*numbered("w", 0, 20), *strangers, *numbered("w", 20, 20)])
        await log.publish(TYPED, strangers)
        counted_before = _unknown()
        async with running(consumer(database, log, lambda: Effects("first"), TYPED)):
            await until_counted(database, "first", 40)
            await until(lambda: _unknown() == counted_before + 6, what="the count")
        letters = await read_letters(log, LETTERS)

        assert 40 == await counted(database, "first")
        assert [] == letters


async def test_a_burst_of_poison_stops_its_partition_alone_and_loses_nothing(deployment: Deployment) -> None:
    ill, well = (_key_of(index, deployment.partitions) for index in (1, 2))
    poisoned = [Record(ill, "test.Bad", POISON, n) for n in range(5)]
    behind = [Record(ill, "test.Good", b"behind %d" % n, n) for n in range(700)]
    async with deployment.open() as (database, log):
        # In many small pieces, so that what lies behind has been fetched by the time of the stop.
        await log.publish(EVENTS, [*poisoned, *behind[:50]])
        for start in range(50, 700, 50):
            await log.publish(EVENTS, behind[start : start + 50])
        await log.publish(EVENTS, [Record(well, "test.Good", b"well %d" % n, n) for n in range(700)])
        async with running(consumer(database, log, lambda: Effects("first"), burst=3, batch_records=100)):
            await until_counted(database, "first", 700)
            await log.publish(EVENTS, [Record(well, "test.Good", b"later", 1)])
            await until_counted(database, "first", 701)
        letters = await _letters(database, log, deployment, 3)
        stopped = await database.pool.fetchval(
            "select next_offset from event_log.offsets where topic = $1 and partition = 1", EVENTS.name
        )

        assert 3 == len(letters)
        assert 3 == stopped, "the partition waits at the fourth poisoned record"
        assert 701 == await counted(database, "first")

        class Cured(Effects):
            async def handle(self, connection: Connection, batch: Batch) -> Outcome:
                kept = [record for record in batch.records if record.value != POISON]
                return await super().handle(connection, Batch(kept, batch.indexes)) if kept else Outcome()

        async with running(consumer(database, log, lambda: Cured("first"))):
            await until_counted(database, "first", 1401)
        assert 1401 == await counted(database, "first")


async def test_background_topics_are_read_only_while_the_live_ones_are_drained(
    deployment: Deployment,
) -> None:
    async with deployment.open() as (database, log):
        await log.publish(IMPORTS, numbered("old", 0, 900))
        await log.publish(EVENTS, numbered("new", 0, 900))
        handler = Effects("first")
        both = consumer(database, log, handler, background=(IMPORTS,), workers=1, batch_records=100)
        async with running(both):
            await until_counted(database, "first", 1800)
            # A live record that comes late does not wait for anything, nor is anything forgotten.
            await log.publish(EVENTS, numbered("new", 900, 1))
            await until_counted(database, "first", 1801)
        topics = [
            row["topic"] for row in await database.pool.fetch("select topic from effects order by effect_id")
        ]

        assert ["test.events"] * 900 == topics[:900]
        assert ["test.imports"] * 900 == topics[900:1800]


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def _until_all_assigned(subscription: Subscription, partitions: int) -> None:
    await until(lambda: len(subscription.assignment.indexes) == partitions, 60, "an assignment")


async def test_a_partition_at_its_end_is_through_the_time_before_the_read(deployment: Deployment) -> None:
    async with deployment.open() as (_, log):
        clock = _Clock()
        log._clock = clock  # type: ignore[attr-defined]
        key = _key_of(2, deployment.partitions)
        await log.publish(EVENTS, [Record(key, "test.Happened", b"x", 7_000_000)])
        async with log.subscribe("group", [EVENTS]) as subscription:
            await _until_all_assigned(subscription, deployment.partitions)
            partitions = [Partition(EVENTS.name, n) for n in range(deployment.partitions)]
            reading = Reading([], {})

            async def found() -> bool:
                nonlocal reading
                reading = await subscription.read(dict.fromkeys(partitions, Position(0)), 100)
                return bool(reading.records)

            await until(found, 60, "the record")
            clock.now = 2_000.0
            positions = {p: Position(reading.next_offsets.get(p, 0)) for p in partitions}
            at_end = await subscription.read(positions, 100)

            assert [b"x"] == [record.value for record in reading.records]
            assert 1_000_000_000 == reading.through[partitions[2]]
            assert dict.fromkeys(partitions, 2_000_000_000) == at_end.through
            assert not at_end.records


async def test_a_partition_read_in_part_is_through_its_last_records_time(deployment: Deployment) -> None:
    async with deployment.open() as (_, log):
        key = _key_of(0, deployment.partitions)
        for n in range(40):
            # A chunk, or a batch on Kafka, of its own each.
            await log.publish(EVENTS, [Record(key, "test.Happened", b"%d" % n, 1_000 + n)])
        async with log.subscribe("group", [EVENTS]) as subscription:
            await _until_all_assigned(subscription, deployment.partitions)
            position, through = 0, -1
            partition = Partition(EVENTS.name, 0)
            seen: list[bytes] = []

            async def step() -> bool:
                nonlocal position, through
                reading = await subscription.read({partition: Position(position)}, 7)
                seen.extend(record.value for record in reading.records)
                if partition in reading.next_offsets:
                    position = reading.next_offsets[partition]
                    if position < 40:
                        assert 1_000 + position - 1 == reading.through[partition]
                elif position < 40:
                    assert partition not in reading.through
                return position == 40

            await until(step, 60, "the end")

        assert [b"%d" % n for n in range(40)] == seen


async def test_reading_goes_on_from_any_position(deployment: Deployment) -> None:
    async with deployment.open() as (_, log):
        key = _key_of(0, deployment.partitions)
        for start in range(0, 100, 10):
            await log.publish(
                EVENTS, [Record(key, "t", b"%d" % n, 1_000 + n) for n in range(start, start + 10)]
            )
        async with log.subscribe("group", [EVENTS]) as subscription:
            await _until_all_assigned(subscription, deployment.partitions)
            partition = Partition(EVENTS.name, 0)
            # Forward, back, into the middle of a chunk, to the end, to the beginning.
            for position in (0, 50, 55, 3, 99, 100, 98, 0):
                reading = await subscription.read({partition: Position(position)}, 10)

                values = [int(record.value) for record in reading.records]
                assert values == list(range(position, position + len(values)))
                assert bool(values) == (position < 100)
                # Entered in its middle, a chunk is no sign of the log's end.
                if values and values[-1] < 99:
                    assert 1_000 + values[-1] == reading.through[partition]


async def test_a_member_that_lost_its_partition_cannot_write(deployment: Deployment) -> None:
    partition = Partition(EVENTS.name, 0)
    async with deployment.open() as (database, _):
        async with database.begin() as connection:
            before = await offsets.load(connection, "group", [EVENTS.name], [0])
        async with database.begin() as connection:
            await offsets.advance(connection, "group", before, {partition: Position(5)}, {})

        async def write_late() -> None:
            async with database.begin() as connection:
                await connection.execute(
                    "insert into effects (stage, topic, partition, key, value) "
                    "values ('zombie', '', 0, '', '')"
                )
                await offsets.advance(connection, "group", before, {partition: Position(9)}, {})

        with pytest.raises(OffsetConflict):
            await write_late()
        assert 0 == await counted(database, "zombie")


class _Maintains(Effects):
    """Does other work of the owner twice, and is interfered with the first time."""

    def __init__(self, interfere: Callable[[], Awaitable[None]]) -> None:
        super().__init__("first")
        self.attempts = 0
        self.done = 0
        self._interfere = interfere

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        if self.done == 2:
            return None
        self.attempts += 1
        await connection.execute(
            "insert into effects (stage, topic, partition, key, value) values ('maintained', '', 0, '', '')"
        )
        if self.attempts == 1:
            await self._interfere()

        def done() -> None:
            self.done += 1

        return Outcome([(UPDATES, [Record(b"m", "test.Maintained", b"m", 1)])], after_commit=done)


async def test_the_owners_other_work_commits_only_while_nobody_else_has_moved_the_offsets(
    deployment: Deployment,
) -> None:
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, numbered("w", 0, 50))

        async def interfere() -> None:
            # To a place that is in the log, whether this member has read the partition or not.
            status = await database.pool.execute(
                "update event_log.offsets set next_offset = case next_offset when 0 then 1 else 0 end "
                "where partition = 0"
            )
            assert "UPDATE 1" == status

        handler = _Maintains(interfere)
        async with running(consumer(database, log, handler, workers=1)):
            await until(lambda: handler.done == 2, 60, "the work")

        assert 3 == handler.attempts
        assert 2 == await counted(database, "maintained"), "the interfered attempt was rolled back"


async def test_the_time_that_a_group_is_through_moves_on_while_nothing_comes(deployment: Deployment) -> None:
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, numbered("w", 0, 20))

        async def through() -> int:
            async with database.pool.acquire() as connection:
                group, partitions = "reads test.events", deployment.partitions
                return await offsets.read_through(connection, group, EVENTS.name, partitions) or 0

        async with running(consumer(database, log, lambda: Effects("first"))):
            await until_counted(database, "first", 20)
            asked = time.time_ns() // 1000

            async def moved_on() -> bool:
                return await through() > asked

            await until(moved_on, 60, "the time")

            # A busy partition does not keep the time of the others back.
            busy = _key_of(0, deployment.partitions)
            asked = time.time_ns() // 1000
            others: Mapping[int, int] = {}

            async def others_moved_on() -> bool:
                nonlocal others
                now = time.time_ns() // 1000
                await log.publish(EVENTS, [Record(busy, "t", b"busy %d" % n, now) for n in range(50)])
                rows = await database.pool.fetch(
                    "select partition, read_through from event_log.offsets where partition <> 0"
                )
                others = {row["partition"]: row["read_through"] for row in rows}
                return all(value > asked for value in others.values())

            await until(others_moved_on, 60, "the time of the idle partitions")


async def test_a_topic_that_is_missing_or_has_other_partitions_is_refused(deployment: Deployment) -> None:
    elsewhere = Topic("test.elsewhere", owner="nobody")
    async with deployment.open() as (_, log):
        with pytest.raises(TopicMissing, match="nobody"):
            async with log.subscribe("group", [elsewhere]):
                pass
    wider = Deployment(deployment.kafka, deployment.database_url, deployment.namespace, partitions=8)
    async with wider.open() as (_, log):
        with pytest.raises(TopicDiffers, match="TOPIC_PARTITIONS is 8"):
            async with log.subscribe("group", [EVENTS]):
                pass
        with pytest.raises(TopicDiffers, match="TOPIC_PARTITIONS is 8"):
            await log.declare([EVENTS])


async def test_declaring_again_changes_nothing(deployment: Deployment) -> None:
    async with deployment.open() as (database, log):
        await asyncio.gather(*(log.declare([EVENTS, UPDATES]) for _ in range(3)))
        await log.publish(EVENTS, numbered("w", 0, 10))
        async with log.subscribe("group", [EVENTS]) as subscription:
            found = await _read_all(subscription, EVENTS, deployment.partitions, 10)

        assert 10 == len(found)
        assert 4 == await database.pool.fetchval("select max(topic_id) from event_log.topics")


async def test_a_record_that_kafka_could_not_hold_is_refused_by_either_log(deployment: Deployment) -> None:
    large = Record(b"k", "test.Large", b"x" * MOST_BYTES, 1)
    async with deployment.open() as (database, log):
        with pytest.raises(ValueError, match="is the limit"):
            await log.publish(EVENTS, [large])
        async with database.begin() as connection:
            with pytest.raises(ValueError, match="is the limit"):
                await log.append(connection, EVENTS, [large])


async def test_a_transaction_that_rolls_back_appends_nothing(deployment: Deployment) -> None:
    async with deployment.open() as (database, log):

        async def fail() -> None:
            async with database.begin() as connection:
                await log.append(connection, UPDATES, numbered("lost", 0, 10))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with database.begin() as connection:
            await log.append(connection, UPDATES, numbered("kept", 0, 10))
        async with (
            running(*deployment.relay(database)),
            log.subscribe("group", [UPDATES]) as subscription,
        ):
            found = await _read_all(subscription, UPDATES, deployment.partitions, 10)

        assert {"kept"} == {record.value.decode().split()[0] for record in found}
        if deployment.kafka:
            assert all(record.number == record.offset for record in found)


async def test_the_first_writers_of_a_process_do_not_wait_for_each_others_connections(
    deployment: Deployment,
) -> None:
    async with deployment.open() as (database, log), asyncio.timeout(10):
        ready = asyncio.Barrier(8)  # the pool's size

        async def write(name: str) -> None:
            async with database.begin() as connection:
                await ready.wait()
                await log.append(connection, UPDATES, numbered(name, 0, 1))

        await asyncio.gather(*(write(f"w{n}") for n in range(8)))


async def test_the_log_answers(deployment: Deployment) -> None:
    async with deployment.open() as (_, log):
        await log.check()
