"""Opens the log that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from libs.database import Database
from libs.lifecycle import Component
from libs.messaging.kafka import KafkaLog
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.log import EventLog
from libs.messaging.postgres import PostgresLog
from libs.messaging.relay import Relay
from libs.messaging.retention import Retention
from libs.messaging.topics import owned_by
from libs.settings import ServiceSettings


@asynccontextmanager
async def open_log(
    database: Database, access: KafkaAccess, partitions: int, namespace: str, replicas: int = 1
) -> AsyncIterator[EventLog]:
    """The log in PostgreSQL, or Kafka where there are brokers."""
    if not access.servers:
        yield PostgresLog(database, partitions, namespace)
        return
    event_log = KafkaLog(database, access, partitions, namespace, replicas)
    try:
        yield event_log
    finally:
        await event_log.close()


def open_event_log(database: Database, settings: ServiceSettings) -> AbstractAsyncContextManager[EventLog]:
    """The log that a service's settings name."""
    return open_log(
        database,
        KafkaAccess.of(settings),
        settings.topic_partitions,
        settings.tessera_namespace,
        settings.topic_replicas,
    )


def upkeep(database: Database, event_log: EventLog, settings: ServiceSettings) -> Sequence[Component]:
    """The components that a log needs beside its users: the relay to Kafka, or else retention."""
    topics = owned_by(settings.service)
    if not isinstance(event_log, KafkaLog):
        return (Retention(database, settings.tessera_namespace, topics),)
    return (Relay(database, event_log.access, topics, settings.service, event_log.namespace),)
