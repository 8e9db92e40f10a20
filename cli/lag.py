"""How far the readers of the log are, over PostgreSQL and over Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from cli.running import Running
from libs.errors import Unavailable
from libs.messaging.topics import INGEST_EVENTS, INGEST_IMPORTS, PROFILE_UPDATES, SEGMENT_TRANSITIONS

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

# Whose work leads to whose: a stage is done when all that the one before it wrote has been read.
STAGES = tuple(
    (topic.name, topic.readers)
    for topic in (INGEST_EVENTS, INGEST_IMPORTS, PROFILE_UPDATES, SEGMENT_TRANSITIONS)
)

_COUNTERS = """
select p.partition, p.next_offset, coalesce(s.next_offset, 0) as shipped
from event_log.topics as t join event_log.partitions as p using (topic_id)
left join event_log.shipped as s using (topic_id, partition)
where t.name = $1
"""
_OFFSETS = """
select group_name, partition, next_offset from event_log.offsets
where topic = $1 and group_name = any($2::text[])
"""
_PAUSE_SECONDS = 0.05
_STILL_SECONDS = 60.0


class Lag(NamedTuple):
    """How many records a group has yet to read of a topic."""

    group: str
    topic: str
    records: int


class _Log:
    """Where the partitions end, and where their readers are."""

    def __init__(self, running: Running, connection: Connection, kafka: AIOKafkaConsumer | None) -> None:
        self._namespace = running.namespace
        self._connection = connection
        self._kafka = kafka

    async def ends(self, topic: str) -> dict[int, int]:
        """The next offset of each partition, with all that has been written by now."""
        name = f"{self._namespace}.{topic}"
        rows = await self._connection.fetch(_COUNTERS, name)
        if self._kafka is None:
            return {row["partition"]: row["next_offset"] for row in rows}
        written = {row["partition"]: row["next_offset"] for row in rows}
        # What the outbox holds now must be on Kafka before Kafka's ends count.
        while any(row["shipped"] < written[row["partition"]] for row in rows):
            await asyncio.sleep(_PAUSE_SECONDS)
            rows = await self._connection.fetch(_COUNTERS, name)
        ends = await self._kafka.end_offsets([TopicPartition(name, index) for index in written])
        return {partition.partition: end for partition, end in ends.items()}

    async def left(self, topic: str, ends: dict[int, int], groups: list[str]) -> dict[str, int]:
        """How many records below `ends` each group has yet to read."""
        rows = await self._connection.fetch(_OFFSETS, topic, groups)
        offsets = {(row["group_name"], row["partition"]): row["next_offset"] for row in rows}
        return {g: sum(max(end - offsets.get((g, p), 0), 0) for p, end in ends.items()) for g in groups}


@asynccontextmanager
async def _open(running: Running) -> AsyncIterator[_Log]:
    access = running.kafka_access
    if access.servers:
        await access.probe()
    connection = await asyncpg.connect(running.database_url, timeout=5)
    kafka = AIOKafkaConsumer(**access.options(), enable_auto_commit=False) if access.servers else None
    try:
        if kafka is not None:
            try:
                await kafka.start()
            except KafkaError as error:
                raise Unavailable(f"Kafka does not answer at {access.servers}: {error}") from error
        yield _Log(running, connection, kafka)
    finally:
        if kafka is not None:
            await kafka.stop()
        await connection.close()


async def lags(running: Running) -> list[Lag]:
    """Every group's lag, in the order in which events flow."""
    async with _open(running) as log:
        found = []
        for topic, groups in STAGES:
            readers = [group for group in groups if group in running.services]
            left = await log.left(topic, await log.ends(topic), readers)
            found += [Lag(group, topic, records) for group, records in sorted(left.items())]
        return found


async def drain(
    running: Running, through: str = "render", told: Callable[[int], None] = lambda records: None
) -> None:
    """Wait, stage by stage, until all that is in the log now has had its effects in `through`.

    `told` hears how many records are left of a stage. Raises Unavailable where a reader stands still.
    """
    async with _open(running) as log:
        for topic, groups in STAGES:
            readers = [group for group in groups if group in running.services]
            # The clock's records never end: the stage's end is that of this moment.
            await _read_by(log, topic, await log.ends(topic), readers, told)
            if through in groups:
                return


async def _read_by(
    log: _Log, topic: str, ends: dict[int, int], groups: list[str], told: Callable[[int], None]
) -> None:
    moved, before = time.monotonic(), -1
    while True:
        left = sum((await log.left(topic, ends, groups)).values())
        told(left)
        if not left:
            return
        if left != before:
            moved, before = time.monotonic(), left
        elif time.monotonic() - moved > _STILL_SECONDS:
            raise Unavailable(
                f"{topic}: {left:,} records are not read on for {_STILL_SECONDS:g} s: see the log"
            )
        await asyncio.sleep(_PAUSE_SECONDS)
