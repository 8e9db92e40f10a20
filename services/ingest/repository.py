"""Sources and rejected events in PostgreSQL, accepted events on the log."""

import random
from asyncio import Lock
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Row, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.database import Database, is_transient
from libs.messaging import EventLog, Record
from libs.messaging.topics import INGEST_EVENTS, INGEST_IMPORTS, Topic
from libs.observability import traces
from services.ingest import convert
from services.ingest.domain import MOST_EVENT_BYTES, Collected, Source
from services.ingest.ports import KeptRejection, Rejected
from services.ingest.tables import REJECTIONS, SOURCES

log = structlog.get_logger(__name__)

# Sources rarely change. But a key that was just made elsewhere must work: a client that is told
# once that it is unknown never sends those events again.
_FORGET_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.5


class SqlSources:
    """Sources, remembered for a few seconds."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, Source] = {}
        self._by_key: dict[str, Source] = {}
        self._read = -_FORGET_SECONDS
        self._reading = Lock()

    async def by_key(self, write_key: str) -> Source | None:
        await self._refresh(_FORGET_SECONDS)
        if write_key not in self._by_key:
            await self._refresh(_LOOK_AGAIN_SECONDS)
        return self._by_key.get(write_key)

    async def by_id(self, source_id: str) -> Source | None:
        await self._refresh(_FORGET_SECONDS)
        if source_id not in self._known:
            await self._refresh(_LOOK_AGAIN_SECONDS)
        return self._known.get(source_id)

    async def create(self, source: Source) -> Source | None:
        async with self._database.query() as connection:
            await connection.execute(
                upsert(SOURCES)
                .values(
                    source_id=source.source_id,
                    trusted=source.trusted,
                    write_key=source.write_key,
                    default_consent=dict(source.default_consent),
                )
                .on_conflict_do_nothing()
            )
            found = await connection.execute(select(SOURCES).where(SOURCES.c.source_id == source.source_id))
            row = found.one_or_none()
        self._read = -_FORGET_SECONDS
        return None if row is None else _source(row)

    async def all(self) -> list[Source]:
        async with self._database.query() as connection:
            return [
                _source(r) for r in await connection.execute(select(SOURCES).order_by(SOURCES.c.source_id))
            ]

    async def _refresh(self, most_age: float) -> None:
        """Read the sources anew where what is known is older. Without a database it has to do."""
        async with self._reading:
            now = self._clock()
            if now - self._read < most_age:
                return
            try:
                sources = await self.all()
            except Exception as error:
                if not self._known or not is_transient(error):
                    raise
                log.warning("sources not read again", error=repr(error))
            else:
                self._known = {source.source_id: source for source in sources}
                self._by_key = {source.write_key: source for source in sources}
            self._read = now


def _source(row: Row[tuple[object, ...]]) -> Source:
    return Source(row.source_id, row.trusted, row.write_key, row.default_consent)


class SqlRejections:
    """Events that were not accepted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, rejected: Sequence[Rejected]) -> None:
        rows = [
            {
                "source_id": r.source_id,
                "received": r.received,
                "field": r.field[:200],
                "reason": r.reason[:1000],
                "body": r.body[:MOST_EVENT_BYTES],
            }
            for r in rejected
        ]
        async with self._database.query() as connection:
            await connection.execute(insert(REJECTIONS), rows)

    async def page(self, before: int, limit: int, source_id: str) -> list[KeptRejection]:
        query = select(REJECTIONS).where(REJECTIONS.c.rejection_id < before)
        if source_id:
            query = query.where(REJECTIONS.c.source_id == source_id)
        query = query.order_by(REJECTIONS.c.rejection_id.desc()).limit(limit)
        async with self._database.query() as connection:
            return [
                KeptRejection(
                    row.rejection_id, Rejected(row.source_id, row.received, row.field, row.reason, row.body)
                )
                for row in await connection.execute(query)
            ]


class LoggedEvents:
    """Accepted events on the log."""

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
        await self._log.publish(topic, [self._record(event, sampled) for event in collected])

    def _record(self, event: Collected, sampled: str | None) -> Record:
        """An event's record; a sampled event is one trace from here to its message."""
        if sampled is None and traces.should_sample(self._rng):
            sampled = traces.new_traceparent(sampled=True)
        return Record(
            key=event.key.encode(),
            type=convert.COLLECTED,
            value=convert.collected_bytes(event),
            time=event.received_time,
            headers={"traceparent": sampled} if sampled else None,
        )
