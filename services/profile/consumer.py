"""Reads `tessera.ingest.events` and writes `tessera.profile.updates`."""

import time
from collections.abc import Callable

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome
from libs.messaging.topics import PROFILE_UPDATES
from services.profile import convert
from services.profile.handlers import apply_events
from services.profile.repository import Cache, SqlPeople

log = structlog.get_logger(__name__)


class EventHandler:
    """Applies batches of collected events."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._cache = Cache()
        self._clock = clock

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        now = int(self._clock() * 1_000_000)
        events = []
        traced: dict[bytes, str] = {}
        for record in batch.records:
            event = convert.event_of(record.value)
            events.append(event)
            if "traceparent" in record.headers:
                traced[event.event_id] = record.headers["traceparent"]
        people = SqlPeople(connection, self._cache, now, traced)
        applied = await apply_events(people, events)
        if applied.duplicates or applied.merges:
            log.debug("events applied", duplicates=applied.duplicates, merges=applied.merges)
        return Outcome([(PROFILE_UPDATES, people.records)], people.commit_cache)

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        self._cache.forget()
