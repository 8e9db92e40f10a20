"""The settings decide which log a service gets, and what it runs beside it."""

import time
from typing import ClassVar

import pytest

from libs.messaging import PostgresLog, Topic, TopicMissing, kafka
from libs.messaging.kafka import KafkaLog
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.opening import open_event_log, upkeep
from libs.messaging.relay import Relay
from libs.messaging.retention import Retention
from libs.settings import ServiceSettings, servers_of
from tests.integration.messaging.harness import Deployment


class _Settings(ServiceSettings):
    service: ClassVar[str] = "profile"


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("", ""),
        ("kafka://one:9092", "one:9092"),
        ("kafka://one:9092,two:9093/", "one:9092,two:9093"),
        ("kafka://[::1]:9092", "[::1]:9092"),
    ],
)
def test_a_url_names_the_servers(url: str, servers: str) -> None:
    assert servers == servers_of(url)


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://one", "kafka://one:port", "kafka://one:1,", "redis://secret:1", "one:9092"]
)
def test_any_other_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="EVENT_LOG_URL must be empty, or kafka://") as caught:
        servers_of(url)

    assert "secret" not in str(caught.value)


async def test_without_a_url_the_log_is_postgresqls_and_retention_is_its_upkeep(
    on_postgres: Deployment,
) -> None:
    settings = _Settings(database_url=on_postgres.database_url)
    async with on_postgres.open() as (database, _), open_event_log(database, settings) as log:
        assert isinstance(log, PostgresLog)
        assert [Retention] == [type(component) for component in upkeep(database, log, settings)]


async def test_with_kafkas_url_the_log_is_kafka_and_the_relay_is_its_upkeep(on_kafka: Deployment) -> None:
    settings = _Settings(
        database_url=on_kafka.database_url,
        event_log_url=f"kafka://{on_kafka.kafka}",
        tessera_namespace=on_kafka.namespace,
    )
    async with on_kafka.open() as (database, _), open_event_log(database, settings) as log:
        assert isinstance(log, KafkaLog)
        assert [Relay] == [type(component) for component in upkeep(database, log, settings)]
        await log.check()


async def test_too_few_brokers_are_waited_for_and_then_named(
    on_kafka: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_BROKERS_SECONDS", 0.5)
    topic = Topic("profile.of_two_brokers", owner="profile")
    begun = time.monotonic()
    async with on_kafka.open() as (database, _):
        log = KafkaLog(database, KafkaAccess(on_kafka.kafka), 4, on_kafka.namespace, replicas=2)
        with pytest.raises(TopicMissing, match=r"of_two_brokers could not be created: .*eplication"):
            await log.declare([topic])
        await log.close()

    assert time.monotonic() - begun >= 0.5
