from collections.abc import AsyncIterator

import pytest

from libs.database import Database, open_database
from libs.database.migrations import migrate
from services.recommend.app import SCHEMA


@pytest.fixture
async def recommend_url(database_url: str) -> str:
    """The URL of a database with recommend's schema."""
    await migrate(database_url, SCHEMA)
    return database_url


@pytest.fixture
async def database(recommend_url: str) -> AsyncIterator[Database]:
    """A database with recommend's schema."""
    async with open_database(recommend_url, "test", pool_size=4) as opened:
        yield opened
