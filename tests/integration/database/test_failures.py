"""Which failures pass by themselves, and which are a record's: caused for real."""

import asyncio
import errno
import socket
import ssl
from pathlib import Path

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


async def _failure_of(opening: object) -> BaseException:
    (error,) = await asyncio.gather(opening, return_exceptions=True)  # type: ignore[call-overload]
    assert isinstance(error, OSError)
    return error


async def test_an_error_of_the_network_passes(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refused = await _failure_of(asyncio.open_connection("127.0.0.1", bound.getsockname()[1]))
    cases = [
        refused,
        await _failure_of(asyncio.open_connection("nowhere.invalid", 5432)),
        # A server on a socket of the machine's own that is being started.
        await _failure_of(asyncio.open_unix_connection(tmp_path / ".s.PGSQL.5432")),
        OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.EMFILE, "Too many open files"),
        ssl.SSLEOFError("EOF occurred in violation of protocol"),
        TimeoutError(),
    ]

    assert [True] * len(cases) == [is_transient(error) for error in cases]


async def test_os_error_is_not_always_transient(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cases: list[OSError] = []
    for wrong in (
        lambda: (tmp_path / "missing").read_bytes(),
        lambda: (tmp_path / "file" / "below").read_bytes(),
        lambda: tmp_path.read_bytes(),
        lambda: Path("/proc/version").write_bytes(b"x"),
        lambda: Path("/dev/full").write_bytes(b"x"),
    ):
        with pytest.raises(OSError) as raised:  # noqa: PT011 - each has another number
            wrong()
        cases.append(raised.value)
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(OSError, match="in use") as raised:
            other.bind(one.getsockname())
        cases.append(raised.value)
    cases += [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        ssl.SSLCertVerificationError("self-signed certificate"),
    ]

    assert [False] * len(cases) == [is_transient(error) for error in cases]


async def test_a_server_that_became_a_standby_passes_and_a_dropped_database_does_not(
    database_url: str,
) -> None:
    standby = await _error_of(database_url, "begin read only; create table t ()")
    released = asyncpg.InterfaceError(
        "cannot call Connection.execute(): connection has been released back to the pool"
    )

    assert isinstance(standby, asyncpg.ReadOnlySQLTransactionError)
    assert is_transient(standby)
    assert not is_transient(asyncpg.DatabaseDroppedError("database was dropped"))
    assert not is_transient(asyncpg.UndefinedFileError("could not access file"))
    assert not is_transient(released), "that is a wrong call of ours"
