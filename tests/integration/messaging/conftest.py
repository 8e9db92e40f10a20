"""A deployment for each kind of log, with its topics declared."""

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.integration.messaging.harness import Deployment, Programs

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    # aiokafka reports every attempt to reach a broker that a test has taken away.
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    # Plain tracebacks: the default ones print every local variable, which takes seconds.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso"), plain],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    yield
    structlog.reset_defaults()
    logger.setLevel(before)


def _namespace() -> str:
    return f"t{os.getpid()}_{next(_numbers)}"


@pytest.fixture(params=["postgres", "kafka"])
async def deployment(request: pytest.FixtureRequest, database_url: str) -> Deployment:
    """Every test that asks runs twice: against the embedded log and against the real one."""
    servers = request.getfixturevalue("kafka") if request.param == "kafka" else ""
    made = Deployment(servers, database_url, _namespace())
    await made.declare()
    return made


@pytest.fixture
async def on_kafka(kafka: str, database_url: str) -> Deployment:
    """A deployment on Kafka, for what only it has: the relay and its numbers."""
    made = Deployment(kafka, database_url, _namespace())
    await made.declare()
    return made


@pytest.fixture
async def on_postgres(database_url: str) -> Deployment:
    """A deployment on the log in PostgreSQL alone."""
    made = Deployment("", database_url, _namespace())
    await made.declare()
    return made


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts processes to kill."""
    made = Programs(tmp_path)
    yield made
    made.end()
