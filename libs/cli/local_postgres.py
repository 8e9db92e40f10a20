"""The embedded PostgreSQL of a home: started and stopped, and its event log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from libs.cli.leftovers import stop_leftover
from libs.database import open_database
from libs.database.embedded import EmbeddedPostgres
from libs.messaging import PostgresLog, topics
from libs.messaging.schema import migrate_log


@asynccontextmanager
async def open_postgres(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Start the server over this folder; stopped at the end."""
    await asyncio.to_thread(stop_leftover, folder)
    server = EmbeddedPostgres(folder)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def prepare_log(url: str, partitions: int, namespace: str) -> None:
    """Bring the event log's tables and all topics into being.

    All topics at once, so that no service fails for want of what another owns and has yet to create.
    """
    await migrate_log(url)
    async with open_database(url, "tessera up", pool_size=2) as database:
        await PostgresLog(database, partitions, namespace).declare(topics.ALL)
