"""Tells which failures pass by themselves, and which are one record's fault."""

import errno
import socket
import ssl
import sys

import asyncpg

# Raised on every connection while the server dies, restarts, or has no room: SQLSTATE classes.
_TRANSIENT_CLASSES = ("08", "53", "57", "58")
# 55000 among them: a database that is not accepting connections just now; and 25006: a server that
# has just become somebody else's standby.
_TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03", "55000", "25006", "25P03", "25P04"})
# A database that was dropped, a file of the server's that is missing or there already.
_LASTING_STATES = frozenset({"57P04", "58P01", "58P02"})
# The network's, and what there is too little of just now. Everything else stays as it is until somebody
# does something: a file that is missing, a disk that is full or read-only, a right, an address in use.
_TRANSIENT_ERRNOS = frozenset(
    {
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ESHUTDOWN),
        *(errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
        *(errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    }
)
# Bad data and broken constraints: what a value causes, not the schema or the server.
_RECORD_CLASSES = ("21", "22", "23")


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: the server or the network was the reason."""
    error = _driver_error(error)
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _LASTING_STATES:
            return False
        return state in _TRANSIENT_STATES or state[:2] in _TRANSIENT_CLASSES
    if isinstance(error, asyncpg.InterfaceError):
        # For connections that died below it, and for wrong calls: only the words tell them apart.
        return str(error).endswith(("connection is closed", "pool is closed", "pool is closing"))
    if isinstance(error, TimeoutError | EOFError | asyncpg.InternalClientError):
        return True
    return isinstance(error, OSError) and _is_passing(error)


def _is_passing(error: OSError) -> bool:
    """Whether an error of the operating system is one of the network, or of a moment."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLCertVerificationError)
    if isinstance(error, socket.gaierror) or error.errno is None:
        # A name that nobody knows just now; or several addresses, each with an error of its own.
        return True
    if error.errno == errno.ENOENT:
        return error.filename is None  # a server's socket, which is no file that anybody opens
    return error.errno in _TRANSIENT_ERRNOS


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
