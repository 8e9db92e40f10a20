"""The loop of one worker: a batch is one transaction of state, output and offsets.

A worker reads on while the last batch is being handled. Transient failures are retried with
back-off; a record that can't be handled becomes a dead letter, and a burst of those stops its
partition alone; an unknown error ends the process.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import structlog

from libs.database import Connection, Database, is_record_fault, is_transient, open_connection
from libs.errors import Contended, Unavailable
from libs.lifecycle import pause
from libs.messaging import offsets
from libs.messaging.dead_letters import letter_of, reason_of
from libs.messaging.handling import Batch, ConsumerSettings, Handler, Outcome
from libs.messaging.log import EventLog, LogGap, OffsetConflict, Subscription
from libs.messaging.records import Partition, Position, Reading, Received
from libs.messaging.retrying import BackOff, lost_race_seconds
from libs.observability import metrics, traces
from libs.repeats import Repeats

log = structlog.get_logger(__name__)
_LAG_SECONDS = 5.0


@dataclass(slots=True)
class _Progress:
    """Where a worker stands in the partitions that it owns."""

    generation: int = -1
    indexes: tuple[int, ...] = ()
    positions: dict[Partition, Position] = field(default_factory=dict)
    noted: float = 0.0
    lag_known: float = 0.0
    stopped: set[Partition] = field(default_factory=set)
    through: dict[Partition, int] = field(default_factory=dict)
    """What readings without records have told, and is not noted yet."""


class Worker:
    """Handles the records of its share of a member's partitions, batch by batch."""

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
        self._live = frozenset(topic.name for topic in settings.topics)
        self._background = frozenset(topic.name for topic in settings.background)
        self._dead: dict[Partition, dict[int, float]] = defaultdict(dict)
        self._in_hand: frozenset[str] = frozenset()
        self._back_off = BackOff()
        self._repeats = Repeats()

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                name = f"{self._settings.group} worker {self._number}"
                connection = await open_connection(self._database.url, name)
                try:
                    await self._work(connection, stopping)
                except Exception as error:
                    if _is_broken(connection) and not passes(error):
                        raise Unavailable("the connection to the database broke") from error
                    raise
                finally:
                    self._lose()
                    connection.terminate()
            except Exception as error:
                if not passes(error):
                    raise
                counter = metrics.OFFSET_CONFLICTS if isinstance(error, OffsetConflict) else metrics.RETRIES
                for topic in self._in_hand or self._live:
                    counter.labels(self._settings.group, topic).inc()
                # Who only lost a race tries again at once: the other has won, so it goes on.
                wait = lost_race_seconds() if isinstance(error, Contended) else self._back_off.failed()
                held_back = self._repeats.held_back(type(error).__name__)
                if held_back is not None:
                    log.warning(
                        "consumer retries",
                        group=self._settings.group,
                        error=repr(error),
                        seconds=wait,
                        suppressed=held_back,
                    )
                await pause(stopping, wait)

    def _lose(self) -> None:
        """Start over from what is stored: after a failure memory may be ahead of it."""
        self._handler.forget()
        self._progress.generation = -1

    async def _work(self, connection: Connection, stopping: asyncio.Event) -> None:
        ahead: asyncio.Task[Reading] | None = None
        try:
            while not stopping.is_set():
                if self._subscription.assignment.generation != self._progress.generation:
                    await _drop(ahead)
                    ahead = None
                    await self._take_over(connection)
                if ahead is None:
                    # Before the reading begins: what is told from then on may not be in it.
                    seen = self._subscription.wakes
                if not self._progress.indexes:
                    await self._subscription.wait(seen, self._settings.tick_seconds)
                    continue
                reading = await (ahead or self._read(self._progress.positions))
                ahead = None
                if reading.records:
                    after = self._after(reading)
                    if 2 * len(reading.records) > self._settings.batch_records:
                        # There is more: it is fetched while this is handled.
                        seen = self._subscription.wakes
                        ahead = asyncio.create_task(self._read(after))
                    await self._handle(connection, reading, after)
                    if self._progress.positions != after:
                        # A partition was stopped: what was fetched lies behind the record it stopped at.
                        await _drop(ahead)
                        ahead = None
                    await self._maintain(connection)
                else:
                    self._progress.through.update(reading.through)
                    if not await self._maintain(connection):
                        await self._subscription.wait(seen, self._settings.tick_seconds)
                await self._measure()
        finally:
            await _drop(ahead)

    async def _take_over(self, connection: Connection) -> None:
        """Load the offsets of the partitions that are now this worker's."""
        self._handler.forget()
        assignment = self._subscription.assignment
        indexes = assignment.indexes[self._number :: self._settings.workers]
        topics = [*self._live, *self._background]
        positions = await offsets.load(connection, self._settings.group, topics, indexes) if indexes else {}
        former = self._progress
        stopped = former.stopped & positions.keys()
        self._progress = _Progress(assignment.generation, indexes, positions, stopped=stopped)
        self._let_go(former)

    async def _read(self, positions: Mapping[Partition, Position]) -> Reading:
        """Read the topics; the background ones only when those are known to be at their end."""
        limit = self._settings.batch_records
        live = self._of(self._live, positions)
        reading = await self._subscription.read(live, limit)
        if reading.records or not self._background or not live.keys() <= reading.through.keys():
            return reading
        background = await self._subscription.read(self._of(self._background, positions), limit)
        return Reading(background.records, background.next_offsets, reading.through)

    def _of(
        self, topics: frozenset[str], positions: Mapping[Partition, Position]
    ) -> dict[Partition, Position]:
        stopped = self._progress.stopped
        return {p: position for p, position in positions.items() if p.topic in topics and p not in stopped}

    def _after(self, reading: Reading) -> dict[Partition, Position]:
        """The positions once a reading is handled."""
        ends: dict[tuple[str, int], int] = {}
        numbers: dict[tuple[str, int], int] = {}
        for record in reading.records:
            key = (record.topic, record.partition)
            ends[key] = record.offset + 1
            if record.number is not None and record.number > numbers.get(key, -1):
                numbers[key] = record.number
        positions = dict(self._progress.positions)
        for key, offset in ends.items():
            partition = Partition(*key)
            number = max(positions[partition].number, numbers.get(key, -1))
            positions[partition] = Position(offset, number)
        for partition, offset in reading.next_offsets.items():
            positions[partition] = Position(offset, positions[partition].number)
        return positions

    def _unseen(self, records: Sequence[Received]) -> list[Received]:
        """Leave out what a relay shipped twice; LogGap where it left something out.

        A group that has handled no numbered record yet may begin anywhere: retention may have
        dropped the first ones.
        """
        numbers = {(p.topic, p.index): position.number for p, position in self._progress.positions.items()}
        unseen = []
        for record in records:
            if record.number is not None:
                key = (record.topic, record.partition)
                last = numbers[key]
                if record.number <= last:
                    continue
                if record.number != last + 1 and last >= 0:
                    raise LogGap(f"{record.topic} {record.partition}: number {record.number} follows {last}")
                numbers[key] = record.number
            unseen.append(record)
        return unseen

    async def _handle(
        self, connection: Connection, reading: Reading, after: Mapping[Partition, Position]
    ) -> None:
        group = self._settings.group
        started = time.perf_counter()
        counts = Counter(record.topic for record in reading.records)
        self._in_hand = frozenset(counts)
        with ExitStack() as spans:
            spans.enter_context(traces.span(f"{group} batch", records=len(reading.records)))
            for record in reading.records:
                traceparent = record.headers.get("traceparent")
                if traceparent is not None and traces.is_sampled(traceparent):
                    name = record.type.rpartition(".")[2]
                    spans.enter_context(traces.span(f"{group} {name}", traceparent))
                    # What the handler hands on continues this span.
                    record.headers["traceparent"] = traces.current_traceparent() or traceparent
            through = {**self._progress.through, **reading.through}
            await self._commit(connection, self._unseen(reading.records), after, through)
        self._progress.through.clear()
        self._back_off.worked()
        seconds = time.perf_counter() - started
        for topic, count in counts.items():
            metrics.CONSUMER_RECORDS.labels(group, topic).inc(count)
            metrics.CONSUMER_BATCHES.labels(group, topic).inc()
            metrics.CONSUMER_BATCH_SECONDS.labels(group, topic).observe(seconds)
        log.debug("batch handled", group=group, records=len(reading.records), seconds=round(seconds, 4))
        positions = self._progress.positions
        await self._subscription.commit_hint({p: positions[p].offset for p in reading.next_offsets})

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
                outcome = Outcome()
                if records:
                    batch = Batch(records, self._progress.indexes)
                    outcome = await self._handler.handle(connection, batch)
                await self._finish(connection, outcome, after, through)
        except Exception as error:
            self._handler.forget()
            if _is_broken(connection) or passes(error) or not _is_record_fault(error) or not records:
                raise
            fault = error
        else:
            outcome.after_commit()
            self._progress.positions = dict(after)
            return
        if len(records) > 1:
            await self._halve(connection, records, after, through)
        else:
            await self._bury(connection, records[0], fault, after, through)

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
        letter = letter_of(record, error)
        told = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        now = time.monotonic()
        recent = self._dead[partition]
        recent[record.offset] = now  # by offset: a retry after a transient failure is no further letter
        for offset in [o for o, noticed in recent.items() if noticed < now - self._settings.burst_seconds]:
            del recent[offset]
        labels = self._settings.group, record.topic
        if len(recent) > self._settings.burst:
            self._progress.stopped.add(partition)
            metrics.STOPPED_PARTITIONS.labels(*labels).inc()
            log.error("partition stopped", group=labels[0], **told, reason=reason_of(error))
            return
        log.error("dead letter", group=labels[0], **told, reason=reason_of(error), exc_info=error)
        async with connection.transaction():
            await self._finish(connection, Outcome([(self._settings.dead_letters, [letter])]), after, through)
        self._progress.positions = dict(after)
        metrics.DEAD_LETTERS.labels(*labels).inc()

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

    async def _maintain(self, connection: Connection) -> bool:
        """Between batches, a few times a second: note the log's end, and do the owner's other work.

        Returns whether there was such work, and may be more.
        """
        progress = self._progress
        now = time.monotonic()
        if now - progress.noted < self._settings.tick_seconds:
            return False
        try:
            async with connection.transaction():
                outcome = await self._handler.maintain(connection, progress.indexes)
                # With no work and no end to note, there is nothing to prove an ownership for.
                if outcome is not None or progress.through:
                    # All live partitions, not only those that were at their end: the work is of all.
                    live = {
                        p: position for p, position in progress.positions.items() if p.topic in self._live
                    }
                    await offsets.advance(
                        connection, self._settings.group, progress.positions, live, progress.through
                    )
                for topic, records in () if outcome is None else outcome.output:
                    await self._log.append(connection, topic, records)
        except BaseException:
            self._handler.forget()
            raise
        progress.through.clear()
        if outcome is None:
            progress.noted = now
            return False
        outcome.after_commit()
        self._back_off.worked()
        return True

    async def _measure(self) -> None:
        """A few times a minute, say how far behind the partitions are."""
        now = time.monotonic()
        if now - self._progress.lag_known < _LAG_SECONDS:
            return
        self._progress.lag_known = now
        positions = self._progress.positions
        for partition, end in (await self._subscription.ends(positions)).items():
            labels = self._settings.group, partition.topic, str(partition.index)
            metrics.CONSUMER_LAG.labels(*labels).set(max(0, end - positions[partition].offset))

    def _let_go(self, former: _Progress) -> None:
        """Say no more of partitions that others have now."""
        group, positions = self._settings.group, self._progress.positions
        for partition in former.positions.keys() - positions.keys():
            metrics.CONSUMER_LAG.remove(group, partition.topic, str(partition.index))
        for partition in former.stopped - positions.keys():
            metrics.STOPPED_PARTITIONS.labels(group, partition.topic).dec()


def passes(error: Exception) -> bool:
    """Whether the same work may succeed when it is done again."""
    return isinstance(error, Unavailable | OffsetConflict) or is_transient(error)


def _is_broken(connection: Connection) -> bool:
    """Whether no transaction can begin here any more: what is raised then is no record's fault.

    A server that ends in the middle of a rollback leaves asyncpg in a transaction for ever, and what
    it raises may be any of its words for a wrong call.
    """
    return bool(connection.is_closed() or connection.is_in_transaction())


def _is_record_fault(error: Exception) -> bool:
    """Whether a record may be at fault: anything but the database refusing for a reason of its own."""
    if isinstance(error, LogGap):
        return False
    database_error = getattr(error, "sqlstate", None) is not None
    return is_record_fault(error) or not database_error


async def _drop(ahead: asyncio.Task[Reading] | None) -> None:
    """Give up a reading and wait until it no longer reads."""
    if ahead is not None:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)
