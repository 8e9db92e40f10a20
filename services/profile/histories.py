"""Sends the ends of histories again, for readers that may lack something."""

import time
from collections.abc import Callable, Sequence

from libs.database import Database
from libs.messaging import EventLog, Record
from libs.messaging.topics import PROFILE_UPDATES
from services.profile import convert

_LAST_STEPS = """
select distinct on (profile_id) profile_id::text, revision, moved, body from profile.history
where profile_id = any($1::uuid[]) order by profile_id, revision desc
"""


class LogStream:
    """`tessera.profile.updates`, written outside of any batch."""

    def __init__(
        self, database: Database, event_log: EventLog, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._log = event_log
        self._clock = clock

    async def resend(self, profile_ids: Sequence[str]) -> dict[str, int]:
        now = int(self._clock() * 1_000_000)
        async with self._database.begin() as connection:
            # Without locks: what a batch appends meanwhile is newer, and readers drop what is older.
            steps = await connection.fetch(_LAST_STEPS, profile_ids)
            records = [
                Record(
                    step["profile_id"].encode(),
                    convert.UPDATED,
                    convert.update_bytes(step["profile_id"], step["revision"], step["body"], step["moved"]),
                    now,
                )
                for step in steps
            ]
            await self._log.append(connection, PROFILE_UPDATES, records)
        return {step["profile_id"]: step["revision"] for step in steps}
