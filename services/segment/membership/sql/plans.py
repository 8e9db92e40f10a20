"""The plan that all definitions make together: published with their changes, compiled once a process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from libs.database import Connection, Database
from libs.expressions import Series
from libs.ids import new_uuid
from libs.operations import sql as operations
from libs.operations.model import Operation
from services.segment.definitions.model import SegmentDefinition
from services.segment.membership.model import (
    Plan,
    TrackedSeries,
    TrackedTrait,
    needed_series,
    needed_traits,
)
from services.segment.triggers.model import TriggerDefinition

log = structlog.get_logger(__name__)

Segments = Callable[[Connection], Awaitable[Sequence[SegmentDefinition]]]
Triggers = Callable[[Connection], Awaitable[Sequence[TriggerDefinition]]]

_SERIES = "select series_id, kind, event, value, predicate, keep, since from segment.series"
# The newest plan of which all states of all partitions are.
_DONE = """
select case when count(*) = $1 then min(plan) else 0 end from segment.partitions where partition < $1
"""


class Plans:
    """The newest plan. Knows definitions by what reads them all, on a connection."""

    def __init__(
        self,
        database: Database,
        segments: Segments,
        triggers: Triggers,
        partitions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._segments = segments
        self._triggers = triggers
        self._partitions = partitions
        self._clock = clock
        self._plan: Plan | None = None
        self._changes = -1
        self._loading = asyncio.Lock()

    async def newest(self, connection: Connection) -> Plan:
        """Definitions are taken up with the next batch: nothing is written by older ones for long."""
        _, changes = await _versions(connection)
        async with self._loading:
            if self._plan is None or self._changes != changes:
                self._plan, self._changes = await self._load()
                log.info("plan taken up", version=self._plan.version)
        return self._plan

    async def load(self) -> Plan:
        """Read and compile the newest plan."""
        plan, _ = await self._load()
        return plan

    async def _load(self) -> tuple[Plan, int]:
        # One snapshot: definitions and what they need kept belong together.
        async with (
            self._database.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            version, changes = await _versions(connection)
            tracked = [
                TrackedSeries(row["series_id"], _series_of(row), row["keep"], row["since"])
                for row in await connection.fetch(_SERIES)
            ]
            rows = await connection.fetch("select name, since from segment.traits")
            traits = [TrackedTrait(*row) for row in rows]
            segments, triggers = await self._segments(connection), await self._triggers(connection)
            return Plan(version, segments, triggers, tracked, traits), changes

    async def next_version(self, connection: Connection) -> int:
        """The version that a change of rules will make; one change of definitions at a time."""
        return int(await connection.fetchval("select version from segment.plans for update")) + 1

    async def publish(self, connection: Connection, definition_id: str, rules_changed: bool) -> None:
        """Let a change be taken up; people are evaluated anew, by an operation, where rules have changed."""
        await connection.execute("update segment.plans set changes = changes + 1")
        if not rules_changed:
            return
        version = await self.next_version(connection)
        segments, triggers = await self._segments(connection), await self._triggers(connection)
        await _store_series(connection, segments, triggers, version)
        await _store_traits(connection, needed_traits(segments, triggers), version)
        await connection.execute("update segment.plans set version = $1", version)
        now = int(self._clock() * 1_000_000)
        backfill = Operation(
            new_uuid(), "backfill", definition_id, now, now, total=self._partitions, cancellable=False
        )
        await operations.add(connection, "segment", backfill)
        await connection.execute(
            "insert into segment.backfills values ($1, $2, $3)", version, backfill.operation_id, now
        )

    async def backfills(self, connection: Connection, versions: Collection[int]) -> dict[int, str]:
        """By version, the operation that evaluates all people anew, where it is still known."""
        query = "select plan, operation_id::text from segment.backfills where plan = any($1::bigint[])"
        return {row[0]: row[1] for row in await connection.fetch(query, list(versions))}

    async def done(self, connection: Connection) -> int:
        """The newest version of which all people are."""
        return int(await connection.fetchval(_DONE, self._partitions))


async def _versions(connection: Connection) -> tuple[int, int]:
    (row,) = await connection.fetch("select version, changes from segment.plans")
    return row["version"], row["changes"]


def _series_of(row: object) -> Series:
    return Series(row["event"], row["value"], row["predicate"], row["kind"])  # type: ignore[index]


async def _store_series(
    connection: Connection,
    segments: Sequence[SegmentDefinition],
    triggers: Sequence[TriggerDefinition],
    version: int,
) -> None:
    stored = {_series_of(row): (row["series_id"], row["keep"]) for row in await connection.fetch(_SERIES)}
    needed = needed_series(segments, triggers, stored.keys())
    gone = [number for series, (number, _) in stored.items() if series not in needed]
    await connection.execute("delete from segment.series where series_id = any($1::int[])", gone)
    for series, keep in needed.items():
        number, kept = stored.get(series, (None, 0))
        if number is None:
            await connection.execute(
                "insert into segment.series (kind, event, value, predicate, keep, since) "
                "values ($1, $2, $3, $4, $5, $6)",
                series.kind,
                series.event,
                series.value,
                series.where,
                keep,
                version,
            )
        elif kept < keep:
            await connection.execute(
                "update segment.series set keep = $2, since = $3 where series_id = $1", number, keep, version
            )


async def _store_traits(connection: Connection, needed: frozenset[str], version: int) -> None:
    await connection.execute("delete from segment.traits where name <> all($1::text[])", list(needed))
    await connection.execute(
        "insert into segment.traits (name, since) select name, $2 from unnest($1::text[]) as n (name) "
        "on conflict do nothing",
        sorted(needed),
        version,
    )
