"""The use cases of ingest: collect, and look after sources."""

import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from libs.errors import (
    Conflict,
    Invalid,
    KeyMissing,
    KeyUnknown,
    NotFound,
    Required,
    ResourceExhausted,
    TooLarge,
)
from services.ingest.domain import MOST_BATCH_EVENTS, Collected, Incoming, Source, accept
from services.ingest.ports import Events, KeptRejection, Rejected, Rejections, Sources

Store = Callable[[Sequence[Collected]], Awaitable[None]]

# Callers wait for the log, not in memory: beyond this many events they are told to come back.
_MOST_WAITING = 50_000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item of a batch that could not even be read as an event."""

    message_id: str
    error: Invalid


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of a batch, with what was sent, for those who look into rejections."""

    event: Incoming | Unreadable
    body: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one item was not stored."""

    index: int
    message_id: str
    error: Invalid


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a batch."""

    accepted: int
    rejections: Sequence[Rejection]


class Collector:
    """Takes batches of events in."""

    def __init__(
        self,
        sources: Sources,
        events: Events,
        rejections: Rejections,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._events = events
        self._rejections = rejections
        self._clock = clock
        self._waiting = 0

    async def source_of(self, write_key: str) -> Source:
        """The source that a key belongs to."""
        if not write_key:
            raise KeyMissing("a write key is needed: that of a source")
        source = await self._sources.by_key(write_key)
        if source is None:
            raise KeyUnknown("no source has this write key")
        return source

    async def collect(self, source: Source, items: Sequence[Item]) -> Result:
        """Store what is valid and return once it is durable; what is not is kept with its reason."""
        return await self._take(source, items, self._events.store)

    async def collect_imports(self, source_id: str, items: Sequence[Item]) -> Result:
        """The same for old events."""
        if not source_id:
            raise Required("source_id", "is required")
        source = await self._sources.by_id(source_id)
        if source is None:
            raise NotFound(f"there is no source {source_id}", source_id=source_id)
        return await self._take(source, items, self._events.store_imports)

    async def _take(self, source: Source, items: Sequence[Item], store: Store) -> Result:
        if not 1 <= len(items) <= MOST_BATCH_EVENTS:
            kind = TooLarge if items else Required
            raise kind("events", f"must hold from 1 to {MOST_BATCH_EVENTS:,} events, not {len(items):,}")
        if self._waiting + len(items) > _MOST_WAITING:
            raise ResourceExhausted("too many events wait for the log")
        received = int(self._clock() * 1_000_000)
        accepted: list[Collected] = []
        rejections: list[Rejection] = []
        rejected: list[Rejected] = []
        for index, item in enumerate(items):
            try:
                accepted.append(_accept(item.event, source, received))
            except Invalid as error:
                message_id = item.event.message_id or ""
                rejections.append(Rejection(index, message_id, error))
                rejected.append(Rejected(source.source_id, received, error.field, error.problem, item.body()))
        self._waiting += len(items)
        try:
            if rejected:
                await self._rejections.keep(rejected)
            if accepted:
                await store(accepted)
        finally:
            self._waiting -= len(items)
        return Result(len(accepted), rejections)


def _accept(event: Incoming | Unreadable, source: Source, received: int) -> Collected:
    if isinstance(event, Unreadable):
        raise event.error
    return accept(event, source, received, "" if event.message_id else str(uuid.uuid4()))


class Administration:
    """Looks after sources, and shows what was rejected."""

    def __init__(self, sources: Sources, rejections: Rejections) -> None:
        self._sources = sources
        self._rejections = rejections

    async def create(self, source: Source) -> Source:
        """Store a source; the same again returns the stored one."""
        wanted = source if source.write_key else replace(source, write_key=secrets.token_urlsafe(24))
        stored = await self._sources.create(wanted)
        if stored is None:
            raise Conflict("another source has this write key", source_id=source.source_id)
        # Without a key of the caller's, the stored one is as good.
        if stored != (source if source.write_key else replace(source, write_key=stored.write_key)):
            raise Conflict(
                f"source {source.source_id} exists with other settings", source_id=source.source_id
            )
        return stored

    async def sources(self) -> list[Source]:
        """All sources, by id."""
        return await self._sources.all()

    async def rejections(self, before: int, limit: int, source_id: str) -> list[KeptRejection]:
        """Rejected events, newest first."""
        return await self._rejections.page(before, limit, source_id)
