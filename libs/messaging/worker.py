"""The loop of one worker: it reads its partitions on, and commits what it reads batch by batch.

A worker reads on while the last batch is being handled. Transient failures are retried with
back-off; an unknown error ends the process.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack

import structlog

from libs.database import Connection, Database, open_connection
from libs.errors import Contended, Unavailable
from libs.lifecycle import pause
from libs.messaging import offsets
from libs.messaging.batches import Batches
from libs.messaging.handling import ConsumerSettings, Handler
from libs.messaging.log import EventLog, OffsetConflict, Subscription
from libs.messaging.progress import Progress
from libs.messaging.records import Partition, Position, Reading, Received
from libs.messaging.retrying import BackOff, is_broken, lost_race_seconds, passes
from libs.observability import metrics, traces
from libs.repeats import Repeats

log = structlog.get_logger(__name__)
_LAG_SECONDS = 5.0


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
        self._subscription = subscription
        self._settings = settings
        self._handler = handler
        self._number = number
        self._batches = Batches(event_log, settings, handler)
        self._progress = Progress()
        self._live = frozenset(topic.name for topic in settings.topics)
        self._background = frozenset(topic.name for topic in settings.background)
        self._types = {topic.name: topic.types for topic in (*settings.topics, *settings.background)}
        self._in_hand: frozenset[str] = frozenset()
        self._maintained = 0.0
        self._lag_known = 0.0
        self._back_off = BackOff()
        self._repeats = Repeats()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until asked to stop; the batch in hand is finished."""
        while not stopping.is_set():
            try:
                await self._connect_and_work(stopping)
            except Exception as error:
                if not passes(error):
                    raise
                await pause(stopping, self._seconds_after(error))

    async def _connect_and_work(self, stopping: asyncio.Event) -> None:
        name = f"{self._settings.group} worker {self._number}"
        connection = await open_connection(self._database.url, name)
        try:
            await self._work(connection, stopping)
        except Exception as error:
            if is_broken(connection) and not passes(error):
                raise Unavailable("the connection to the database broke") from error
            raise
        finally:
            # Start over from what is stored: after a failure memory may be ahead of it.
            self._handler.forget()
            self._progress.generation = -1
            connection.terminate()

    def _seconds_after(self, error: Exception) -> float:
        """Count and tell a failure that passes; how long to wait before the next try."""
        counter = metrics.OFFSET_CONFLICTS if isinstance(error, OffsetConflict) else metrics.RETRIES
        for topic in self._in_hand or self._live:
            counter.labels(self._settings.group, topic).inc()
        # Who only lost a race tries again at once: the other has won, so it goes on.
        wait = lost_race_seconds() if isinstance(error, Contended) else self._back_off.failed()
        held_back = self._repeats.held_back(type(error).__name__)
        if held_back is not None:
            group = self._settings.group
            log.warning(
                "consumer retries", group=group, error=repr(error), seconds=wait, suppressed=held_back
            )
        return wait

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
                if reading.gaps:
                    await self._stop_at_gaps(connection, reading.gaps)
                if reading.records:
                    after = self._progress.after(reading)
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
        group = self._settings.group
        assignment = self._subscription.assignment
        indexes = assignment.indexes[self._number :: self._settings.workers]
        topics = [*self._live, *self._background]
        positions = await offsets.load(connection, group, topics, indexes) if indexes else {}
        former = self._progress
        stopped = former.stopped & positions.keys()
        self._progress = Progress(assignment.generation, indexes, positions, stopped)
        self._maintained = self._lag_known = 0.0
        self._let_go(former)
        for partition, goes_on_at in (await offsets.lost(connection, group, topics, indexes)).items():
            self._stop_before(partition, goes_on_at)

    async def _read(self, positions: Mapping[Partition, Position]) -> Reading:
        """Read the topics; the background ones only when those are known to be at their end."""
        limit = self._settings.batch_records
        live = self._progress.open_of(self._live, positions)
        reading = await self._subscription.read(live, limit)
        at_end = live.keys() <= reading.through.keys() | reading.gaps.keys()
        if reading.records or not self._background or not at_end:
            return reading
        background = self._progress.open_of(self._background, positions)
        further = await self._subscription.read(background, limit)
        gaps = {**reading.gaps, **further.gaps}
        return Reading(further.records, further.next_offsets, reading.through, gaps)

    async def _stop_at_gaps(self, connection: Connection, gaps: Mapping[Partition, int]) -> None:
        for partition, goes_on_at in gaps.items():
            await offsets.note_lost(connection, self._settings.group, partition, goes_on_at)
            self._stop_before(partition, goes_on_at)

    def _stop_before(self, partition: Partition, goes_on_at: int) -> None:
        """Stop a partition of which the log no longer has what comes next: a person must know of it."""
        if partition in self._progress.stopped:
            return
        self._progress.stopped.add(partition)
        labels = self._settings.group, partition.topic
        position = self._progress.positions[partition].offset
        metrics.LOST_RECORDS.labels(*labels).inc(max(0, goes_on_at - position))
        metrics.STOPPED_PARTITIONS.labels(*labels).inc()
        log.error(
            "records lost",
            group=labels[0],
            topic=labels[1],
            partition=partition.index,
            offset=position,
            goes_on_at=goes_on_at,
            reason="they were dropped before they were read: the backlog was older than retention",
        )

    async def _handle(
        self, connection: Connection, reading: Reading, after: Mapping[Partition, Position]
    ) -> None:
        group = self._settings.group
        progress = self._progress
        started = time.perf_counter()
        kinds = Counter((record.topic, record.type) for record in reading.records)
        counts: Counter[str] = Counter()
        for (topic, _), count in kinds.items():
            counts[topic] += count
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
            through = {**progress.through, **reading.through}
            records = self._known(progress.unseen(reading.records), kinds)
            await self._batches.commit(connection, progress, records, after, through)
        progress.through.clear()
        self._back_off.worked()
        seconds = time.perf_counter() - started
        for topic, count in counts.items():
            metrics.CONSUMER_RECORDS.labels(group, topic).inc(count)
            metrics.CONSUMER_BATCHES.labels(group, topic).inc()
            metrics.CONSUMER_BATCH_SECONDS.labels(group, topic).observe(seconds)
        log.debug("batch handled", group=group, records=len(reading.records), seconds=round(seconds, 4))
        positions = progress.positions
        await self._subscription.commit_hint({p: positions[p].offset for p in reading.next_offsets})

    def _known(self, records: list[Received], kinds: Counter[tuple[str, str]]) -> list[Received]:
        """Leave out, and count, what no handler can know: types that a topic does not declare."""
        unknown = {kind for kind in kinds if self._types[kind[0]] and kind[1] not in self._types[kind[0]]}
        for topic, type_ in unknown:
            group = self._settings.group
            metrics.UNKNOWN_RECORDS.labels(group, topic).inc(kinds[topic, type_])
            held_back = self._repeats.held_back(("unknown", topic, type_))
            if held_back is not None:
                log.warning("unknown records", group=group, topic=topic, type=type_, suppressed=held_back)
        return [r for r in records if (r.topic, r.type) not in unknown] if unknown else records

    async def _maintain(self, connection: Connection) -> bool:
        """Between batches, a few times a second: note the log's end, and do the owner's other work.

        Returns whether there was such work, and may be more.
        """
        now = time.monotonic()
        if now - self._maintained < self._settings.tick_seconds:
            return False
        outcome = await self._batches.maintain(connection, self._progress, self._live)
        if outcome is None:
            self._maintained = now
            return False
        self._back_off.worked()
        return True

    async def _measure(self) -> None:
        """A few times a minute, say how far behind the partitions are."""
        now = time.monotonic()
        if now - self._lag_known < _LAG_SECONDS:
            return
        self._lag_known = now
        positions = self._progress.positions
        for partition, end in (await self._subscription.ends(positions)).items():
            labels = self._settings.group, partition.topic, str(partition.index)
            metrics.CONSUMER_LAG.labels(*labels).set(max(0, end - positions[partition].offset))

    def _let_go(self, former: Progress) -> None:
        """Say no more of partitions that others have now."""
        group, positions = self._settings.group, self._progress.positions
        for partition in former.positions.keys() - positions.keys():
            metrics.CONSUMER_LAG.remove(group, partition.topic, str(partition.index))
        for partition in former.stopped - positions.keys():
            metrics.STOPPED_PARTITIONS.labels(group, partition.topic).dec()


async def _drop(ahead: asyncio.Task[Reading] | None) -> None:
    """Give up a reading and wait until it no longer reads."""
    if ahead is not None:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)
