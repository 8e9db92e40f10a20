"""Which failures pass by themselves, and which are a record's: caused for real."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from libs.database import is_record_fault, is_transient, open_connection, open_database

_DISCONNECTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


async def _error_of(url: str, statement: str, *arguments: object) -> Exception:
    connection = await open_connection(url)
    try:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - any driver error
            await connection.execute(statement, *arguments)
    finally:
        await connection.close()
    return raised.value


async def test_a_value_that_its_column_cannot_hold_is_the_records_fault(database_url: str) -> None:
    cases = [
        await _error_of(database_url, "select $1::int", 2**40),
        await _error_of(database_url, "select $1::text::jsonb", '"\\u0000"'),
        await _error_of(database_url, "select 1 / $1::int", 0),
    ]

    assert [True] * 3 == [is_record_fault(error) for error in cases]
    assert [False] * 3 == [is_transient(error) for error in cases]


async def test_a_wrong_statement_is_nobodys_but_ours(database_url: str) -> None:
    cases = [
        await _error_of(database_url, "select * from nowhere"),
        await _error_of(database_url, "select $1::int"),
    ]

    assert [False] * 2 == [is_record_fault(error) for error in cases]
    assert [False] * 2 == [is_transient(error) for error in cases]


async def test_a_connection_that_was_ended_passes(database_url: str) -> None:
    one, other = await open_connection(database_url), await open_connection(database_url)
    await other.execute("select pg_terminate_backend($1)", one.get_server_pid())
    errors = []
    for _ in range(2):  # what the server said first, then what the driver says of a dead connection
        with pytest.raises(_DISCONNECTS) as raised:
            await one.execute("select 1")
        errors.append(raised.value)
    await other.close()

    assert [True, True] == [is_transient(error) for error in errors]


async def test_a_deadlock_passes(database_url: str) -> None:
    one, other = await open_connection(database_url), await open_connection(database_url)
    await one.execute("create table rows (number int primary key)")
    await one.execute("insert into rows values (1), (2)")
    locked = asyncio.Barrier(2)

    async def lock(connection: asyncpg.Connection, first: int, second: int) -> None:
        async with connection.transaction():
            await connection.execute("select from rows where number = $1 for update", first)
            await locked.wait()
            await connection.execute("select from rows where number = $1 for update", second)

    results = await asyncio.gather(lock(one, 1, 2), lock(other, 2, 1), return_exceptions=True)
    await one.close()
    await other.close()

    assert [True] == [is_transient(error) for error in results if error is not None]


async def test_below_sqlalchemy_the_drivers_error_decides(database_url: str) -> None:
    async with open_database(database_url, "test") as database:
        with pytest.raises(DBAPIError) as wrong:
            async with database.query() as connection:
                await connection.execute(text("select * from nowhere"))
        with pytest.raises(DBAPIError) as ended:
            async with database.query() as connection:
                await connection.execute(text("select pg_terminate_backend(pg_backend_pid())"))

    assert (False, True) == (is_transient(wrong.value), is_transient(ended.value))
