"""The embedded PostgreSQL of a home: kept running and stopped, and its event log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cli.leftovers import stop_leftover
from cli.log_lines import MergedLog
from libs.database import open_database, prepare_schemas
from libs.database.embedded import EmbeddedPostgres
from libs.messaging import PostgresLog, schema, topics

_LOOK_SECONDS = 0.1
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


@asynccontextmanager
async def open_postgres(folder: Path, log: MergedLog) -> AsyncIterator[EmbeddedPostgres]:
    """Start the server over this folder, and again whenever it ends by itself; stopped at the end."""
    await asyncio.to_thread(stop_leftover, folder)
    server = EmbeddedPostgres(folder)
    try:
        await server.start()
        keeping = asyncio.create_task(_keep_running(server, log))
        try:
            yield server
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        await server.stop()


async def _keep_running(server: EmbeddedPostgres, log: MergedLog) -> None:
    """Start the server again when it was killed, or has ended for want of disk space."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if server.running():
            continue
        log.say("postgres ended: started again", "warning", process_id=server.process_id)
        try:
            await server.start()
            pause = _FIRST_PAUSE_SECONDS
        except (RuntimeError, TimeoutError) as error:
            reason = str(error).rstrip().rpartition("\n")[2]
            log.say(f"postgres did not start: again in {pause:g} s", "warning", reason=reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def prepare_log(url: str, partitions: int, namespace: str) -> None:
    """Bring the event log's tables and all topics into being.

    All topics at once, so that no service fails for want of what another owns and has yet to create.
    """
    await prepare_schemas(url, schema.SCHEMA)
    async with open_database(url, "tessera up", pool_size=2) as database:
        await PostgresLog(database, partitions, namespace).declare(topics.ALL)
