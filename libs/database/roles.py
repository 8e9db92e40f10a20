"""A role for each service in one PostgreSQL: it makes its own schema and can't read another's."""

from collections.abc import Mapping

import asyncpg

from libs.database.connection import Connection
from libs.database.schemas import SHARED_OWNER

_ROLE_EXISTS = "select true from pg_roles where rolname = $1"
_DATABASE_EXISTS = "select true from pg_database where datname = $1"


async def prepare_database(url: str, database: str, passwords: Mapping[str, str]) -> None:
    """Create what is missing of `database`, its roles and their grants; the same again changes nothing.

    `url` is a superuser's, in any database of the server. `passwords` are by role, and become the
    roles' passwords whatever they were. The roles share the event log through the group
    `tessera_log`; a schema belongs to whoever created it.
    """
    connection = await asyncpg.connect(url)
    try:
        await _create_roles(connection, passwords)
        if not await connection.fetchval(_DATABASE_EXISTS, database):
            await connection.execute(await _quoted(connection, "create database %I", database))
        await _execute(connection, "revoke all on database %I from public", database)
        for role in (SHARED_OWNER, *passwords):
            # Temporary tables stay with the session, so they give no way into another's schema.
            await _execute(
                connection, "grant connect, create, temporary on database %I to %I", database, role
            )
    finally:
        await connection.close()


async def _create_roles(connection: Connection, passwords: Mapping[str, str]) -> None:
    if not await connection.fetchval(_ROLE_EXISTS, SHARED_OWNER):
        await _execute(connection, "create role %I nologin", SHARED_OWNER)
    for role, password in passwords.items():
        if not await connection.fetchval(_ROLE_EXISTS, role):
            await _execute(connection, "create role %I nosuperuser nocreatedb nocreaterole", role)
        await _execute(connection, "alter role %I login password %L", role, password)
        await _execute(connection, "grant %I to %I", SHARED_OWNER, role)


async def _execute(connection: Connection, statement: str, *values: str) -> None:
    await connection.execute(await _quoted(connection, statement, *values))


async def _quoted(connection: Connection, statement: str, *values: str) -> str:
    """The statement with its values filled in by PostgreSQL's own quoting: these take no parameters."""
    return str(await connection.fetchval("select format($1, variadic $2::text[])", statement, list(values)))
