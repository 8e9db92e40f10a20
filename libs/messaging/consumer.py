"""A consumer: a member of a group whose partitions several workers share."""

import asyncio
import time
from collections.abc import Callable

import structlog

from libs.database import Database
from libs.lifecycle import pause
from libs.messaging.handling import ConsumerSettings, Handler
from libs.messaging.log import EventLog, Subscription, TopicMissing
from libs.messaging.retrying import BackOff, passes
from libs.messaging.worker import Worker

log = structlog.get_logger(__name__)


class Consumer:
    """A member of a group with several workers: a lifecycle component."""

    def __init__(
        self,
        database: Database,
        event_log: EventLog,
        settings: ConsumerSettings,
        handler: Callable[[], Handler],
    ) -> None:
        """ValueError where a topic does not declare the group as a reader: nothing would be kept for it."""
        every = (*settings.topics, *settings.background)
        if undeclared := [topic.name for topic in every if settings.group not in topic.readers]:
            raise ValueError(f"{settings.group} is no declared reader of {', '.join(undeclared)}")
        self._database = database
        self._log = event_log
        self._settings = settings
        self._topics = every
        self._handler = handler

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until asked to stop; the batches in hand are finished."""
        settings = self._settings
        back_off = BackOff()
        told = False
        patient_until = time.monotonic() + settings.owners_seconds
        while not stopping.is_set():
            try:
                async with self._log.subscribe(settings.group, self._topics) as subscription:
                    await self._share_out(subscription, stopping)
            except Exception as error:
                starting = isinstance(error, TopicMissing) and time.monotonic() < patient_until
                if not starting and not passes(error):
                    raise
                seconds = back_off.failed()
                if not starting:
                    log.warning("subscribing again", group=settings.group, error=repr(error), seconds=seconds)
                elif not told:
                    # Services start together: that another one is not there yet is no failure.
                    log.info("waits for topics", group=settings.group, missing=str(error))
                    told = True
                await pause(stopping, seconds)

    async def _share_out(self, subscription: Subscription, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for index in range(self._settings.workers):
                worker = Worker(
                    self._database, self._log, subscription, self._settings, self._handler(), index
                )
                group.create_task(worker.run(stopping))
