"""The event log in Kafka: the log of production.

What belongs to a transaction goes to an outbox in PostgreSQL, whose tables are those of the
PostgreSQL log, and a relay ships it; what has no transaction goes to Kafka directly.
"""

import asyncio
import itertools
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError, for_code  # type: ignore[import-untyped]

from libs.database import Connection, Database
from libs.errors import Unavailable
from libs.messaging import cloud_events
from libs.messaging.coalescing import Coalescer
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.kafka_readiness import await_coordinator, await_leaders
from libs.messaging.kafka_subscription import KafkaSubscription
from libs.messaging.kafka_writer import KafkaWriter
from libs.messaging.log import TopicDiffers, TopicMissing
from libs.messaging.postgres import PostgresLog
from libs.messaging.records import Record, partition_of
from libs.messaging.topics import Topic

SESSION_SECONDS = 10.0
_PUBLISH_SECONDS = 30.0
_MOST_WAITING = 10_000
_CREATE_SECONDS = 30.0
_EXISTS = 36
_TOO_FEW_BROKERS = 38
# Brokers that have just started serve before they take part.
_BROKERS_SECONDS = 10.0


class KafkaLog:
    """The log of a deployment on Kafka, with the outbox in this service's PostgreSQL."""

    def __init__(
        self,
        database: Database,
        access: KafkaAccess,
        partitions: int,
        namespace: str = "tessera",
        replicas: int = 1,
        clock: Callable[[], float] = time.time,
        session_seconds: float = SESSION_SECONDS,
        publish_seconds: float = _PUBLISH_SECONDS,
    ) -> None:
        self.partitions = partitions
        self.access = access
        self.namespace = namespace
        self._replicas = replicas
        self._clock = clock
        self._session_seconds = session_seconds
        self._publish_seconds = publish_seconds
        self._outbox = PostgresLog(database, partitions, namespace)
        self._writer = KafkaWriter(access, f"{namespace} writer")
        self._publishers: dict[tuple[str, int], Coalescer[Record]] = {}
        self._admin: Any = None
        self._connecting = asyncio.Lock()
        # The id of a record that has no number: unique with its source, as CloudEvents asks.
        self._id_prefix = uuid.uuid4().hex
        self._id_numbers = itertools.count()

    async def close(self) -> None:
        """Close the connections that writing and asking have opened."""
        await self._writer.close()
        if self._admin is not None:
            await self._admin.close()

    async def declare(self, topics: Sequence[Topic]) -> None:
        await self._outbox.declare(topics)
        wanted = [self._new_topic(topic) for topic in topics]
        patient_until = time.monotonic() + _BROKERS_SECONDS
        async with asyncio.timeout(_CREATE_SECONDS):
            while failed := await self._failed(wanted):
                name, code, message = failed
                if code != _TOO_FEW_BROKERS or time.monotonic() > patient_until:
                    raise TopicMissing(f"{name} could not be created: {message or for_code(code).__name__}")
                await asyncio.sleep(0.2)
            # The broker that is asked next may not know yet what the controller has created.
            while not await self._all_known(topics):  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.05)
        await await_leaders(self.access, [self._outbox.name_of(topic) for topic in topics])

    async def _failed(self, wanted: Sequence[NewTopic]) -> tuple[str, int, str] | None:
        """Create topics; returns the first that could not be: its name, Kafka's code and message."""
        try:
            answer = await (await self._connected()).create_topics(wanted)
        except KafkaError as error:
            raise Unavailable("Kafka does not answer", error=repr(error)) from error
        failed = ((name, code, message) for name, code, message in answer.topic_errors)
        return next((one for one in failed if one[1] not in (0, _EXISTS)), None)

    async def append(self, connection: Connection, topic: Topic, records: Sequence[Record]) -> None:
        await self._outbox.append(connection, topic, records)

    async def publish(self, topic: Topic, records: Sequence[Record]) -> None:
        by_index: dict[int, list[Record]] = defaultdict(list)
        for record in records:
            by_index[partition_of(record, self.partitions)].append(record)
        try:
            async with asyncio.timeout(self._publish_seconds):
                await asyncio.gather(
                    *(self._publisher(topic, index).submit(own) for index, own in by_index.items())
                )
        except TimeoutError:
            raise Unavailable("Kafka did not answer in time; the records may be stored") from None

    @asynccontextmanager
    async def subscribe(self, group: str, topics: Sequence[Topic]) -> AsyncIterator[KafkaSubscription]:
        try:
            if not await self._all_known(topics):
                missing = ", ".join(self._outbox.name_of(topic) for topic in topics)
                owners = ", ".join(sorted({topic.owner for topic in topics}))
                raise TopicMissing(f"not all on Kafka: {missing}; start {owners}")
        except KafkaError as error:
            raise Unavailable("Kafka does not answer", error=repr(error)) from error
        names = {topic.name: self._outbox.name_of(topic) for topic in topics}
        await await_leaders(self.access, names.values())
        await await_coordinator(self.access, f"{self.namespace}.{group}")
        subscription = KafkaSubscription(
            self.access,
            f"{self.namespace}.{group}",
            names,
            self._clock,
            self._session_seconds,
        )
        running: asyncio.Task[None] | None = None
        try:
            try:
                await subscription.start()
            except KafkaError as error:
                raise Unavailable("Kafka does not answer", error=repr(error)) from error
            running = asyncio.create_task(subscription.run())
            yield subscription
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await subscription.stop()

    async def check(self) -> None:
        async with asyncio.timeout(2):
            await (await self._connected()).describe_cluster()

    def _new_topic(self, topic: Topic) -> Any:
        return NewTopic(
            self._outbox.name_of(topic),
            self.partitions,
            self._replicas,
            topic_configs={
                "cleanup.policy": "delete",
                "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
                "min.insync.replicas": str(max(1, self._replicas - 1)),
                # Retention counts from the append, and a writer's wrong clock can't make a record stay or go.
                "message.timestamp.type": "LogAppendTime",
                # Twice what a record's key and value may have: headers come on top.
                "max.message.bytes": str(4 << 20),
            },
        )

    async def _all_known(self, topics: Sequence[Topic]) -> bool:
        """Whether all topics exist; TopicDiffers where one has another number of partitions."""
        # All are asked for: to ask for one by its name creates it, where a broker is set so.
        found = {
            known["topic"]: len(known["partitions"])
            for known in await (await self._connected()).describe_topics()
            if not known["error_code"]
        }
        for name in (self._outbox.name_of(topic) for topic in topics):
            if name in found and found[name] != self.partitions:
                raise TopicDiffers(
                    f"{name} has {found[name]} partitions, but TOPIC_PARTITIONS is {self.partitions}"
                )
        return all(self._outbox.name_of(topic) in found for topic in topics)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self.access.options(), client_id=f"{self.namespace} log")
                try:
                    await admin.start()
                except BaseException as error:
                    await admin.close()
                    if isinstance(error, KafkaError):
                        raise Unavailable("Kafka does not answer", error=repr(error)) from error
                    raise
                self._admin = admin
        return self._admin

    def _publisher(self, topic: Topic, index: int) -> Coalescer[Record]:
        publisher = self._publishers.get((topic.name, index))
        if publisher is None:
            name = self._outbox.name_of(topic)
            source = cloud_events.source_of(self.namespace, topic.owner)

            async def store(together: list[Record]) -> None:
                await self._writer.send(
                    name,
                    index,
                    (
                        (
                            record.key,
                            record.value,
                            cloud_events.encode(
                                f"{self._id_prefix}-{next(self._id_numbers)}",
                                source,
                                record.type,
                                record.time,
                                record.headers,
                            ),
                        )
                        for record in together
                    ),
                )

            publisher = Coalescer(store, most_waiting=_MOST_WAITING)
            self._publishers[topic.name, index] = publisher
        return publisher
