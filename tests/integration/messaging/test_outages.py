"""The broker or the database goes away under load and comes back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from libs.database import is_transient
from libs.database.embedded import EmbeddedPostgres
from libs.database.migrations import migrate
from libs.errors import Unavailable
from libs.messaging import EventLog
from libs.messaging import schema as log_schema
from tests import kafka as kafka_server
from tests.integration.messaging.harness import (
    EVENTS,
    UPDATES,
    Deployment,
    Effects,
    consumer,
    counted,
    numbered,
    running,
    until,
    until_counted,
)


class _Writers:
    """Publish all the time, notice failures and try again, as clients do."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._stopping = asyncio.Event()
        self.values: list[str] = []
        self.failures = 0
        self._tasks = [asyncio.create_task(self._write(f"w{n}")) for n in range(3)]

    async def _write(self, name: str) -> None:
        number = 0
        while not self._stopping.is_set():
            records = numbered(name, number, 20)
            number += len(records)
            try:
                await self._log.publish(EVENTS, records)
            except Exception as error:
                if not isinstance(error, Unavailable) and not is_transient(error):
                    raise
                # It may be stored or not; a client would send it again under the same message id.
                self.failures += 1
            else:
                self.values += [record.value.decode() for record in records]
            await asyncio.sleep(0.04)

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)


async def _assert_nothing_lost_or_doubled(
    connection: "asyncpg.Pool[asyncpg.Record]", stage: str, acknowledged: list[str]
) -> None:
    rows = await connection.fetch("select key, value from effects where stage = $1 order by effect_id", stage)
    values = [row["value"] for row in rows]

    assert len(values) == len(set(values))
    assert set(acknowledged) <= set(values)
    last: dict[tuple[str, str], int] = {}
    for row in rows:
        writer, number = row["value"].split()
        assert last.get((row["key"], writer), -1) < int(number)
        last[row["key"], writer] = int(number)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_server.KafkaBroker]:
    """A broker of these tests' own, to kill."""
    kafka_server.prepare()
    made = kafka_server.KafkaBroker(tmp_path_factory.mktemp("kafka"))
    made.start()
    yield made
    made.stop()


async def test_a_broker_that_is_killed_and_comes_back_loses_doubles_and_reorders_nothing(
    broker: kafka_server.KafkaBroker, database_url: str
) -> None:
    deployment = Deployment(broker.bootstrap, database_url, "outage")
    await deployment.declare()
    async with deployment.open() as (database, log):
        first = consumer(database, log, lambda: Effects("first", UPDATES))
        second = consumer(database, log, lambda: Effects("second"), UPDATES)
        async with running(first, second, *deployment.relay(database)):
            writers = _Writers(log)
            for _ in range(2):
                reached = len(writers.values)
                await until_counted(database, "second", reached + 300)
                broker.kill()
                published = len(writers.values)
                with pytest.raises(Exception):  # noqa: B017, PT011 - whichever way it says so
                    await log.check()
                stood = await counted(database, "second")
                await asyncio.to_thread(broker.start)
                await until_counted(database, "second", stood + 300)

                assert published > reached, "the broker was killed under load"
            await writers.stop()
            await until_counted(database, "second", len(writers.values))
            await log.check()

        await _assert_nothing_lost_or_doubled(database.pool, "first", writers.values)
        await _assert_nothing_lost_or_doubled(database.pool, "second", writers.values)


async def test_publishing_ends_at_its_deadline_while_the_broker_is_gone(
    broker: kafka_server.KafkaBroker, database_url: str
) -> None:
    deployment = Deployment(broker.bootstrap, database_url, "deadline")
    await deployment.declare()
    async with deployment.open() as (_, log):
        await log.publish(EVENTS, numbered("w", 0, 10))
        log._publish_seconds = 0.5  # type: ignore[attr-defined]
        broker.kill()
        for start in range(10, 40, 10):
            with pytest.raises(Unavailable):
                await log.publish(EVENTS, numbered("w", start, 10))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await log.publish(EVENTS, numbered("w", 40, 10))
        await asyncio.to_thread(broker.start)
        log._publish_seconds = 30.0  # type: ignore[attr-defined]
        await log.publish(EVENTS, numbered("w", 50, 10))


@pytest.mark.parametrize("kind", ["postgres", "kafka"])
async def test_a_database_that_is_killed_and_comes_back_loses_doubles_and_reorders_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = EmbeddedPostgres(Path(tmp_path_factory.mktemp("own")))
    await server.start()
    try:
        await migrate(server.url(), log_schema.SCHEMA)
        kafka = request.getfixturevalue("kafka") if kind == "kafka" else ""
        deployment = Deployment(kafka, server.url(), f"database_{server.port}")
        await deployment.declare()
        async with deployment.open() as (database, log):
            first = consumer(database, log, lambda: Effects("first", UPDATES))
            second = consumer(database, log, lambda: Effects("second"), UPDATES)
            async with running(first, second, *deployment.relay(database)):
                writers = _Writers(log)
                for _ in range(2):
                    reached = len(writers.values)
                    await until_counted(database, "second", reached + 300)
                    published = len(writers.values)
                    await _kill(server)
                    await server.start()
                    stood = await counted(database, "second")
                    await until_counted(database, "second", stood + 300)

                    assert published > reached, "the database was killed under load"
                await writers.stop()
                await until_counted(database, "second", len(writers.values))

            await _assert_nothing_lost_or_doubled(database.pool, "first", writers.values)
            await _assert_nothing_lost_or_doubled(database.pool, "second", writers.values)
    finally:
        await server.stop()


async def _kill(server: EmbeddedPostgres) -> None:
    """End every process of the server at once."""
    assert server._process is not None
    server._process.kill()
    await asyncio.to_thread(server._process.wait)

    async def gone() -> bool:
        try:
            connection = await asyncpg.connect(server.url(), timeout=1)
        except (OSError, asyncpg.PostgresError):
            return True
        connection.terminate()
        return False

    await until(gone, 60, "the server's end")
