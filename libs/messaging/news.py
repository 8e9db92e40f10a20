"""Lets readers wait for news without missing any that came while they worked."""

import asyncio
from contextlib import suppress


class News:
    """Counts what happened, and wakes whoever waits for more."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Something happened."""
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seen: int, seconds: float) -> None:
        """Return when something has happened since `count` was `seen`, or the time is over."""
        if self.count == seen:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), seconds)
