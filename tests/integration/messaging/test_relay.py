"""The relay: kills, two at once, zombies; and what readers make of the numbers."""

import asyncio
import signal
from contextlib import AsyncExitStack

import asyncpg
import pytest

from libs.database import Database
from libs.messaging import EventLog, LogGap, Partition, Position, Received, Record
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.kafka_writer import KafkaWriter
from libs.messaging.relay import Relay, _Sent
from tests.integration.messaging.harness import (
    LEASE_SECONDS,
    TOPICS,
    UPDATES,
    Deployment,
    Effects,
    Programs,
    assert_once_and_in_order,
    consumer,
    numbered,
    running,
    until,
    until_counted,
)


async def _append_all_the_time(
    database: Database, log: EventLog, name: str, values: list[str], stopping: asyncio.Event
) -> None:
    number = 0
    while not stopping.is_set():
        records = numbered(name, number, 25)
        async with database.begin() as connection:
            await log.append(connection, UPDATES, records)
        number += len(records)
        values.extend(record.value.decode() for record in records)
        await asyncio.sleep(0.04)


async def _waiting(database: Database) -> int:
    return int(await database.pool.fetchval("select coalesce(sum(records), 0) from event_log.chunks"))


async def _on_kafka(deployment: Deployment) -> list[Received]:
    """Everything on the topic, copies too."""
    async with deployment.open() as (_, log), log.subscribe("looks", [UPDATES]) as subscription:
        await until(lambda: bool(subscription.assignment.indexes), 60, "an assignment")
        positions = {Partition(UPDATES.name, n): Position(0) for n in range(deployment.partitions)}
        found: list[Received] = []
        while (reading := await subscription.read(positions, 1000)).records:
            found += reading.records
            positions |= {p: Position(offset) for p, offset in reading.next_offsets.items()}
        return found


async def test_relays_that_are_killed_under_load_leave_no_gap_and_lose_nothing(
    on_kafka: Deployment, programs: Programs
) -> None:
    values: list[str] = []
    stopping = asyncio.Event()
    async with on_kafka.open() as (database, log):

        async def something_waits() -> bool:
            return await _waiting(database) > 0

        writers = [
            asyncio.create_task(_append_all_the_time(database, log, f"w{n}", values, stopping))
            for n in range(4)
        ]
        async with running(consumer(database, log, lambda: Effects("second"), UPDATES)):
            for _ in range(3):
                relay = programs.start(on_kafka, "relay")
                await relay.ready()
                shipped = len(values)
                await until_counted(database, "second", shipped + 200)
                # Where it happens to be it stands still, until there is something before it.
                relay.signal(signal.SIGSTOP)
                await until(something_waits, what="records before the relay")
                relay.kill()
            async with running(*on_kafka.relay(database)):
                await until_counted(database, "second", len(values))
                stopping.set()
                await asyncio.gather(*writers)
                await until_counted(database, "second", len(values))

        assert 0 == await _waiting(database), "what was shipped is dropped"
        await assert_once_and_in_order(database, "second", values)
    copies = await _on_kafka(on_kafka)
    for index in range(on_kafka.partitions):
        _assert_first_copies_in_order([r.number for r in copies if r.partition == index])


def _assert_first_copies_in_order(numbers: list[int | None]) -> None:
    last = -1
    for number in numbers:
        assert number is not None
        assert number <= last + 1
        last = max(last, number)


class _AlwaysLeads(Relay):
    """A relay that never loses its lease: the worst zombie. It sends what others have read as well."""

    all_have_read: asyncio.Barrier
    _has_sent = False

    async def _hold(self) -> bool:
        return True

    async def _send(self, writer: KafkaWriter, key: tuple[int, int], rows: list[asyncpg.Record]) -> _Sent:
        if not self._has_sent:
            self._has_sent = True
            await self.all_have_read.wait()
        return await super()._send(writer, key, rows)


async def test_relays_that_all_believe_to_be_alone_make_only_copies(on_kafka: Deployment) -> None:
    values: list[str] = []
    stopping = asyncio.Event()
    async with on_kafka.open() as (database, log):
        relays = [
            _AlwaysLeads(database, KafkaAccess(on_kafka.kafka), TOPICS, f"zombie {n}", on_kafka.namespace)
            for n in range(3)
        ]
        _AlwaysLeads.all_have_read = asyncio.Barrier(len(relays))
        writers = [
            asyncio.create_task(_append_all_the_time(database, log, f"w{n}", values, stopping))
            for n in range(4)
        ]
        async with running(consumer(database, log, lambda: Effects("second"), UPDATES), *relays):
            await until(lambda: len(values) > 2000, 60, "load")
            stopping.set()
            await asyncio.gather(*writers)
            await until_counted(database, "second", len(values))

        await assert_once_and_in_order(database, "second", values)
    copies = await _on_kafka(on_kafka)
    assert len(copies) > len(values), "there were copies to drop"
    for index in range(on_kafka.partitions):
        _assert_first_copies_in_order([r.number for r in copies if r.partition == index])


