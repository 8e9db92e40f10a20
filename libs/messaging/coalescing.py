"""Lets concurrent callers share one write: while one is under way, the next gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Coalescer(Generic[Item]):
    """Gathers the items of concurrent calls and stores them together, one store at a time.

    A caller that is cancelled may find its items stored all the same.
    """

    def __init__(self, store: Callable[[list[Item]], Awaitable[None]], most: int = 10_000) -> None:
        self._store = store
        self._most = most
        self._waiting: list[tuple[Sequence[Item], asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def send(self, items: Sequence[Item]) -> None:
        """Return when the items are stored; raise what the store raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        while self._waiting:
            together: list[tuple[Sequence[Item], asyncio.Future[None]]] = []
            count = 0
            while self._waiting and (not together or count + len(self._waiting[0][0]) <= self._most):
                together.append(self._waiting.pop(0))
                count += len(together[-1][0])
            try:
                await self._store([item for items, _ in together for item in items])
            except BaseException as error:  # every caller must hear of it, whatever it is
                for _, done in together:
                    if not done.done():
                        done.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for _, done in together:
                    if not done.done():
                        done.set_result(None)
