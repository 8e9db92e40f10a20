"""Segments, triggers, and the plan that they make together."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from libs.database import Connection, Database
from libs.expressions import Series
from services.segment.domain import SegmentDefinition, TriggerDefinition
from services.segment.evaluation import Plan, TrackedSeries, needed_series

log = structlog.get_logger(__name__)

_COUNT_MEMBERS = """
select segment_id, count(*) from segment.memberships
where $1::text is null or segment_id = $1 group by segment_id
"""
# The newest plan of which all states of all partitions are.
_DONE = """
select case when count(*) = $1 then min(plan) else 0 end from segment.partitions where partition < $1
"""


class SqlDefinitions:
    """Segments, triggers, and the plan that they make together."""

    def __init__(self, database: Database, partitions: int, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._partitions = partitions
        self._clock = clock

    async def put_segment(self, definition: SegmentDefinition) -> SegmentDefinition:
        async with self._database.begin() as connection:
            plan = await _lock_plan(connection)
            old = await connection.fetchrow(
                "select display_name, expression from segment.segments where segment_id = $1",
                definition.segment_id,
            )
            if old is None or tuple(old) != (definition.display_name, definition.expression):
                await connection.execute(
                    "insert into segment.segments as s values ($1, $2, $3, 1, $4, $5) "
                    "on conflict (segment_id) do update set display_name = $2, expression = $3, "
                    "version = s.version + 1, plan = $4",
                    definition.segment_id,
                    definition.display_name,
                    definition.expression,
                    plan,
                    int(self._clock() * 1_000_000),
                )
                await _store_plan(connection, plan)
            (stored,) = await self._counted(connection, definition.segment_id)
        return stored

    async def put_trigger(self, definition: TriggerDefinition) -> TriggerDefinition:
        async with self._database.begin() as connection:
            plan = await _lock_plan(connection)
            found = await _triggers(connection, definition.trigger_id)
            if not found or _essence(found[0]) != _essence(definition):
                await connection.execute(
                    "insert into segment.triggers as t values ($1, $2, $3, $4, $5, $6, 1, $7, $8) "
                    "on conflict (trigger_id) do update set display_name = $2, event_name = $3, "
                    "unless = $4, delay = $5, condition = $6, version = t.version + 1, "
                    "plan = $7, created = $8",
                    definition.trigger_id,
                    *_essence(definition),
                    plan,
                    int(self._clock() * 1_000_000),
                )
                await _store_plan(connection, plan)
            (stored,) = await self._triggers(connection, definition.trigger_id)
        return stored

    async def delete_segment(self, segment_id: str) -> bool:
        return await self._delete("delete from segment.segments where segment_id = $1", segment_id)

    async def delete_trigger(self, trigger_id: str) -> bool:
        return await self._delete("delete from segment.triggers where trigger_id = $1", trigger_id)

    async def segment(self, segment_id: str) -> SegmentDefinition | None:
        async with self._database.begin() as connection:
            return next(iter(await self._counted(connection, segment_id)), None)

    async def segments(self) -> list[SegmentDefinition]:
        async with self._database.begin() as connection:
            return await self._counted(connection)

    async def triggers(self) -> list[TriggerDefinition]:
        async with self._database.begin() as connection:
            return await self._triggers(connection)

    async def _counted(
        self, connection: Connection, segment_id: str | None = None
    ) -> list[SegmentDefinition]:
        """Segments as they are: how many are in them, and whether they are complete."""
        rows = await connection.fetch(_COUNT_MEMBERS, segment_id)
        members = {row[0]: row[1] for row in rows}
        done = await connection.fetchval(_DONE, self._partitions)
        return [
            replace(d, members=members.get(d.segment_id, 0), active=d.plan <= done)
            for d in await _segments(connection, segment_id)
        ]

    async def _triggers(
        self, connection: Connection, trigger_id: str | None = None
    ) -> list[TriggerDefinition]:
        done = await connection.fetchval(_DONE, self._partitions)
        return [replace(t, active=t.plan <= done) for t in await _triggers(connection, trigger_id)]

    async def _delete(self, statement: str, definition_id: str) -> bool:
        async with self._database.begin() as connection:
            plan = await _lock_plan(connection)
            deleted = await connection.execute(statement, definition_id) == "DELETE 1"
            if deleted:
                await _store_plan(connection, plan)
        return deleted


class Plans:
    """The newest plan, compiled once for all workers of a process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plan: Plan | None = None
        self._loading = asyncio.Lock()

    async def newest(self, connection: Connection) -> Plan:
        """Definitions are taken up with the next batch: nothing is written by older ones for long."""
        newest = await _plan_version(connection)
        async with self._loading:
            if self._plan is None or self._plan.version != newest:
                self._plan = await self.load()
                log.info("plan taken up", version=self._plan.version)
        return self._plan

    async def load(self) -> Plan:
        """Read the newest plan."""
        # One snapshot: definitions and the series that they need belong together.
        async with (
            self._database.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            version = await _plan_version(connection)
            rows = await connection.fetch(
                "select series_id, event, value, predicate, keep, since from segment.series"
            )
            tracked = [TrackedSeries(row[0], Series(row[1], row[2], row[3]), row[4], row[5]) for row in rows]
            return Plan(version, await _segments(connection), await _triggers(connection), tracked)


async def _plan_version(connection: Connection) -> int:
    return int(await connection.fetchval("select version from segment.plans"))


async def _lock_plan(connection: Connection) -> int:
    """The version that a change of definitions will make; one change at a time."""
    return int(await connection.fetchval("select version from segment.plans for update")) + 1


async def _store_plan(connection: Connection, version: int) -> None:
    """Track what the definitions need now, and publish the version."""
    needed = needed_series(await _segments(connection), await _triggers(connection))
    rows = await connection.fetch("select series_id, event, value, predicate, keep from segment.series")
    stored = {Series(row[1], row[2], row[3]): (row[0], row[4]) for row in rows}
    gone = [number for series, (number, _) in stored.items() if series not in needed]
    await connection.execute("delete from segment.series where series_id = any($1::int[])", gone)
    for series, keep in needed.items():
        number, kept = stored.get(series, (None, 0))
        if number is None:
            await connection.execute(
                "insert into segment.series (event, value, predicate, keep, since) "
                "values ($1, $2, $3, $4, $5)",
                series.event,
                series.value,
                series.where,
                keep,
                version,
            )
        elif kept < keep:
            # Events are needed again that were folded into totals.
            await connection.execute(
                "update segment.series set keep = $2, since = $3 where series_id = $1", number, keep, version
            )
    await connection.execute("update segment.plans set version = $1", version)


async def _segments(connection: Connection, segment_id: str | None = None) -> list[SegmentDefinition]:
    rows = await connection.fetch(
        "select * from segment.segments where $1::text is null or segment_id = $1 order by segment_id",
        segment_id,
    )
    return [
        SegmentDefinition(
            r["segment_id"],
            r["display_name"],
            r["expression"],
            r["version"],
            r["plan"],
            r["created"],
        )
        for r in rows
    ]


async def _triggers(connection: Connection, trigger_id: str | None = None) -> list[TriggerDefinition]:
    rows = await connection.fetch(
        "select * from segment.triggers where $1::text is null or trigger_id = $1 order by trigger_id",
        trigger_id,
    )
    return [
        TriggerDefinition(
            r["trigger_id"],
            r["display_name"],
            r["event_name"],
            tuple(r["unless"]),
            r["delay"],
            r["condition"],
            r["version"],
            r["plan"],
            r["created"],
        )
        for r in rows
    ]


def _essence(definition: TriggerDefinition) -> tuple[str, str, list[str], int, str]:
    """What makes a trigger what it is."""
    return (
        definition.display_name,
        definition.event_name,
        list(definition.unless),
        definition.delay,
        definition.condition,
    )
