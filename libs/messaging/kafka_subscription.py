"""Reads Kafka for a member of a group, from the offsets of our own database.

One task alone drives aiokafka's consumer and keeps a bounded buffer for each partition; workers
read from the buffers at any position, and where a buffer does not begin there it is filled anew.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import (  # type: ignore[import-untyped]
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    TopicPartition,
)
from aiokafka.coordinator.assignors.range import (  # type: ignore[import-untyped]
    RangePartitionAssignor,
)
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from libs.messaging import cloud_events
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.log import Assignment
from libs.messaging.news import News
from libs.messaging.records import Partition, Position, Reading, Received

log = structlog.get_logger(__name__)

_BUFFERED = 20_000
_HEARTBEAT_SECONDS = 0.3
# A fetch that finds nothing holds back, for so long, all other partitions of its broker.
_FETCH_WAIT_SECONDS = 0.1
_ENDS_SECONDS = 0.1
_ANSWER_SECONDS = 2.0
_HINT_SECONDS = 1.0
_BACK_OFF_SECONDS = 0.5


@dataclass(slots=True)
class _Buffer:
    """Records of one partition that were fetched and not yet read."""

    start: int | None = None
    """The position that the first record answers; None until somebody reads."""
    records: list[Any] = field(default_factory=list)
    ends_known: float = 0.0
    """When a read last learned where the partition ends."""
    gap: int | None = None
    """Where the log goes on, if it no longer has what comes next."""

    @property
    def next(self) -> int | None:
        return self.records[-1].offset + 1 if self.records else self.start

    def take(self, most: int) -> list[Any]:
        taken = self.records[:most]
        del self.records[:most]
        if taken:
            self.start = taken[-1].offset + 1
        return taken


class KafkaSubscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of a group that reads Kafka. Started and stopped by `run`."""

    def __init__(
        self,
        access: KafkaAccess,
        group: str,
        topics: Mapping[str, str],
        clock: Callable[[], float],
        session_seconds: float,
    ) -> None:
        """`topics` maps names to names on Kafka."""
        self._group = group
        self._topics = topics
        self._names = {full: name for name, full in topics.items()}
        self._clock = clock
        self._buffers: dict[TopicPartition, _Buffer] = {}
        self._assignment = Assignment(0, ())
        self._news = News()
        self._changed = asyncio.Event()
        self._fetching: asyncio.Task[Any] | None = None
        self._fetched: frozenset[TopicPartition] = frozenset()
        self._sought: set[TopicPartition] = set()
        self._hints: dict[TopicPartition, int] = {}
        self._failure: Exception | None = None
        options = access.options()
        self._consumer: Any = AIOKafkaConsumer(
            **options,
            client_id=group,
            group_id=group,
            enable_auto_commit=False,
            # Positions come from the database. Where Kafka has dropped what is there, a group that has
            # never read begins with what is left, and any other stops at the gap.
            auto_offset_reset="earliest",
            # By ranges an index belongs to one member in all topics, since all have as many partitions.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(session_seconds * 1000),
            heartbeat_interval_ms=int(min(_HEARTBEAT_SECONDS, session_seconds / 3) * 1000),
            fetch_max_wait_ms=int(_FETCH_WAIT_SECONDS * 1000),
            fetch_max_bytes=16 << 20,
        )
        # A second connection: a broker answers one request of a connection at a time, and the
        # consumer's usually holds a fetch that waits for records.
        self._asking: Any = AIOKafkaConsumer(**options, client_id=f"{group} ends")

    async def start(self) -> None:
        """Join the group; the assignment follows."""
        await self._asking.start()
        await self._consumer.start()
        self._consumer.subscribe(list(self._names), listener=self)

    async def stop(self) -> None:
        """Leave the group."""
        await self._commit(seconds=1.0)
        for consumer in (self._consumer, self._asking):
            try:
                async with asyncio.timeout(5):
                    await consumer.stop()
            except (KafkaError, TimeoutError) as error:
                log.warning("consumer was not closed cleanly", group=self._group, error=repr(error))

    async def run(self) -> None:
        """Fetch and hint until cancelled."""
        hinting = asyncio.create_task(self._hint())
        try:
            await self._pump()
        except Exception as error:
            self._failure = error
            self._news.tell()
        finally:
            hinting.cancel()

    @property
    def assignment(self) -> Assignment:
        return self._assignment

    @property
    def wakes(self) -> int:
        return self._news.count

    async def wait(self, seen: int, seconds: float) -> None:
        self._raise_failure()
        await self._news.wait(seen, seconds)

    async def read(self, positions: Mapping[Partition, Position], limit: int) -> Reading:
        self._raise_failure()
        asked = {
            partition: buffer
            for partition, position in positions.items()
            if (buffer := self._positioned(partition, position.offset)) is not None
        }
        before, ends = await self._ends_for(asked)
        await self._fill(asked, ends)
        self._raise_failure()
        records: list[Received] = []
        next_offsets: dict[Partition, int] = {}
        through: dict[Partition, int] = {}
        full = [p for p, buffer in asked.items() if buffer.records and self._is_current(p, buffer)]
        share = max(1, limit // max(1, len(full)))
        for partition in full:
            taken = [cloud_events.decode(partition.topic, record) for record in asked[partition].take(share)]
            records += taken
            next_offsets[partition] = taken[-1].offset + 1
            through[partition] = max(record.time for record in taken)
        if any(self._of(p) not in self._fetched for p in full):
            self._refetch()
        gaps = {p: b.gap for p, b in asked.items() if p not in next_offsets and b.gap is not None}
        for partition, buffer in asked.items():
            start = buffer.start
            if start is not None and partition in ends and start >= ends[partition]:
                through[partition] = max(before, through.get(partition, 0))
        return Reading(records, next_offsets, through, gaps)

    async def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        wanted = {self._of(partition): partition for partition in partitions}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found = await self._asking.end_offsets(list(wanted)) if wanted else {}
        except (KafkaError, TimeoutError) as error:
            log.debug("ends unknown", group=self._group, error=repr(error))
            return {}
        return {wanted[tp]: offset for tp, offset in found.items()}

    async def commit_hint(self, next_offsets: Mapping[Partition, int]) -> None:
        for partition, offset in next_offsets.items():
            self._hints[self._of(partition)] = offset

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """aiokafka is about to rejoin: nothing is ours until it has."""
        if self._assignment.indexes:
            self._assign({})

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """aiokafka has joined: its positions are those of the hints, so every buffer begins anew."""
        self._assign({tp: _Buffer() for tp in assigned})

    def _assign(self, buffers: dict[TopicPartition, _Buffer]) -> None:
        self._buffers = buffers
        self._hints.clear()
        # An index is ours when it is in every topic: during a roll-out that adds a topic, members of
        # the old version leave it to those of the new one.
        shares = [{tp.partition for tp in buffers if tp.topic == full} for full in self._names]
        indexes = tuple(sorted(set.intersection(*shares)))
        self._assignment = Assignment(self._assignment.generation + 1, indexes)
        log.info("partitions assigned", group=self._group, partitions=list(indexes))
        self._refetch()
        self._news.tell()

    def _of(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._topics[partition.topic], partition.index)

    def _is_current(self, partition: Partition, buffer: _Buffer) -> bool:
        return self._buffers.get(self._of(partition)) is buffer

    def _positioned(self, partition: Partition, offset: int) -> _Buffer | None:
        """The buffer of a partition, beginning at `offset`; None where the partition is not ours."""
        tp = self._of(partition)
        buffer = self._buffers.get(tp)
        if buffer is None or buffer.start == offset:
            return buffer
        first = buffer.records[0].offset if buffer.records else offset + 1
        if first <= offset <= first + len(buffer.records):
            del buffer.records[: offset - first]
            buffer.start = offset
        else:
            self._consumer.seek(tp, offset)
            self._sought.add(tp)
            buffer.start, buffer.gap = offset, None
            buffer.records.clear()
            self._refetch()
        return buffer

    async def _ends_for(self, asked: Mapping[Partition, _Buffer]) -> tuple[int, Mapping[Partition, int]]:
        """Where partitions end, and a time before that was asked: only where it may matter."""
        now = time.monotonic()
        drained = [buffer for buffer in asked.values() if not buffer.records]
        nothing = len(drained) == len(asked)
        if not drained or not (nothing or any(now - b.ends_known > _ENDS_SECONDS for b in drained)):
            return 0, {}
        before = int(self._clock() * 1_000_000)
        ends = await self.ends(asked)
        for partition in ends:
            asked[partition].ends_known = now
        return before, ends

    async def _fill(self, asked: Mapping[Partition, _Buffer], ends: Mapping[Partition, int]) -> None:
        """Wait for records that are known to be there, so that an empty read means the log's end."""
        give_up = time.monotonic() + _ANSWER_SECONDS
        while (remaining := give_up - time.monotonic()) > 0 and self._failure is None:
            seen = self._news.count
            if any(buffer.records or buffer.gap is not None for buffer in asked.values()):
                return
            if not any(
                self._is_current(p, buffer) and buffer.start is not None and buffer.start < ends.get(p, 0)
                for p, buffer in asked.items()
            ):
                return
            await self._news.wait(seen, remaining)

    async def _pump(self) -> None:
        while True:
            self._changed.clear()
            self._sought.clear()
            most = max(100, _BUFFERED // max(1, len(self._buffers)))
            wanted = [
                tp
                for tp, buffer in self._buffers.items()
                if buffer.start is not None and buffer.gap is None and len(buffer.records) < most
            ]
            if not wanted:
                await self._changed.wait()
                continue
            try:
                # What is there already costs no task.
                fetched = await self._consumer.getmany(*wanted) or await self._next(wanted)
            except KafkaError as error:
                if not error.retriable:
                    raise
                log.warning("fetch failed", group=self._group, error=repr(error))
                await asyncio.sleep(_BACK_OFF_SECONDS)
                continue
            for tp, records in fetched.items():
                # A seek gives the fetch up; what it had taken by then is of the position before.
                if tp not in self._sought:
                    self._keep(tp, records)
            if fetched:
                self._news.tell()

    async def _next(self, wanted: list[TopicPartition]) -> Mapping[TopicPartition, list[Any]]:
        """Wait for records, or until other partitions are wanted."""
        if self._changed.is_set():
            return {}
        fetching = asyncio.create_task(self._consumer.getmany(*wanted, timeout_ms=1000))
        self._fetching, self._fetched = fetching, frozenset(wanted)
        try:
            # A fetch that has taken records never gives way: getmany takes them in its last step.
            await asyncio.wait({fetching})
        finally:
            self._fetching, self._fetched = None, frozenset()
            fetching.cancel()
        return {} if fetching.cancelled() else fetching.result()

    def _refetch(self) -> None:
        self._changed.set()
        if self._fetching is not None:
            self._fetching.cancel()

    def _keep(self, tp: TopicPartition, records: list[Any]) -> None:
        buffer = self._buffers.get(tp)
        if buffer is None or buffer.start is None or buffer.gap is not None:
            return
        # Who has read nothing yet begins with what is left.
        first = buffer.next or records[0].offset
        if records[-1].offset != first + len(records) - 1:
            # Offsets are dense: there are no transactions, no compaction, only retention.
            following = sum(record.offset == first + n for n, record in enumerate(records))
            buffer.gap = records[following].offset
            del records[following:]
        buffer.records += records

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _hint(self) -> None:
        while True:
            await asyncio.sleep(_HINT_SECONDS)
            await self._commit(seconds=5.0)

    async def _commit(self, seconds: float) -> None:
        offsets = {tp: offset for tp, offset in self._hints.items() if tp in self._buffers}
        self._hints.clear()
        if not offsets:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            log.debug("hint not committed", group=self._group, error=repr(error))
