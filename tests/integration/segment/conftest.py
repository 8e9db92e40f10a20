"""A deployment of segment for each test that asks."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.integration.segment.harness import World, open_world


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    # The default tracebacks print every local variable, which takes seconds.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Segment's schema and topics, and a profile service that answers."""
    async with open_world(database_url) as opened:
        yield opened
