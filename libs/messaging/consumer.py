"""The consumer loop: a batch is one transaction of state, output and offsets.

A worker reads on while the last batch is being handled. Transient failures are retried with
back-off; a record that can't be handled becomes a dead letter, and a burst of those stops its
partition alone; an unknown error ends the process.
"""

import asyncio
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from libs.database import Connection, Database, is_record_fault, is_transient, open_connection
from libs.errors import Unavailable
from libs.messaging import offsets
from libs.messaging.log import EventLog, LogGap, OffsetConflict, Subscription
from libs.messaging.records import Partition, Position, Reading, Received, Record
from libs.messaging.topics import Topic

log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.2
_BACK_OFF_SECONDS = (0.05, 5.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of the partitions that one worker owns, in order within each."""

    records: Sequence[Received]
    indexes: tuple[int, ...]
    """All partition indexes that the worker owns."""


def _nothing() -> None:
    """What happens after the commit where there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handled batch leaves to do."""

    output: Sequence[tuple[Topic, Sequence[Record]]] = ()
    """Appended as the transaction's last step, in this order of topics."""
    after_commit: Callable[[], None] = _nothing
    """Lets caches take what is now true."""


class Handler(Protocol):
    """What a service does with batches. One worker, one handler, one batch at a time."""

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        """Write the batch's effects on the connection's open transaction."""

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        """Do other work of the partitions' owner between batches; None when there is none.

        Called in an open transaction that commits only while the partitions are still owned.
        """

    def forget(self) -> None:
        """Drop every cache: a transaction was rolled back, or other partitions were assigned."""


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How a consumer works."""

    group: str
    topics: tuple[Topic, ...]
    """Read first, all alike; their reading moves the clock."""
    dead_letters: Topic
    background: tuple[Topic, ...] = ()
    """Read only while nothing waits in `topics`."""
    workers: int = 2
    batch_records: int = 2000
    tick_seconds: float = _TICK_SECONDS
    """How often a worker at the log's end notes that it is there, and maintains."""
    burst: int = 10
    """So many dead letters of a partition within `burst_seconds` stop it."""
    burst_seconds: float = 60.0


class Consumer:
    """A member of a group with several workers: a lifecycle component."""

    def __init__(
        self,
        database: Database,
        event_log: EventLog,
        settings: ConsumerSettings,
        handler: Callable[[], Handler],
    ) -> None:
        self._database = database
        self._log = event_log
        self._settings = settings
        self._handler = handler

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until asked to stop; the batches in hand are finished."""
        settings = self._settings
        every = (*settings.topics, *settings.background)
        async with self._log.subscribe(settings.group, every) as subscription, asyncio.TaskGroup() as group:
            for index in range(settings.workers):
                worker = _Worker(self._database, self._log, subscription, settings, self._handler(), index)
                group.create_task(worker.run(stopping))


@dataclass(slots=True)
class _Progress:
    """Where a worker stands in the partitions that it owns."""

    generation: int = -1
    indexes: tuple[int, ...] = ()
    positions: dict[Partition, Position] = field(default_factory=dict)
    noted: float = 0.0
    stopped: set[Partition] = field(default_factory=set)


class _Worker:
    def __init__(
        self,
        database: Database,
        event_log: EventLog,
        subscription: Subscription,
        settings: ConsumerSettings,
        handler: Handler,
        number: int,
    ) -> None:
        self._database = database
        self._log = event_log
        self._subscription = subscription
        self._settings = settings
        self._handler = handler
        self._number = number
        self._progress = _Progress()
        self._dead: dict[Partition, deque[float]] = defaultdict(deque)

    async def run(self, stopping: asyncio.Event) -> None:
        failures = 0
        while not stopping.is_set():
            try:
                name = f"{self._settings.group} worker {self._number}"
                connection = await open_connection(self._database.url, name)
                try:
                    failures = 0
                    await self._work(connection, stopping)
                finally:
                    self._lose()
                    connection.terminate()
            except Exception as error:
                if not _passes(error):
                    raise
                failures += 1
                wait = min(_BACK_OFF_SECONDS[1], _BACK_OFF_SECONDS[0] * 2**failures) * random.uniform(0.5, 1)  # noqa: S311
                log.warning("consumer retries", group=self._settings.group, error=repr(error), seconds=wait)
                await _sleep(stopping, wait)

    def _lose(self) -> None:
        """Start over from what is stored: after a failure memory may be ahead of it."""
        self._handler.forget()
        self._progress.generation = -1

    async def _work(self, connection: Connection, stopping: asyncio.Event) -> None:
        ahead: asyncio.Task[Reading] | None = None
        try:
            while not stopping.is_set():
                if self._subscription.assignment.generation != self._progress.generation:
                    if ahead is not None:
                        ahead.cancel()
                        ahead = None
                    await self._take_over(connection)
                seen = self._subscription.wakes
                if not self._progress.indexes:
                    await self._subscription.wait(seen, self._settings.tick_seconds)
                    continue
                reading = await (ahead or self._read(self._progress.positions))
                ahead = None
                if reading.records:
                    # The next batch is fetched while this one is handled.
                    ahead = asyncio.create_task(self._read(self._after(reading)))
                    await self._handle(connection, reading)
                    await self._maintain(connection, reading)
                elif not await self._maintain(connection, reading):
                    await self._subscription.wait(seen, self._settings.tick_seconds)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _take_over(self, connection: Connection) -> None:
        """Load the offsets of the partitions that are now this worker's."""
        self._handler.forget()
        assignment = self._subscription.assignment
        indexes = assignment.indexes[self._number :: self._settings.workers]
        topics = [topic.name for topic in (*self._settings.topics, *self._settings.background)]
        positions = await offsets.load(connection, self._settings.group, topics, indexes) if indexes else {}
        self._progress = _Progress(assignment.generation, indexes, positions, stopped=self._progress.stopped)

    async def _read(self, positions: Mapping[Partition, Position]) -> Reading:
        """Read the topics; the background ones only when those are at their end."""
        limit = self._settings.batch_records
        reading = await self._subscription.read(self._of(self._settings.topics, positions), limit)
        if reading.records or not self._settings.background:
            return reading
        background = await self._subscription.read(self._of(self._settings.background, positions), limit)
        return Reading(background.records, background.next_offsets, reading.through)

    def _of(
        self, topics: tuple[Topic, ...], positions: Mapping[Partition, Position]
    ) -> dict[Partition, Position]:
        names = {topic.name for topic in topics}
        stopped = self._progress.stopped
        return {p: position for p, position in positions.items() if p.topic in names and p not in stopped}

    def _after(self, reading: Reading) -> dict[Partition, Position]:
        """The positions once a reading is handled."""
        positions = dict(self._progress.positions)
        for record in reading.records:
            partition = Partition(record.topic, record.partition)
            number = positions[partition].number if record.number is None else record.number
            positions[partition] = Position(record.offset + 1, max(number, positions[partition].number))
        for partition, offset in reading.next_offsets.items():
            positions[partition] = Position(offset, positions[partition].number)
        return positions

    def _unseen(self, records: Sequence[Received]) -> list[Received]:
        """Leave out what a relay shipped twice; LogGap where it left something out."""
        numbers = {p: position.number for p, position in self._progress.positions.items()}
        unseen = []
        for record in records:
            if record.number is not None:
                partition = Partition(record.topic, record.partition)
                if record.number <= numbers[partition]:
                    continue
                if record.number != numbers[partition] + 1:
                    raise LogGap(f"{partition}: number {record.number} follows {numbers[partition]}")
                numbers[partition] = record.number
            unseen.append(record)
        return unseen

    async def _handle(self, connection: Connection, reading: Reading) -> None:
        started = time.perf_counter()
        await self._commit(connection, self._unseen(reading.records), self._after(reading), reading.through)
        log.debug(
            "batch handled",
            group=self._settings.group,
            records=len(reading.records),
            seconds=round(time.perf_counter() - started, 4),
        )
        await self._subscription.commit_hint(reading.next_offsets)

    async def _commit(
        self,
        connection: Connection,
        records: Sequence[Received],
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        """One transaction; where a record's own content fails it, the rest is handled without it."""
        try:
            async with connection.transaction():
                outcome = await self._handler.handle(connection, Batch(records, self._progress.indexes))
                await self._finish(connection, outcome, after, through)
        except Exception as error:
            self._handler.forget()
            if _passes(error) or not _is_record_fault(error):
                raise
            if len(records) > 1:
                await self._halve(connection, records, after, through)
            elif records:
                await self._bury(connection, records[0], error, after, through)
            else:
                raise
        else:
            outcome.after_commit()
            self._progress.positions = dict(after)

    async def _halve(
        self,
        connection: Connection,
        records: Sequence[Received],
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        middle = len(records) // 2
        first = Reading(list(records[:middle]), {})
        await self._commit(connection, first.records, self._after(first), {})
        rest = [r for r in records[middle:] if Partition(r.topic, r.partition) not in self._progress.stopped]
        stopped = self._progress.stopped
        kept = {p: self._progress.positions[p] if p in stopped else position for p, position in after.items()}
        await self._commit(connection, rest, kept, {p: t for p, t in through.items() if p not in stopped})

    async def _bury(
        self,
        connection: Connection,
        record: Received,
        error: Exception,
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        """Keep the record with its reason and go on, or stop the partition where it comes in bursts."""
        partition = Partition(record.topic, record.partition)
        reason = f"{type(error).__name__}: {error}"[:1000]
        recent = self._dead[partition]
        recent.append(time.monotonic())
        while recent[0] < time.monotonic() - self._settings.burst_seconds:
            recent.popleft()
        if len(recent) > self._settings.burst:
            self._progress.stopped.add(partition)
            log.error("partition stopped", partition=str(partition), offset=record.offset, reason=reason)
            return
        log.error(
            "dead letter", partition=str(partition), offset=record.offset, reason=reason, exc_info=error
        )
        origin = {"topic": record.topic, "partition": str(record.partition), "offset": str(record.offset)}
        letter = Record(
            record.key, record.type, record.value, record.time, {**record.headers, **origin, "reason": reason}
        )
        async with connection.transaction():
            await self._finish(connection, Outcome([(self._settings.dead_letters, [letter])]), after, through)
        self._progress.positions = dict(after)

    async def _finish(
        self,
        connection: Connection,
        outcome: Outcome,
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        """The transaction's end: offsets, then the output, whose counters everybody waits for."""
        before = self._progress.positions
        moved = {p: position for p, position in after.items() if position != before[p] or p in through}
        if moved:
            await offsets.advance(connection, self._settings.group, before, moved, through)
        for topic, records in outcome.output:
            await self._log.append(connection, topic, records)

    async def _maintain(self, connection: Connection, reading: Reading) -> bool:
        """Between batches, a few times a second: note the log's end, and do the owner's other work.

        Returns whether there was such work, and may be more.
        """
        now = time.monotonic()
        if now - self._progress.noted < self._settings.tick_seconds:
            return False
        positions = self._progress.positions
        try:
            async with connection.transaction():
                outcome = await self._handler.maintain(connection, self._progress.indexes)
                through = {} if reading.records else reading.through
                # With no work and no end to note, there is nothing to prove an ownership for.
                if outcome is not None or through:
                    fence = through or dict.fromkeys(self._of(self._settings.topics, positions), 0)
                    await offsets.advance(
                        connection, self._settings.group, positions, {p: positions[p] for p in fence}, fence
                    )
                for topic, records in () if outcome is None else outcome.output:
                    await self._log.append(connection, topic, records)
        except BaseException:
            self._handler.forget()
            raise
        if outcome is None:
            self._progress.noted = now
            return False
        outcome.after_commit()
        return True


def _passes(error: Exception) -> bool:
    """Whether the same work may succeed when it is done again."""
    return isinstance(error, Unavailable | OffsetConflict) or is_transient(error)


def _is_record_fault(error: Exception) -> bool:
    """Whether a record may be at fault: anything but the database refusing for a reason of its own."""
    if isinstance(error, LogGap):
        return False
    database_error = getattr(error, "sqlstate", None) is not None
    return is_record_fault(error) or not database_error


async def _sleep(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
