"""Starts work, keeps account of it, and lets others watch and cancel it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import orjson
import structlog

from libs.errors import FailedPrecondition, NotFound, TesseraError
from libs.ids import check_request_id, new_uuid
from libs.operations.model import Operation, State
from libs.operations.ports import Filter, Store

log = structlog.get_logger(__name__)

_MICROS: Final = 1_000_000
_TELL_SECONDS: Final = 1.0
# A worker tells that it lives far more often than it may be silent.
_ALIVE_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 120.0
_MOST_DETAIL: Final = 1_000


class Cancelled(Exception):
    """Somebody asked the work to end."""


class OperationEnded(FailedPrecondition):
    """There is nothing more to do: the work was cancelled, or has ended."""

    reason = "OPERATION_ENDED"


class Progress:
    """What the work tells of itself while it runs."""

    def __init__(self, store: Store, operation: Operation, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._operation = operation
        self._done, self._total, self._detail = operation.done, operation.total, operation.detail
        self._told = 0.0
        self.result: dict[str, object] = {}
        """What came of it, told when it has succeeded."""

    @property
    def operation_id(self) -> str:
        """Names the operation."""
        return self._operation.operation_id

    async def advance(self, done: int, total: int | None = None, detail: str | None = None) -> None:
        """Tell how far it is, at most once a second; raises `Cancelled` once somebody asked it to end."""
        self._done = done
        self._total = self._total if total is None else total
        new_detail = detail is not None and detail != self._detail
        self._detail = self._detail if detail is None else _cut(detail)
        if new_detail or self._clock() >= self._told + _TELL_SECONDS:
            await self.tell()
        if self._operation.cancel_requested:
            raise Cancelled

    async def tell(self) -> None:
        """Store how far it is, and learn whether it is to end."""
        now = self._clock()
        self._told = now
        told = await self._store.advance(
            self.operation_id, self._done, self._total, self._detail, int(now * _MICROS)
        )
        self._operation = told or self._operation


class Operations:
    """The operations of one service."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def start(
        self, kind: str, subject: str = "", total: int = 0, *, request_id: str = "", cancellable: bool = True
    ) -> Operation:
        """Make an operation for work that begins now; the same request again returns the same one."""
        check_request_id(request_id)
        now = self._now()
        operation = Operation(new_uuid(), kind, subject, now, now, total=total, cancellable=cancellable)
        return await self._store.add(operation, request_id)

    @asynccontextmanager
    async def run(self, operation: Operation) -> AsyncIterator[Progress]:
        """Keep account of the work inside: how far it is, and how it ended.

        `Cancelled` ends it as cancelled and goes no further; another error ends it as failed and is raised.
        """
        progress = Progress(self._store, operation, self._clock)
        alive = asyncio.create_task(self._stay_alive(progress))
        try:
            yield progress
        except Cancelled:
            await self._end(operation, State.CANCELLED, "cancelled")
        except BaseException as error:
            detail = error.message if isinstance(error, TesseraError) else type(error).__name__
            await asyncio.shield(self._end(operation, State.FAILED, detail))
            raise
        else:
            await progress.tell()
            await self._end(operation, State.SUCCEEDED, "", orjson.dumps(progress.result))
        finally:
            alive.cancel()

    async def advance(self, operation: Operation, done: int, total: int, detail: str) -> None:
        """Note how far work is that a caller does, call by call.

        Raises `OperationEnded` once it is to go no further. Who is silent for two minutes has failed.
        """
        told = await self._store.advance(operation.operation_id, done, total, _cut(detail), self._now())
        if told is not None and told.cancel_requested:
            await self._end(told, State.CANCELLED, "cancelled")
        if told is None or told.cancel_requested:
            ended = await self.get(operation.operation_id)
            raise OperationEnded(
                f"{ended.kind} {ended.operation_id} has ended: {ended.detail or ended.state.name.lower()}",
                operation_id=ended.operation_id,
                state=ended.state.name,
            )

    async def end(
        self, operation: Operation, done: int, failure: str, result: Mapping[str, object]
    ) -> Operation:
        """End work that a caller did, as failed where there is a failure; what has ended stays as it is."""
        total = operation.total or done
        await self._store.advance(operation.operation_id, done, total, operation.detail, self._now())
        state = State.FAILED if failure else State.SUCCEEDED
        await self._end(operation, state, failure or operation.detail, orjson.dumps(result))
        return await self.get(operation.operation_id)

    async def get(self, operation_id: str) -> Operation:
        """One by its id."""
        found = await self._store.get(operation_id)
        if found is None:
            raise _unknown(operation_id)
        return found

    async def page(self, wanted: Filter, before: int, limit: int) -> list[Operation]:
        """The newest below a number."""
        return await self._store.page(wanted, before, limit)

    async def cancel(self, operation_id: str) -> Operation:
        """Ask it to end at its next step; FailedPrecondition for work that can't be cancelled."""
        operation = await self.get(operation_id)
        if operation.has_ended:
            return operation
        if not operation.cancellable:
            raise FailedPrecondition(f"{operation.kind} can't be cancelled", operation_id=operation_id)
        asked = await self._store.request_cancel(operation_id, self._now())
        if asked is None:
            raise _unknown(operation_id)
        return asked

    async def fail_silent(self) -> int:
        """End as failed the work of processes that are gone; returns how much there was."""
        now = self._now()
        last_update = now - int(_SILENT_SECONDS * _MICROS)
        failed = await self._store.fail_silent(last_update, "its process ended before the work did", now)
        if failed:
            log.warning("operations failed silently", operations=failed)
        return failed

    async def _stay_alive(self, progress: Progress) -> None:
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            try:
                await progress.tell()
            except Exception as error:
                # The work itself will meet it, or it passes.
                log.warning("progress not stored", error=repr(error))

    async def _end(self, operation: Operation, state: State, detail: str, result: bytes = b"") -> None:
        await self._store.end(operation.operation_id, state, _cut(detail), result, self._now())
        log.info("operation ended", kind=operation.kind, subject=operation.subject, state=state.name.lower())

    def _now(self) -> int:
        return int(self._clock() * _MICROS)


def _cut(detail: str) -> str:
    # PostgreSQL keeps no zero character, and what failed may quote anything.
    return detail.replace("\0", "\ufffd")[:_MOST_DETAIL]


def _unknown(operation_id: str) -> NotFound:
    return NotFound(f"there is no operation {operation_id}", operation_id=operation_id)
