"""Work that the clock starts: the clock record, and forgetting old event ids."""

import asyncio
import time
from collections.abc import Callable

from libs.database import Database, is_transient
from libs.lifecycle import repeat
from libs.messaging import EventLog, Record
from libs.messaging import offsets as group_offsets
from libs.messaging.topics import INGEST_EVENTS, PROFILE_UPDATES
from libs.times import timestamp
from services.profile import convert
from tessera.profile.v1 import profile_events_pb2

GROUP = "profile"
_REMEMBERED_DAYS = 35
# A day's ids are millions: in portions no statement takes long.
_PORTION = 20_000
_FORGET = """
delete from profile.event_ids
where event_id = any(array(select event_id from profile.event_ids where day < $1 limit $2))
"""
# Replicas take turns: whoever gets the lock tells the time.
_CLOCK_LOCK = "select pg_try_advisory_xact_lock(hashtext('profile clock'))"


class ClockJob:
    """Tells everybody downstream, a few times a second, up to when everything has been applied.

    The time is the least that the group has read of any partition of `tessera.ingest.events`; it is
    read and told in one transaction, after the changes that it covers were committed. Telling a
    time twice or an older one is harmless: readers only go forward.
    """

    def __init__(self, database: Database, event_log: EventLog, seconds: float = 0.2) -> None:
        self._database = database
        self._log = event_log
        self._seconds = seconds
        self._told = 0

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
            value = profile_events_pb2.ClockAdvanced(time=timestamp(now)).SerializeToString()
            records = [
                Record(b"", convert.CLOCK, value, now, partition=index, ephemeral=True)
                for index in range(partitions)
            ]
            await self._log.append(connection, PROFILE_UPDATES, records)
        self._told = now


class ForgetJob:
    """Forgets event ids after 35 days: a client retries for hours, an ESP for days."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        """Forget once an hour."""
        await repeat(self.forget, stopping, 3600, is_transient)

    async def forget(self) -> None:
        """Delete the ids that are old enough."""
        oldest = int(self._clock() // 86_400) - _REMEMBERED_DAYS
        while await self._database.pool.execute(_FORGET, oldest, _PORTION) != "DELETE 0":
            pass
