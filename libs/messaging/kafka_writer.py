"""Writes to Kafka: an idempotent producer that is started when it is needed and replaced when it is spent."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError, KafkaTimeoutError  # type: ignore[import-untyped]

from libs.errors import Unavailable
from libs.messaging.cloud_events import Message
from libs.messaging.kafka_access import KafkaAccess

log = structlog.get_logger(__name__)

# Large enough for a thousand records, small enough that compressing it does not hold up the loop.
_BATCH_BYTES = 256 << 10
_STOP_SECONDS = 5.0


class KafkaWriter:
    """Stores records of a partition in the order in which it gets them.

    For each partition there may be one `send` at a time, and it has one batch under way: whatever
    fails and is tried again, a later batch never gets ahead of an earlier one.
    """

    def __init__(self, access: KafkaAccess, name: str) -> None:
        self._access = access
        self._name = name
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, topic: str, index: int, messages: Iterable[Message]) -> None:
        """Return when all replicas in sync have the messages; Unavailable if that may not be so.

        Waits for as long as the broker is gone: the deadline is the caller's, and what was given up
        may be stored all the same.
        """
        producer = await self._started()
        try:
            now = int(time.time() * 1000)
            batch = producer.create_batch()
            for key, value, headers in messages:
                if batch.append(timestamp=now, key=key, value=value, headers=headers) is None:
                    await (await producer.send_batch(batch, topic, partition=index))
                    batch = producer.create_batch()
                    batch.append(timestamp=now, key=key, value=value, headers=headers)
            if batch.record_count():
                await (await producer.send_batch(batch, topic, partition=index))
        except KafkaError as error:
            # After a batch that failed for good the broker refuses the ones that follow it.
            if not error.retriable and not isinstance(error, KafkaTimeoutError):
                self._discard(producer)
            raise Unavailable("Kafka does not take records", topic=topic, error=repr(error)) from error

    async def close(self) -> None:
        """Wait shortly for what is under way."""
        if self._producer is not None:
            self._discard(self._producer)
        await asyncio.gather(*self._closing)

    async def _started(self) -> Any:
        if self._producer is not None:
            return self._producer
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._access.options(),
                    client_id=self._name,
                    acks="all",
                    enable_idempotence=True,
                    compression_type="zstd",
                    max_batch_size=_BATCH_BYTES,
                )
                try:
                    await producer.start()
                except BaseException as error:
                    await producer.stop()
                    if isinstance(error, KafkaError):
                        raise Unavailable("Kafka does not answer", error=repr(error)) from error
                    raise
                self._producer = producer
        return self._producer

    def _discard(self, producer: Any) -> None:
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(_stop(producer))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _stop(producer: Any) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError) as error:
        log.warning("producer was not closed cleanly", error=repr(error))
        await producer.client.close()
