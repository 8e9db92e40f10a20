"""Reads `tessera.ingest.events` and writes `tessera.profile.updates`."""

import time
from collections.abc import Callable, Sequence

import structlog

from libs.database import Connection, Database
from libs.messaging import Batch, EventLog, Outcome
from libs.messaging.topics import PROFILE_UPDATES
from libs.observability.metrics import EVENTS_UNASSIGNED, PROFILE_DROPPED, PROFILES_MERGED
from services.profile.history import wire
from services.profile.history.sql import last_steps
from services.profile.history.use_cases import Recorder
from services.profile.identity.use_cases import Resolved

log = structlog.get_logger(__name__)


class EventHandler:
    """Applies batches of collected events."""

    def __init__(
        self,
        recorder: Callable[[Connection, int], Recorder],
        forget: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`recorder` makes what records a batch in a transaction, at a time in microseconds."""
        self._recorder = recorder
        self._forget = forget
        self._clock = clock

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        now = int(self._clock() * 1_000_000)
        events = []
        traced: dict[bytes, str] = {}
        for record in batch.records:
            event = wire.event_of(record.value)
            events.append(event)
            if "traceparent" in record.headers:
                traced[event.event_id] = record.headers["traceparent"]
        recorder = self._recorder(connection, now)
        recorded = await recorder.record(events)
        resolved = recorded.resolved

        def committed() -> None:
            recorder.committed()
            _tell(resolved)

        return Outcome([(PROFILE_UPDATES, wire.records_of(recorded.steps, now, traced))], committed)

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        self._forget()


def _tell(resolved: Resolved) -> None:
    """What became of a batch, in the log and the metrics."""
    if resolved.duplicates or resolved.merges:
        log.debug("events applied", duplicates=resolved.duplicates, merges=resolved.merges)
    if resolved.merges:
        PROFILES_MERGED.inc(resolved.merges)
    if resolved.unassigned:
        EVENTS_UNASSIGNED.inc(len(resolved.unassigned))
        log.info("events name nobody", events=len(resolved.unassigned))
    if dropped := resolved.dropped:
        for what, count in dropped.items():
            PROFILE_DROPPED.labels(what).inc(count)
        log.warning("profiles have no room", **dropped)


class Resender:
    """`tessera.profile.updates`, written outside of any batch, for readers that may lack something."""

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
            steps = await last_steps(connection, profile_ids)
            records = [wire.stored_record_of(profile_id, step, now) for profile_id, step in steps]
            await self._log.append(connection, PROFILE_UPDATES, records)
        return {profile_id: step.revision for profile_id, step in steps}
