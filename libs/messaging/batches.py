"""Commits batches: each is one transaction of state, output and offsets.

Where a record's own content fails its batch, the batch is halved until that record stands alone. It
becomes a dead letter, and the rest is handled; a burst of dead letters stops its partition alone.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import structlog

from libs.database import Connection
from libs.messaging import offsets
from libs.messaging.dead_letters import letter_of, reason_of
from libs.messaging.handling import Batch, ConsumerSettings, Handler, Outcome
from libs.messaging.log import EventLog
from libs.messaging.progress import Progress
from libs.messaging.records import Partition, Position, Reading, Received
from libs.messaging.retrying import is_at_fault, is_broken
from libs.observability import metrics

log = structlog.get_logger(__name__)


class Batches:
    """Hands records to a handler and commits what becomes of them, for one worker."""

    def __init__(self, event_log: EventLog, settings: ConsumerSettings, handler: Handler) -> None:
        self._log = event_log
        self._settings = settings
        self._handler = handler
        self._dead: dict[Partition, dict[int, float]] = defaultdict(dict)

    async def commit(
        self,
        connection: Connection,
        progress: Progress,
        records: Sequence[Received],
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        """Handle records in one transaction that moves the offsets to `after`; the progress follows.

        A partition that stops on the way stays where its last handled record was.
        """
        try:
            async with connection.transaction():
                outcome = Outcome()
                if records:
                    outcome = await self._handler.handle(connection, Batch(records, progress.indexes))
                await self._finish(connection, progress, outcome, after, through)
        except Exception as error:
            self._handler.forget()
            if is_broken(connection) or not is_at_fault(error) or not records:
                raise
            fault = error
        else:
            outcome.after_commit()
            progress.positions = dict(after)
            return
        if len(records) > 1:
            await self._halve(connection, progress, records, after, through)
        else:
            await self._set_aside(connection, progress, records[0], fault, after, through)

    async def maintain(
        self, connection: Connection, progress: Progress, topics: frozenset[str]
    ) -> Outcome | None:
        """Do the owner's other work, and note how far the ends of `topics` have been read.

        Returns what the work left to do, which is committed; None where there was no work.
        """
        try:
            async with connection.transaction():
                outcome = await self._handler.maintain(connection, progress.indexes)
                # With no work and no end to note, there is nothing to prove an ownership for.
                if outcome is not None or progress.through:
                    # All of their partitions, not only those at their end: the work is of all.
                    owned = {p: at for p, at in progress.positions.items() if p.topic in topics}
                    await offsets.advance(
                        connection, self._settings.group, progress.positions, owned, progress.through
                    )
                if outcome is not None:
                    await self._append(connection, outcome)
        except BaseException:
            self._handler.forget()
            raise
        progress.through.clear()
        if outcome is not None:
            outcome.after_commit()
        return outcome

    async def _halve(
        self,
        connection: Connection,
        progress: Progress,
        records: Sequence[Received],
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        middle = len(records) // 2
        first = Reading(list(records[:middle]), {})
        await self.commit(connection, progress, first.records, progress.after(first), {})
        stopped = progress.stopped
        rest = [r for r in records[middle:] if Partition(r.topic, r.partition) not in stopped]
        kept = {p: progress.positions[p] if p in stopped else position for p, position in after.items()}
        noted = {p: t for p, t in through.items() if p not in stopped}
        await self.commit(connection, progress, rest, kept, noted)

    async def _set_aside(
        self,
        connection: Connection,
        progress: Progress,
        record: Received,
        error: Exception,
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        """Keep the record with its reason and go on, or stop the partition where it comes in bursts."""
        partition = Partition(record.topic, record.partition)
        labels = self._settings.group, record.topic
        told = {
            "group": self._settings.group,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "reason": reason_of(error),
        }
        if self._is_burst(partition, record.offset):
            progress.stopped.add(partition)
            metrics.STOPPED_PARTITIONS.labels(*labels).inc()
            log.error("partition stopped", **told)
            return
        log.error("dead letter", **told, exc_info=error)
        letter = Outcome([(self._settings.dead_letters, [letter_of(record, error)])])
        async with connection.transaction():
            await self._finish(connection, progress, letter, after, through)
        progress.positions = dict(after)
        metrics.DEAD_LETTERS.labels(*labels).inc()

    def _is_burst(self, partition: Partition, offset: int) -> bool:
        """Count a partition's dead letters: whether there are too many within `burst_seconds`."""
        now = time.monotonic()
        recent = self._dead[partition]
        recent[offset] = now  # by offset: a retry after a transient failure is no further letter
        for old in [o for o, noticed in recent.items() if noticed < now - self._settings.burst_seconds]:
            del recent[old]
        return len(recent) > self._settings.burst

    async def _finish(
        self,
        connection: Connection,
        progress: Progress,
        outcome: Outcome,
        after: Mapping[Partition, Position],
        through: Mapping[Partition, int],
    ) -> None:
        """The transaction's end: offsets, then the output, whose counters everybody waits for."""
        before = progress.positions
        moved = {p: position for p, position in after.items() if position != before[p] or p in through}
        if moved:
            await offsets.advance(connection, self._settings.group, before, moved, through)
        await self._append(connection, outcome)

    async def _append(self, connection: Connection, outcome: Outcome) -> None:
        for topic, records in outcome.output:
            await self._log.append(connection, topic, records)
