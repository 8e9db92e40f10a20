"""How a service starts: it waits for what is starting too, and tells at once what will never work."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from libs.database.embedded import EmbeddedPostgres, free_port
from libs.errors import Misconfigured, Unavailable
from libs.lifecycle import wait_for
from libs.messaging.retrying import passes
from tests.integration.messaging.harness import until
from tests.kafka import Doors, KafkaBroker, prepare

# Five services at once, on a machine that others use: their imports alone take a minute there.
pytestmark = pytest.mark.timeout(500)


class _Service:
    """A process of a service, and the lines that it logs."""

    def __init__(self, output: Path, service: str, settings: dict[str, str]) -> None:
        self._output = output
        inherited = {n: v for n, v in os.environ.items() if not n.endswith("_URL") and "KAFKA" not in n}
        with output.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                env={**inherited, "LOG_FORMAT": "json", **settings},
                stdout=log,
                stderr=log,
            )

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; a line that is none of ours, such as a traceback's, fails."""
        written = self._output.read_bytes().splitlines()
        # gRPC's core writes by itself: its letter for information, then the date.
        return [orjson.loads(line) for line in written if not re.match(rb"I\d{4} ", line)]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    async def said(self, event: str) -> dict[str, Any]:
        """Wait for a line."""

        def there() -> bool:
            ended = self.process.poll() is not None
            assert not ended or event in self.events(), self._output.read_text()[-3000:]
            return event in self.events()

        await until(there, 200, event)
        return next(line for line in self.lines() if line["event"] == event)

    async def refused(self) -> dict[str, Any]:
        """Wait until it has ended by itself; its last line."""
        await until(lambda: self.process.poll() is not None, 200, "its end")
        assert self.process.returncode == 1
        return self.lines()[-1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., _Service]]:
    """Starts a service, and ends it."""
    started: list[_Service] = []

    def start(service: str = "profile", **settings: str) -> _Service:
        started.append(_Service(tmp_path / f"{service}{len(started)}.log", service, settings))
        return started[-1]

    yield start
    for service in started:
        service.process.kill()
        service.process.wait()


