"""The embedded PostgreSQL: that it starts whatever became of the one before."""

import asyncio
import os
import signal
import time
from pathlib import Path

import asyncpg
import pytest

from libs.database.embedded import EmbeddedPostgres
from tests.integration.messaging.harness import until

# So long, however fast the machine is; and it never looks whether its server lives.
BUSY = "do $$ begin while clock_timestamp() < now() + interval '5 s' loop end loop; end $$"


async def test_it_starts_while_a_session_of_the_server_killed_before_still_works(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    try:
        working, looking = await asyncpg.connect(server.url()), await asyncpg.connect(server.url())
        session = working.get_server_pid()
        done = asyncio.create_task(_when_done(working))

        async def works() -> bool:
            of_it = "select true from pg_stat_activity where pid = $1 and state = 'active' and query = $2"
            return bool(await looking.fetchval(of_it, session, BUSY))

        await until(works, 60, "that the session is at work")
        assert server.process_id is not None
        os.kill(server.process_id, signal.SIGKILL)
        await until(lambda: not server.running(), 60, "the server's end")
        killed = time.monotonic()

        await server.start()
        started = time.monotonic()

        assert killed < await done < started
        again = await asyncpg.connect(server.url())
        assert await again.fetchval("select 1") == 1
        await again.close()
    finally:
        await server.stop()


async def test_a_start_that_can_not_succeed_says_why(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, settings={"shared_buffers": "nonsense"})

    with pytest.raises(RuntimeError, match="shared_buffers"):
        await server.start()


async def _when_done(connection: asyncpg.Connection) -> float:
    """Let the session work: it looks for its server only when it has done, and then ends."""
    await connection.execute(BUSY)
    return time.monotonic()
