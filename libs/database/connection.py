"""Two ways into one PostgreSQL: SQLAlchemy Core for ordinary queries, asyncpg for events by the thousand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

# A member that hangs in the middle of a batch must not keep its row locks from the next owner.
_SESSION = {
    "jit": "off",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "30s",
    "timezone": "UTC",
}
_CONNECT_SECONDS = 10.0
_COMMAND_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Database:
    """One service's PostgreSQL."""

    url: URL
    engine: AsyncEngine
    pool: Pool

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        """A transaction on asyncpg's own connection: commits at the end, rolls back on an error."""
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def query(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for SQLAlchemy Core: commits at the end, rolls back on an error."""
        async with self.engine.begin() as connection:
            yield connection

    async def check(self) -> None:
        """Raise unless the database answers within two seconds."""
        async with asyncio.timeout(2):
            await self.pool.fetchval("select 1")


def _asyncpg_dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


async def open_connection(url: str | URL, application: str = "tessera") -> Connection:
    """A connection of its own, for a worker or a listener; the caller closes it."""
    return await asyncpg.connect(
        _asyncpg_dsn(make_url(url)),
        server_settings={**_SESSION, "application_name": application},
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
    )


@asynccontextmanager
async def open_database(url: str, application: str, pool_size: int = 8) -> AsyncIterator[Database]:
    """Open a service's pools. Nothing connects before the first use."""
    parsed = make_url(url)
    engine = create_async_engine(
        parsed.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={
            "server_settings": {**_SESSION, "application_name": application},
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _COMMAND_SECONDS,
        },
    )
    pool = asyncpg.create_pool(
        _asyncpg_dsn(parsed),
        min_size=0,
        max_size=pool_size,
        server_settings={**_SESSION, "application_name": application},
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
    )
    async with pool:
        try:
            yield Database(parsed, engine, pool)
        finally:
            await engine.dispose()
