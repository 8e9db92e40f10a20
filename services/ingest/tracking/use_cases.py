"""The use cases of tracking: take events in, live ones and old ones."""

import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from libs.errors import Invalid, NotFound, Required, ResourceExhausted, TooLarge
from libs.observability import metrics
from libs.operations.model import Operation
from libs.operations.use_cases import Operations
from libs.tracking.calls import Call, LeftOut
from services.ingest.rejections.model import Rejected
from services.ingest.rejections.use_cases import Rejections
from services.ingest.sources.model import Source
from services.ingest.tracking.model import MOST_BATCH_EVENTS, MOST_EVENT_BYTES, Collected, accept
from services.ingest.tracking.ports import Events

Store = Callable[[Sequence[Collected]], Awaitable[None]]

IMPORT: Final = "ingest.import"
_MOST_DETAIL: Final = 200
# Callers wait for the log, not in memory: beyond this many events they are told to come back.
_MOST_WAITING: Final = 50_000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item of a batch that could not even be read as a call."""

    message_id: str
    error: Invalid


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of a batch, with what was sent, for those who look into rejections."""

    call: Call | Unreadable
    size: int
    """In bytes, with what it takes from its batch."""
    body: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one item was not stored."""

    index: int
    message_id: str
    error: Invalid


@dataclass(frozen=True, slots=True)
class Notice:
    """What was left out of one item that is stored."""

    index: int
    message_id: str
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a batch."""

    accepted: int
    rejections: Sequence[Rejection]
    warnings: Sequence[Notice]


class Collector:
    """Takes batches of events in."""

    def __init__(
        self, events: Events, rejections: Rejections, clock: Callable[[], float] = time.time
    ) -> None:
        self._events = events
        self._rejections = rejections
        self._clock = clock
        self._waiting = 0

    async def collect(self, source: Source, items: Sequence[Item]) -> Result:
        """Store what is valid and return once it is durable; what is not is kept with its reason."""
        return await self._collect(source, items, self._events.store)

    async def collect_imports(self, source: Source, items: Sequence[Item]) -> Result:
        """The same for old events."""
        return await self._collect(source, items, self._events.store_imports)

    async def _collect(self, source: Source, items: Sequence[Item], store: Store) -> Result:
        if not 1 <= len(items) <= MOST_BATCH_EVENTS:
            kind = TooLarge if items else Required
            raise kind("events", f"must hold from 1 to {MOST_BATCH_EVENTS:,} events, not {len(items):,}")
        if self._waiting + len(items) > _MOST_WAITING:
            raise ResourceExhausted("too many events wait for the log")
        received = int(self._clock() * 1_000_000)
        accepted: list[Collected] = []
        rejections: list[Rejection] = []
        rejected: list[Rejected] = []
        warnings: list[Notice] = []
        for index, item in enumerate(items):
            try:
                collected = _accept(item, source, received)
            except Invalid as error:
                rejections.append(Rejection(index, item.call.message_id or "", error))
                rejected.append(Rejected(source.source_id, received, error.field, error.problem, item.body()))
                continue
            accepted.append(collected)
            if collected.left_out:
                message_id = item.call.message_id or ""
                warnings += [Notice(index, message_id, one) for one in collected.left_out]
                _count(collected)
        self._waiting += len(items)
        try:
            if rejected:
                await self._rejections.keep(source.source_id, rejected)
            if accepted:
                await store(accepted)
        finally:
            self._waiting -= len(items)
        return Result(len(accepted), rejections, warnings)


class Imports:
    """Takes old events in as operations that others can watch and cancel."""

    def __init__(self, collector: Collector, operations: Operations) -> None:
        self._collector = collector
        self._operations = operations

    async def start(self, source: Source, total: int, detail: str, request_id: str) -> Operation:
        """Begin one; the same request again returns what it has begun."""
        if total < 0:
            raise Invalid("total_count", "is below zero")
        if len(detail) > _MOST_DETAIL:
            raise TooLarge("detail", f"has more than {_MOST_DETAIL} characters")
        operation = await self._operations.start(IMPORT, source.source_id, total, request_id=request_id)
        if operation.has_ended:
            return operation
        await self._operations.advance(operation, operation.done, total, detail)
        return await self._operations.get(operation.operation_id)

    async def collect(self, source: Source, items: Sequence[Item], operation_id: str, done: int) -> Result:
        """Store a batch; of an operation only where it goes on. `done` events came before."""
        if done < 0:
            raise Invalid("done_count", "is below zero")
        if operation_id:
            operation = await self._import(operation_id)
            if operation.subject != source.source_id:
                raise Invalid("source_id", f"is not {operation.subject}, which the import is for")
            await self._operations.advance(operation, done, max(operation.total, done), operation.detail)
        return await self._collector.collect_imports(source, items)

    async def end(self, operation_id: str, accepted: int, rejected: int, failure: str) -> Operation:
        """End one, as failed where there is a failure."""
        operation = await self._import(operation_id)
        result = {"accepted": accepted, "rejected": rejected}
        return await self._operations.end(operation, accepted + rejected, failure, result)

    async def _import(self, operation_id: str) -> Operation:
        operation = await self._operations.get(operation_id)
        if operation.kind != IMPORT:
            raise NotFound(f"operation {operation_id} is no import", operation_id=operation_id)
        return operation


def _accept(item: Item, source: Source, received: int) -> Collected:
    call = item.call
    if isinstance(call, Unreadable):
        raise call.error
    if item.size > MOST_EVENT_BYTES:
        raise TooLarge("body", f"has {item.size:,} bytes, {MOST_EVENT_BYTES:,} are allowed")
    return accept(call, source, received, "" if call.message_id else str(uuid.uuid4()))


def _count(collected: Collected) -> None:
    metrics.EVENT_WARNINGS.inc(len(collected.left_out))
    if collected.purposes_dropped:
        metrics.PURPOSES_DROPPED.inc(collected.purposes_dropped)
