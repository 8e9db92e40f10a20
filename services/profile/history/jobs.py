"""Tells everybody downstream, a few times a second, up to when everything has been applied."""

import asyncio

from libs.database import Database, is_transient
from libs.lifecycle import repeat
from libs.messaging import EventLog
from libs.messaging import offsets as group_offsets
from libs.messaging.topics import INGEST_EVENTS, PROFILE_UPDATES
from services.profile.history import wire

GROUP = "profile"
# Replicas take turns: whoever gets the lock tells the time.
_CLOCK_LOCK = "select pg_try_advisory_xact_lock(hashtext('profile clock'))"


class ClockJob:
    """Writes clock records.

    The time is the least that the group has read of any partition of `tessera.ingest.events`; it is
    read and told in one transaction, after the changes that it covers were committed. Telling a
    time twice or an older one is harmless: readers only go forward.

    While no event comes the time is told once in `idle_seconds`: a record for each partition, several
    times a second, would otherwise be all that a quiet deployment keeps on its log.
    """

    def __init__(
        self, database: Database, event_log: EventLog, seconds: float = 0.2, idle_seconds: float = 1.0
    ) -> None:
        self._database = database
        self._log = event_log
        self._seconds = seconds
        self._idle_micros = int(idle_seconds * 1_000_000)
        self._told = 0
        self._handled = -1

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell the time until asked to stop."""
        await repeat(self.tell, stopping, self._seconds, is_transient)

    async def tell(self) -> None:
        """Append one clock record to every partition, if the time has moved on."""
        async with self._database.begin() as connection:
            if not await connection.fetchval(_CLOCK_LOCK):
                return
            partitions = self._log.partitions
            now = await group_offsets.read_through(connection, GROUP, INGEST_EVENTS.name, partitions)
            if now is None or now <= self._told:
                return
            handled = await group_offsets.handled(connection, GROUP, INGEST_EVENTS.name)
            if handled == self._handled and now < self._told + self._idle_micros:
                return
            records = [wire.clock_record_of(now, partition) for partition in range(partitions)]
            await self._log.append(connection, PROFILE_UPDATES, records)
        self._told, self._handled = now, handled