async def test_one_relay_works_at_a_time_and_another_takes_over(on_kafka: Deployment) -> None:
    values: list[str] = []
    async with on_kafka.open() as (database, log):

        async def append() -> None:
            async with database.begin() as connection:
                await log.append(connection, UPDATES, records := numbered("w", len(values), 10))
            values.extend(record.value.decode() for record in records)

        async def holder() -> object:
            return await database.pool.fetchval("select holder from event_log.leases")

        async def another() -> bool:
            return await holder() not in (None, first)

        first, second = (on_kafka.relay(database) for _ in range(2))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(consumer(database, log, Effects("second"), UPDATES)))
            async with running(*first):
                await append()
                await until_counted(database, "second", 10)
                await stack.enter_async_context(running(*second))
                await append()
                await until_counted(database, "second", 20)
                leader = await holder()
            first = leader  # type: ignore[assignment]
            await until(another, 5 * LEASE_SECONDS, "another holder")
            await append()
            await until_counted(database, "second", 30)

        assert 0 == await database.pool.fetchval("select count(*) from event_log.leases"), "let go at the end"
        await assert_once_and_in_order(database, "second", values)


def _numbered_message(number: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    attributes = [("ce_type", b"t"), ("tessera-number", b"%d" % number)]
    return b"key w 0", b"w %d" % number, attributes


async def test_a_reader_drops_what_it_has_and_stops_at_a_gap(on_kafka: Deployment) -> None:
    async with on_kafka.open() as (database, log):
        writer = KafkaWriter(KafkaAccess(on_kafka.kafka), "test")
        topic = f"{on_kafka.namespace}.{UPDATES.name}"

        async def put(*numbers: int) -> None:
            await writer.send(topic, 0, [_numbered_message(number) for number in numbers])

        await put(0, 1, 2)
        await put(1, 2, 3, 0)  # a zombie's batch, late
        await put(4, 4)
        async with running(consumer(database, log, Effects("second"), UPDATES, workers=1)):
            await until_counted(database, "second", 5)
        await put(3, 5)
        async with running(consumer(database, log, Effects("second"), UPDATES, workers=1)):
            await until_counted(database, "second", 6)
        await put(7)

        async def read_on() -> None:
            async with running(consumer(database, log, Effects("second"), UPDATES, workers=1)):
                await until_counted(database, "second", 7, 10)

        with pytest.raises(ExceptionGroup) as caught:
            await read_on()
        await writer.close()

        assert caught.group_contains(LogGap, match="number 7 follows 5")
        await assert_once_and_in_order(database, "second", [f"w {n}" for n in range(6)])


async def test_a_record_on_kafka_is_a_cloud_event(on_kafka: Deployment) -> None:
    from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]

    async with on_kafka.open() as (database, log):
        sent = Record(b"k", "test.Happened", b"\x08\x01", 1_700_000_000_000_001, {"traceparent": "00-1"})
        await log.publish(UPDATES, [sent])
        async with database.begin() as connection:
            await log.append(connection, UPDATES, [sent])
        topic = f"{on_kafka.namespace}.{UPDATES.name}"
        plain = AIOKafkaConsumer(topic, bootstrap_servers=on_kafka.kafka, auto_offset_reset="earliest")
        async with running(*on_kafka.relay(database)), plain:
            messages = [await plain.getone(), await plain.getone()]

    direct, relayed = (dict(message.headers) for message in messages)
    for headers in (direct, relayed):
        assert b"1.0" == headers["ce_specversion"]
        assert b"test.Happened" == headers["ce_type"]
        assert b"2023-11-14T22:13:20.000001Z" == headers["ce_time"]
        assert f"/{on_kafka.namespace}/test".encode() == headers["ce_source"]
        assert b"application/protobuf" == headers["content-type"]
        assert b"00-1" == headers["traceparent"]
    assert "tessera-number" not in direct
    assert b"0" == relayed["tessera-number"]
    assert f"{topic}-{messages[1].partition}-0".encode() == relayed["ce_id"]
    assert len({direct["ce_id"], relayed["ce_id"]}) == 2
