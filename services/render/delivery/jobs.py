"""Work beside the streams: waking subscribers, and ending what waited too long."""

import asyncio
import time
from collections.abc import Callable

import structlog

from libs.database import Database, is_transient, open_connection
from libs.lifecycle import pause, repeat
from libs.messaging.news import News
from libs.observability import metrics
from services.render.delivery.ports import Queue
from services.render.model import MICROS

log = structlog.get_logger(__name__)

_EXPIRE_SECONDS = 10.0
_RECONNECT_SECONDS = 1.0
_PROBE_SECONDS = 10.0


class Listener:
    """Tells this process's subscribers that messages were stored, or leases given back."""

    def __init__(self, database: Database, channel: str, news: News) -> None:
        self._database = database
        self._channel = channel
        self._news = news

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until asked to stop. Subscribers also look by themselves: this makes them quick."""
        while not stopping.is_set():
            try:
                await self._listen(stopping)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("listener interrupted", error=repr(error))
                await pause(stopping, _RECONNECT_SECONDS)

    async def _listen(self, stopping: asyncio.Event) -> None:
        connection = await open_connection(self._database.url, "render listener")
        try:
            await connection.add_listener(self._channel, lambda *_: self._news.tell())
            self._news.tell()  # whatever came while nobody listened
            while not stopping.is_set():
                await connection.fetchval("select 1")
                await pause(stopping, _PROBE_SECONDS)
        finally:
            connection.terminate()


class ExpireJob:
    """Withdraws messages that waited too long, also while no connector asks for any."""

    def __init__(self, queue: Queue, clock: Callable[[], float] = time.time) -> None:
        self._queue = queue
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every few seconds until asked to stop."""
        await repeat(self.expire, stopping, _EXPIRE_SECONDS, is_transient)

    async def expire(self) -> None:
        """Withdraw what is due."""
        while expired := await self._queue.expire(int(self._clock() * MICROS)):
            metrics.DELIVERIES.labels("expired").inc(expired)
            log.info("messages expired", messages=expired)
