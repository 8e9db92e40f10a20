"""Accepted events on the log."""

import random
from collections.abc import Sequence

from libs.messaging import EventLog
from libs.messaging.topics import INGEST_EVENTS, INGEST_IMPORTS, Topic
from libs.observability import traces
from services.ingest.tracking import wire
from services.ingest.tracking.model import Collected


class LoggedEvents:
    """Puts accepted events on the log."""

    def __init__(self, event_log: EventLog, rng: random.Random) -> None:
        self._log = event_log
        self._rng = rng

    async def store(self, collected: Sequence[Collected]) -> None:
        await self._publish(INGEST_EVENTS, collected)

    async def store_imports(self, collected: Sequence[Collected]) -> None:
        await self._publish(INGEST_IMPORTS, collected)

    async def _publish(self, topic: Topic, collected: Sequence[Collected]) -> None:
        current = traces.current_traceparent()
        sampled = current if traces.is_sampled(current) else None
        records = [wire.record_of(event, sampled or self._drawn()) for event in collected]
        await self._log.publish(topic, records)

    def _drawn(self) -> str | None:
        """A trace of its own for one event in so many: a sampled event is one trace up to its message."""
        return traces.new_traceparent(sampled=True) if traces.should_sample(self._rng) else None
