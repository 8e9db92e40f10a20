"""Tells which failures pass by themselves, and which are one record's fault."""

import sys

import asyncpg

# Raised on every connection while the server dies, restarts, or has no room: SQLSTATE classes.
_TRANSIENT_CLASSES = ("08", "53", "57", "58")
# 55000 among them: a database that is not accepting connections just now.
_TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03", "55000", "25P03", "25P04"})
# Bad data and broken constraints: what a value causes, not the schema or the server.
_RECORD_CLASSES = ("21", "22", "23")


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: the server or the network was the reason."""
    error = _driver_error(error)
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state in _TRANSIENT_STATES or state[:2] in _TRANSIENT_CLASSES
    if isinstance(error, asyncpg.InterfaceError):
        # For connections that died below it, and for wrong calls: only the words tell them apart.
        return "connection" in str(error) or "closed" in str(error)
    return isinstance(error, asyncpg.InternalClientError | OSError | TimeoutError | EOFError)


def is_record_fault(error: BaseException) -> bool:
    """Whether a record's own content made the database refuse it."""
    error = _driver_error(error)
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in _RECORD_CLASSES
    # A value that asyncpg can't even encode, such as a number out of its column's range.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def _driver_error(error: BaseException) -> BaseException:
    """What asyncpg raised, below SQLAlchemy's wrapping."""
    # Who never imported it can't have one of its errors.
    wrapped = sys.modules.get("sqlalchemy.exc")
    if wrapped is not None and isinstance(error, wrapped.DBAPIError) and error.orig is not None:
        driver: BaseException = error.orig.__cause__ or error.orig
        return driver
    return error
