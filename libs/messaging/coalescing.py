"""Lets concurrent callers share one write: while one is under way, the next gathers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from libs.errors import ResourceExhausted

Item = TypeVar("Item")


class Coalescer(Generic[Item]):
    """Gathers the items of concurrent calls and stores them together, one store at a time.

    A caller that is cancelled may find its items stored all the same. So that a store that hangs
    does not fill the memory, no more than `most_waiting` items wait: further callers are refused.
    """

    def __init__(
        self,
        store: Callable[[list[Item]], Awaitable[None]],
        most: int = 10_000,
        most_waiting: int = 100_000,
    ) -> None:
        self._store = store
        self._most = most
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[Sequence[Item], asyncio.Future[None]]] = deque()
        self._count = 0
        self._running: asyncio.Task[None] | None = None

    async def send(self, items: Sequence[Item]) -> None:
        """Return when the items are stored; raise what the store raised."""
        await self.submit(items)

    def submit(self, items: Sequence[Item]) -> asyncio.Future[None]:
        """Do the same, for callers that wait for several stores: a future costs less than a task."""
        if self._count and self._count + len(items) > self._most_waiting:
            raise ResourceExhausted("the event log does not keep up: try again later")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, done))
        self._count += len(items)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return done

    def _next_callers(self) -> list[tuple[Sequence[Item], asyncio.Future[None]]]:
        """The next callers to store for; those that gave up meanwhile are left out."""
        taken: list[tuple[Sequence[Item], asyncio.Future[None]]] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0][0]) <= self._most):
            items, done = self._waiting.popleft()
            self._count -= len(items)
            if not done.done():
                taken.append((items, done))
                size += len(items)
        return taken

    async def _run(self) -> None:
        while together := self._next_callers():
            try:
                await self._store([item for items, _ in together for item in items])
            except BaseException as error:  # every caller must hear of it, whatever it is
                ended = not isinstance(error, Exception)
                for _, done in (*together, *self._waiting) if ended else together:
                    if not done.done():
                        done.set_exception(error)
                if ended:
                    self._waiting.clear()
                    self._count = 0
                    raise
            else:
                for _, done in together:
                    if not done.done():
                        done.set_result(None)
