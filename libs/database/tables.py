"""How long each table's rows are kept, and how a person's rows are erased: said beside the table's SQL.

Every capability's `sql` has a `TABLES` of these, and a test refuses a table that stands in none. What has
an age is dropped by `Sweep`, in portions, so that no statement holds locks for long.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import structlog

from libs.database.connection import Database
from libs.database.failures import is_transient
from libs.lifecycle import repeat

log = structlog.get_logger(__name__)

_HOUR: Final = 3600.0
# A day's rows may be millions.
_PORTION: Final = 10_000


Unit = Literal["microseconds", "days"]
_SECONDS: Final[dict[Unit, float]] = {"microseconds": 1e-6, "days": 86_400.0}


@dataclass(frozen=True, slots=True)
class Age:
    """Rows are kept for so long after the time in a column, a whole number since 1970."""

    column: str
    kept: timedelta
    unit: Unit = "microseconds"
    where: str = "true"
    """Which rows age at all: a condition in SQL."""

    def before(self, now: float) -> int:
        """The number below which rows go; `now` is in seconds since 1970."""
        return int((now - self.kept.total_seconds()) // _SECONDS[self.unit])


@dataclass(frozen=True, slots=True)
class Lasting:
    """Rows have no age: they are kept as long as what they belong to, or their number is bounded."""

    reason: str


@dataclass(frozen=True, slots=True)
class Erased:
    """A person's rows are those with the profile's id in a column."""

    column: str = "profile_id"


@dataclass(frozen=True, slots=True)
class ErasedBy:
    """A person's rows are erased by a statement of the service's, since no column names the profile."""

    how: str


@dataclass(frozen=True, slots=True)
class Nobodys:
    """The table holds nothing about a person."""

    reason: str = "definitions and bookkeeping"


@dataclass(frozen=True, slots=True)
class Kept:
    """A table's life."""

    table: str
    """With its schema, such as `profile.history`."""
    life: Age | Lasting
    person: Erased | ErasedBy | Nobodys


class Sweep:
    """Deletes the rows whose time is over: a lifecycle component, harmless several times at once."""

    def __init__(
        self, database: Database, tables: Sequence[Kept], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._tables = tables
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweep once an hour until asked to stop."""
        await repeat(self.sweep, stopping, _HOUR, is_transient)

    async def sweep(self, portion: int = _PORTION) -> dict[str, int]:
        """Delete what is old enough; returns how many rows went, by table."""
        gone = {kept.table: await self._delete(kept, portion) for kept in self._tables}
        swept = {table: rows for table, rows in gone.items() if rows}
        if swept:
            log.info("old rows deleted", **swept)
        return swept

    async def _delete(self, kept: Kept, portion: int) -> int:
        life = kept.life
        if isinstance(life, Lasting):
            return 0
        # By their places: a table needs no key of one column. In a partitioned table rows of other parts
        # may have the same place; those go only where they are old as well.
        old = f"{life.column} < $1 and {life.where}"
        statement = (
            f"delete from {kept.table} where {old} and ctid = any("  # noqa: S608 - declared in our own code
            f"array(select ctid from {kept.table} where {old} limit $2))"
        )
        before, rows = life.before(self._clock()), 0
        while deleted := int((await self._database.pool.execute(statement, before, portion)).split()[1]):
            rows += deleted
        return rows
