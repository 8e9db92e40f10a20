"""What the log's components try again, and how long they wait between failures: ever longer."""

import random

from libs.database import Connection, is_record_fault, is_transient
from libs.errors import Unavailable
from libs.messaging.log import LogGap, OffsetConflict

_LEAST_SECONDS = 0.05
_MOST_SECONDS = 5.0


class BackOff:
    """Doubles the wait with every failure, until something worked."""

    def __init__(self) -> None:
        self._failures = 0

    def worked(self) -> None:
        """Start over."""
        self._failures = 0

    def failed(self) -> float:
        """The seconds to wait now, with jitter, so that members do not return all at once."""
        self._failures = min(self._failures + 1, 10)
        return min(_MOST_SECONDS, _LEAST_SECONDS * float(1 << self._failures)) * random.uniform(0.5, 1)


def lost_race_seconds() -> float:
    """How long to wait after a race that somebody else has won: two who lost to each other part by chance."""
    return random.uniform(0, _LEAST_SECONDS)


def passes(error: BaseException) -> bool:
    """Whether the same work may succeed when it is done again."""
    return isinstance(error, Unavailable | OffsetConflict) or is_transient(error)


def is_at_fault(error: Exception) -> bool:
    """Whether a record may be at fault: anything but what passes, or the database's own reasons to refuse."""
    if passes(error) or isinstance(error, LogGap):
        return False
    from_database = getattr(error, "sqlstate", None) is not None
    return is_record_fault(error) or not from_database


def is_broken(connection: Connection) -> bool:
    """Whether no transaction can begin here any more: what is raised then is no record's fault.

    A server that ends in the middle of a rollback leaves asyncpg in a transaction for ever, and what
    it raises may be any of its words for a wrong call.
    """
    return bool(connection.is_closed() or connection.is_in_transaction())
