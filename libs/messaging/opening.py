"""Opens the log that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from libs.database import Database
from libs.lifecycle import Component
from libs.messaging.kafka import KafkaLog
from libs.messaging.log import EventLog
from libs.messaging.postgres import PostgresLog
from libs.messaging.relay import Relay
from libs.messaging.retention import Retention
from libs.messaging.topics import owned_by
from libs.settings import ServiceSettings

_SCHEME = "kafka://"


@asynccontextmanager
async def open_log(
    database: Database, url: str, partitions: int, namespace: str, replicas: int = 1
) -> AsyncIterator[EventLog]:
    """The log in PostgreSQL, or Kafka where the URL names one; ValueError for anything else."""
    servers = servers_of(url)
    if not servers:
        yield PostgresLog(database, partitions, namespace)
        return
    event_log = KafkaLog(database, servers, partitions, namespace, replicas)
    try:
        yield event_log
    finally:
        await event_log.close()


def open_event_log(database: Database, settings: ServiceSettings) -> AbstractAsyncContextManager[EventLog]:
    """The log that a service's settings name."""
    return open_log(
        database,
        settings.event_log_url,
        settings.topic_partitions,
        settings.tessera_namespace,
        settings.topic_replicas,
    )


def upkeep(database: Database, event_log: EventLog, settings: ServiceSettings) -> Sequence[Component]:
    """The components that a log needs beside its users: the relay to Kafka, or else retention."""
    topics = owned_by(settings.service)
    if not isinstance(event_log, KafkaLog):
        return (Retention(database, settings.tessera_namespace, topics),)
    return (Relay(database, event_log.servers, topics, settings.service, event_log.namespace),)


def servers_of(url: str) -> str:
    """Kafka's servers as `host:port,host:port`; empty where the log is PostgreSQL's."""
    if not url:
        return ""
    servers = url.removeprefix(_SCHEME).rstrip("/")
    named = [server.rpartition(":") for server in servers.split(",")]
    if not url.startswith(_SCHEME) or not all(host and port.isdecimal() for host, _, port in named):
        # Not the URL itself: it may hold a password.
        raise ValueError("EVENT_LOG_URL must be empty, or kafka://host:port,host:port")
    return servers
