"""Kafka that asks for TLS, a certificate or a user: every client gets in, and who is refused is told why."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cli.dead_letters import find, open_running_log
from cli.lag import lags
from cli.running import Running
from libs.errors import Misconfigured, Unavailable
from libs.messaging import Record
from libs.messaging.dead_letters import read_letters
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.topics import ALL, INGEST_EVENTS
from tests.integration.messaging.harness import (
    EVENTS,
    LETTERS,
    POISON,
    UPDATES,
    Deployment,
    Effects,
    consumer,
    numbered,
    running,
    until,
    until_counted,
)
from tests.kafka import Doors, KafkaBroker, prepare


@dataclass(frozen=True)
class _Asking(Deployment):
    """A deployment on a Kafka that asks."""

    way: KafkaAccess = field(default_factory=lambda: KafkaAccess(""))

    @property
    def access(self) -> KafkaAccess:
        return self.way


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """The ways into a broker of these tests' own."""
    prepare()
    folder = tmp_path_factory.mktemp("asking")
    made = Doors(folder / "certificates")
    broker = KafkaBroker(folder / "broker", doors=made)
    broker.start()
    yield made
    broker.stop()


def _ssl(doors: Doors) -> KafkaAccess:
    return KafkaAccess(
        f"127.0.0.1:{doors.ssl}", "SSL", ca_file=doors.ca_file, certificate_file=doors.client_file
    )


def _sasl(doors: Doors, protocol: str = "SASL_SSL", mechanism: str = "SCRAM-SHA-512") -> KafkaAccess:
    return KafkaAccess(
        f"127.0.0.1:{doors.sasl_ssl if protocol == 'SASL_SSL' else doors.sasl_plaintext}",
        protocol,
        ca_file=doors.ca_file,
        mechanism=mechanism,
        username=doors.username,
        password=doors.password,
    )


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SSL", ""),
        ("SASL_SSL", "PLAIN"),
        ("SASL_SSL", "SCRAM-SHA-256"),
        ("SASL_SSL", "SCRAM-SHA-512"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ],
)
async def test_kafka_by_tls_and_sasl_lets_every_client_in(
    doors: Doors, database_url: str, protocol: str, mechanism: str
) -> None:
    access = _ssl(doors) if protocol == "SSL" else _sasl(doors, protocol, mechanism)
    namespace = f"{protocol}{mechanism}".lower().replace("-", "_")
    deployment = _Asking(access.servers, database_url, namespace, way=access)
    await access.probe()
    await deployment.declare()
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, [*numbered("w", 0, 50), Record(b"bad", "test.Bad", POISON, 5)])
        first = consumer(database, log, lambda: Effects("first", UPDATES))
        second = consumer(database, log, lambda: Effects("second"), UPDATES)
        async with running(first, second, *deployment.relay(database)):
            await until_counted(database, "second", 50)

            async def told() -> bool:
                return len(await read_letters(log, LETTERS)) == 1

            await until(told, 60, "the letter")
        await log.check()


async def test_commands_read_the_log_of_a_kafka_that_asks(
    doors: Doors, database_url: str, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(doors.password)
    way = _sasl(doors)
    running = Running.told_by(
        {
            "DATABASE_URL": database_url,
            "EVENT_LOG_URL": f"kafka://{way.servers}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_CA_FILE": str(doors.ca_file),
            "KAFKA_USERNAME": doors.username,
            "KAFKA_PASSWORD_FILE": str(password),
            "PROFILE_ADDRESS": "127.0.0.1:1",
            "TESSERA_NAMESPACE": "commands",
            "TOPIC_PARTITIONS": "4",
        }
    )
    async with open_running_log(running) as log:
        await log.declare(ALL)
        await log.publish(INGEST_EVENTS, numbered("w", 0, 7))

        assert [] == await find(log, ["profile"])
        assert [("ingest.events", 7), ("ingest.imports", 0)] == [
            (lag.topic, lag.records) for lag in await lags(running)
        ]

    password.write_text("hunter2")
    for read in (lags, _open):
        with pytest.raises(Misconfigured, match="refuses the user 'tessera' or its password"):
            await read(running)


async def _open(running: Running) -> None:
    async with open_running_log(running):
        pass


async def _refusal(access: KafkaAccess) -> str:
    with pytest.raises(Misconfigured) as caught:
        await access.probe()
    return str(caught.value)


async def test_a_wrong_password_or_user_is_told_at_once(doors: Doors) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        way = _sasl(doors, mechanism=mechanism)
        for wrong in (replace(way, password="no secret"), replace(way, username="stranger")):
            told = await _refusal(wrong)

            assert f"refuses the user '{wrong.username}' or its password" in told
            assert wrong.password not in told
            assert wrong.password not in repr(wrong)


async def test_a_certificate_that_nobody_vouches_for_is_told_at_once(doors: Doors) -> None:
    stranger = doors.folder / "stranger.pem"
    assert "stranger.pem does not vouch" in await _refusal(replace(_sasl(doors), ca_file=stranger))
    assert "self-signed certificate" in await _refusal(replace(_sasl(doors), ca_file=None))
    # The certificate is for the address, not for this name of the same machine.
    elsewhere = replace(_sasl(doors), servers=f"localhost:{doors.sasl_ssl}")
    assert "localhost" in await _refusal(elsewhere)


async def test_a_file_that_is_no_certificate_is_told_at_once(doors: Doors) -> None:
    broken = doors.folder / "broken.pem"
    broken.write_text("no certificate")

    assert "KAFKA_CA_FILE" in await _refusal(replace(_sasl(doors), ca_file=broken))
    assert "KAFKA_CERTIFICATE_FILE" in await _refusal(replace(_ssl(doors), certificate_file=doors.ca_file))


async def test_a_mechanism_that_is_not_offered_is_told_at_once(doors: Doors) -> None:
    assert "does not take KAFKA_SASL_MECHANISM=GSS" in await _refusal(replace(_sasl(doors), mechanism="GSS"))


async def test_who_hangs_up_on_us_is_unavailable_with_a_hint(doors: Doors) -> None:
    for port in (doors.sasl_plaintext, doors.sasl_ssl, doors.ssl):
        with pytest.raises(Unavailable, match="we speak PLAINTEXT"):
            await KafkaAccess(f"127.0.0.1:{port}").probe()
    without_certificate = replace(_ssl(doors), certificate_file=None)
    with pytest.raises(Unavailable, match="may want TLS, a certificate or a user"):
        await without_certificate.probe()
    with pytest.raises(Unavailable, match="we speak SASL_SSL"):
        await replace(_sasl(doors), servers=f"127.0.0.1:{doors.sasl_plaintext}").probe()


async def test_one_broker_that_lets_us_in_is_enough(doors: Doors) -> None:
    way = _sasl(doors)

    await replace(way, servers=f"127.0.0.1:1,{way.servers}").probe()
