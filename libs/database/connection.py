"""Two ways into one PostgreSQL: SQLAlchemy Core for ordinary queries, asyncpg for events by the thousand."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from libs.errors import Misconfigured

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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


def _options(application: str) -> dict[str, Any]:
    """What every connection is opened with, for asyncpg."""
    return {
        "server_settings": {**_SESSION, "application_name": application},
        "timeout": _CONNECT_SECONDS,
        "command_timeout": _COMMAND_SECONDS,
    }


class Database:
    """One service's PostgreSQL."""

    def __init__(self, url: str, pool: Pool, application: str, pool_size: int) -> None:
        self.url = url
        self.pool = pool
        self._application = application
        self._pool_size = pool_size
        self._engine: AsyncEngine | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        """A transaction on asyncpg's own connection: commits at the end, rolls back on an error."""
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def query(self) -> "AsyncIterator[AsyncConnection]":
        """A transaction for SQLAlchemy Core: commits at the end, rolls back on an error."""
        if self._engine is None:
            self._engine = self._create_engine()
        async with self._engine.begin() as connection:
            yield connection

    async def check(self) -> None:
        """Raise unless the database answers within two seconds."""
        async with asyncio.timeout(2):
            await self.pool.fetchval("select 1")

    async def close(self) -> None:
        """Close what SQLAlchemy has open."""
        if self._engine is not None:
            await self._engine.dispose()

    def _create_engine(self) -> "AsyncEngine":
        # Imported where it is used: it takes 20 MB, and profile and segment never do.
        from sqlalchemy.ext.asyncio import create_async_engine

        return create_async_engine(
            self.url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=self._pool_size,
            pool_pre_ping=True,
            connect_args=_options(self._application),
        )


def dsn_of(url: str) -> str:
    """A connection URL as asyncpg takes it, whichever driver or spelling of `postgresql` it names."""
    return f"postgresql://{url.partition('://')[2]}"


async def open_connection(url: str, application: str = "tessera") -> Connection:
    """A connection of its own, for a worker or a listener; the caller closes it."""
    connection: Connection = await asyncpg.connect(dsn_of(url), **_options(application))
    return connection


async def probe(url: str) -> None:
    """Return when PostgreSQL lets us in; Misconfigured where it refuses us, or we it."""
    # Not what it is instead, nor what the driver says of it: that may be a part which holds a password.
    unreadable = Misconfigured("DATABASE_URL is no postgresql://user:password@host:port/name")
    if not url.startswith("postgres"):
        raise unreadable
    try:
        connection = await open_connection(url, "start")
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        raise Misconfigured(f"PostgreSQL refuses us: {error}") from error
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(f"nobody vouches for PostgreSQL's certificate: {error.verify_message}") from error
    except ValueError:
        raise unreadable from None
    await connection.close()


async def _nothing_to_reset(connection: Connection) -> None:
    """What sessions are told lasts for a transaction at most, and asyncpg ends one that is left open.

    Its own reset would be one more round trip for every reading and every call.
    """


@asynccontextmanager
async def open_database(url: str, application: str, pool_size: int = 8) -> AsyncIterator[Database]:
    """Open a service's pools. Nothing connects before the first use."""
    dsn = dsn_of(url)
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=pool_size,
        reset=_nothing_to_reset,
        **_options(application),
    )
    async with pool:
        database = Database(dsn, pool, application, pool_size)
        try:
            yield database
        finally:
            await database.close()
