"""What all tests share: one PostgreSQL and one Kafka a run, a fresh database for each test that asks."""

import asyncio
import gc
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from libs.database.embedded import EmbeddedPostgres
from libs.database.migrations import migrate
from libs.messaging import schema as log_schema
from tests import kafka as kafka_server

# Its assertions tell both sides, as those of the tests do.
pytest.register_assert_rewrite("tests.model.checking", "tests.model.trying")

# What is generated is the same in each run, so that none depends on luck; `--hypothesis-profile others`
# looks for what has not been tried.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("others", derandomize=False)
settings.load_profile("same")

_numbers = itertools.count()


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_open() -> Iterator[None]:
    """What a module's tests did not close is told as theirs, not as that of who runs when it is collected."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of the run's own, with a template database that holds the log's tables."""
    server = EmbeddedPostgres(Path(tmp_path_factory.mktemp("postgres")), settings={"fsync": "off"})

    async def prepare() -> None:
        await server.start()
        connection = await asyncpg.connect(server.url())
        await connection.execute("create database template_log")
        await connection.close()
        await migrate(server.url("template_log"), log_schema.SCHEMA)

    asyncio.run(prepare())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database that only this test uses, with the log's tables."""
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(postgres.url())
    await connection.execute(f"create database {name} template template_log")
    yield postgres.url(name)
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The run's Kafka as `host:port`: KAFKA_TEST_BOOTSTRAP, else a broker of our own. Fails without one."""
    if given := os.environ.get("KAFKA_TEST_BOOTSTRAP"):
        yield given
        return
    kafka_server.prepare()
    broker = kafka_server.KafkaBroker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker.bootstrap
    broker.stop()