@pytest.fixture
async def stopped(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL that has been prepared and does not run yet."""
    server = EmbeddedPostgres(tmp_path / "postgres", settings={"fsync": "off"})
    await server.start()
    await server.stop()
    yield server
    await server.stop()


async def test_a_service_that_starts_while_postgresql_starts_waits_for_it(
    stopped: EmbeddedPostgres, start: Callable[..., _Service]
) -> None:
    service = start(DATABASE_URL=stopped.url())
    line = await service.said("waits at the start")
    assert ("the database", "info") == (line["needs"], line["level"])

    await stopped.start()
    await service.said("goes on")
    assert 1 == service.events().count("waits at the start"), "it is said once"
    assert {"info"} == {line["level"] for line in service.lines()}
    assert stopped.password not in str(service.lines())


async def test_a_database_that_stays_away_is_told_after_the_time_that_was_set(
    start: Callable[..., _Service],
) -> None:
    service = start(DATABASE_URL=f"postgresql://me:hunter2@127.0.0.1:{free_port()}/x", START_SECONDS="1")
    line = await service.refused()

    assert line["error"].startswith("the database did not answer within 1 s: ConnectionRefusedError")
    assert ("process can't go on", "UNAVAILABLE") == (line["event"], line["reason"])
    assert "hunter2" not in str(service.lines())


async def test_a_wrong_password_and_a_missing_database_are_told_at_once(
    postgres: EmbeddedPostgres, start: Callable[..., _Service]
) -> None:
    told = {
        'password authentication failed for user "postgres"': postgres.url(password="hunter2"),
        'password authentication failed for user "nobody"': postgres.url(user="nobody"),
        'database "nowhere" does not exist': postgres.url("nowhere"),
        "DATABASE_URL is no postgresql://user": "postgresql://me:hunter2@db:port/x",
        "DATABASE_URL is no postgresql://": "mysql://me:hunter2@db/x",
    }
    services = {problem: start(DATABASE_URL=url) for problem, url in told.items()}
    for problem, service in services.items():
        line = await service.refused()

        assert problem in line["error"]
        assert ["process starts", "process can't go on"] == service.events()
        assert "hunter2" not in str(service.lines())


async def test_a_service_that_starts_before_kafka_waits_for_it(
    database_url: str, tmp_path: Path, start: Callable[..., _Service]
) -> None:
    prepare()
    broker = KafkaBroker(tmp_path / "kafka")
    service = start(DATABASE_URL=database_url, EVENT_LOG_URL=f"kafka://{broker.bootstrap}")
    try:
        line = await service.said("waits at the start")
        assert "the event log" == line["needs"]

        await asyncio.to_thread(broker.start)
        await service.said("goes on")
    finally:
        broker.stop()


async def test_errors_and_warnings_in_the_log_of_a_healthy_start_on_kafka_are_gone(
    database_url: str, tmp_path: Path, start: Callable[..., _Service]
) -> None:
    prepare()
    broker = KafkaBroker(tmp_path / "kafka")
    # Nobody answers there: a service must not need another one to start.
    others = {f"{name}_ADDRESS": f"127.0.0.1:{free_port()}" for name in ("PROFILE", "SEGMENT", "RECOMMEND")}
    settings = {
        "DATABASE_URL": database_url,
        "EVENT_LOG_URL": f"kafka://{broker.bootstrap}",
        "HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "UNSUBSCRIBE_KEYS": "0123456789abcdef",
        "PUBLIC_URL": "https://events.example.com",
    }
    await asyncio.to_thread(broker.start)
    try:
        services = {
            name: start(
                name, **settings, **{n: v for n, v in others.items() if not n.startswith(name.upper())}
            )
            for name in ("render", "recommend", "segment", "profile", "ingest")
        }
        for name, service in services.items():
            await service.said("relay works" if name == "ingest" else "partitions assigned")
        for service in services.values():
            assert [] == [line for line in service.lines() if line["level"] != "info"]
    finally:
        for service in services.values():
            service.process.terminate()
            service.process.wait()
        broker.stop()


async def test_kafka_that_refuses_a_password_or_has_an_untrusted_certificate_is_told_at_once(
    database_url: str, tmp_path: Path, start: Callable[..., _Service]
) -> None:
    prepare()
    doors = Doors(tmp_path / "certificates")
    broker = KafkaBroker(tmp_path / "kafka", doors=doors)
    await asyncio.to_thread(broker.start)
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    settings = {
        "DATABASE_URL": database_url,
        "EVENT_LOG_URL": f"kafka://127.0.0.1:{doors.sasl_ssl}",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_USERNAME": doors.username,
        "KAFKA_PASSWORD_FILE": str(password),
    }
    try:
        wrong = start(**settings, KAFKA_CA_FILE=str(doors.ca_file))
        untrusted = start(**settings)
        assert "refuses the user 'tessera' or its password" in (await wrong.refused())["error"]
        assert "does not vouch for Kafka's certificate" in (await untrusted.refused())["error"]
        for service in (wrong, untrusted):
            assert "process can't go on" == service.events()[-1]
            assert "hunter2" not in str(service.lines())

        password.write_text(f"{doors.password}\n")
        right = start(**settings, KAFKA_CA_FILE=str(doors.ca_file))
        await right.said("relay works")
        assert doors.password not in str(right.lines())
    finally:
        broker.stop()


async def test_waiting_ends_when_it_works_when_it_never_will_and_when_time_is_up() -> None:
    failures: list[Exception] = [
        ConnectionRefusedError(111, "no server"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        Unavailable("not yet"),
    ]

    async def attempt() -> None:
        if failures:
            raise failures.pop(0)

    await wait_for("it", attempt, passes, 20)
    assert not failures

    failures += [Misconfigured("a wrong password"), Unavailable("never asked")]
    with pytest.raises(Misconfigured, match="a wrong password"):
        await wait_for("it", attempt, passes, 20)
    with pytest.raises(Unavailable, match=r"it did not answer within 0 s: .*never asked"):
        await wait_for("it", attempt, passes, 0)
