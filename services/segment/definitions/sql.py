"""Segments and their versions in PostgreSQL."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from libs.database import Connection, Database
from libs.database.tables import Kept, Lasting, Nobodys
from libs.errors import AlreadyExists, Conflict
from services.segment.definitions.model import SegmentDefinition, SegmentVersion
from services.segment.definitions.ports import PlanChanges

TABLES = (
    Kept("segment.segments", Lasting("until they are deleted"), Nobodys()),
    Kept("segment.segment_versions", Lasting("as long as the segment"), Nobodys()),
)

_COLUMNS = "segment_id, display_name, expression, version, plan, created, updated"
_MEMBERS = """
select segment_id, sum(members)::bigint from segment.member_counts
where segment_id = any($1::text[]) group by segment_id
"""
_KEEP_VERSION = """
insert into segment.segment_versions select segment_id, version, display_name, expression, updated
from segment.segments where segment_id = $1
"""


class SqlSegments:
    """Segments and their versions."""

    def __init__(
        self, database: Database, plans: PlanChanges, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._plans = plans
        self._clock = clock

    async def get(self, segment_id: str) -> SegmentDefinition | None:
        query = f"select {_COLUMNS} from segment.segments where segment_id = $1"  # noqa: S608 - constants
        async with self._database.begin() as connection:
            return next(iter(await self._as_they_are(connection, query, segment_id)), None)

    async def page(self, after: str, limit: int) -> list[SegmentDefinition]:
        query = (
            f"select {_COLUMNS} from segment.segments "  # noqa: S608 - constants
            "where segment_id > $1 order by segment_id limit $2"
        )
        async with self._database.begin() as connection:
            return await self._as_they_are(connection, query, after, limit)

    async def insert(self, definition: SegmentDefinition, request_id: str) -> SegmentDefinition:
        segment_id = definition.segment_id
        async with self._database.begin() as connection:
            plan = await self._plans.next_version(connection)
            made_by = await connection.fetchval(
                "select request_id from segment.segments where segment_id = $1", segment_id
            )
            if made_by is not None and not (request_id and made_by == request_id):
                raise AlreadyExists(f"there is a segment {segment_id} already", segment_id=segment_id)
            if made_by is None:
                await connection.execute(
                    "insert into segment.segments values ($1, $2, $3, 1, $4, $5, $5, $6)",
                    segment_id,
                    definition.display_name,
                    definition.expression,
                    plan,
                    int(self._clock() * 1_000_000),
                    request_id,
                )
                await connection.execute(_KEEP_VERSION, segment_id)
                await self._plans.publish(connection, segment_id, rules_changed=True)
            return await self._one(connection, segment_id)

    async def replace(self, definition: SegmentDefinition, base: int) -> SegmentDefinition:
        segment_id = definition.segment_id
        async with self._database.begin() as connection:
            plan = await self._plans.next_version(connection)
            old = await self._newest(connection, segment_id, base)
            rules_changed = old["expression"] != definition.expression
            await connection.execute(
                "update segment.segments set display_name = $2, expression = $3, version = version + 1, "
                "plan = $4, updated = $5 where segment_id = $1",
                segment_id,
                definition.display_name,
                definition.expression,
                plan if rules_changed else old["plan"],
                int(self._clock() * 1_000_000),
            )
            await connection.execute(_KEEP_VERSION, segment_id)
            await self._plans.publish(connection, segment_id, rules_changed)
            return await self._one(connection, segment_id)

    async def delete(self, segment_id: str, base: int) -> None:
        async with self._database.begin() as connection:
            await self._plans.next_version(connection)
            await self._newest(connection, segment_id, base)
            await connection.execute("delete from segment.segments where segment_id = $1", segment_id)
            await self._plans.publish(connection, segment_id, rules_changed=True)

    async def versions(self, segment_id: str, before: int, limit: int) -> list[SegmentVersion]:
        rows = await self._database.pool.fetch(
            "select version, display_name, expression, created from segment.segment_versions "
            "where segment_id = $1 and version < $2 order by version desc limit $3",
            segment_id,
            before,
            limit,
        )
        return [SegmentVersion(*row) for row in rows]

    async def _newest(self, connection: Connection, segment_id: str, base: int) -> Any:
        query = f"select {_COLUMNS} from segment.segments where segment_id = $1"  # noqa: S608 - constants
        row = await connection.fetchrow(query, segment_id)
        if row is None or row["version"] != base:
            raise Conflict(f"segment {segment_id} has changed meanwhile", segment_id=segment_id)
        return row

    async def _one(self, connection: Connection, segment_id: str) -> SegmentDefinition:
        query = f"select {_COLUMNS} from segment.segments where segment_id = $1"  # noqa: S608 - constants
        (stored,) = await self._as_they_are(connection, query, segment_id)
        return stored

    async def _as_they_are(
        self, connection: Connection, query: str, *arguments: object
    ) -> list[SegmentDefinition]:
        """Segments with how many are in them, and whether they are complete."""
        found = [SegmentDefinition(*row) for row in await connection.fetch(query, *arguments)]
        counted = await connection.fetch(_MEMBERS, [segment.segment_id for segment in found])
        members = {row[0]: row[1] for row in counted}
        done = await self._plans.done(connection)
        backfills = await self._plans.backfills(connection, {d.plan for d in found})
        return [
            replace(
                d,
                members=members.get(d.segment_id, 0),
                active=d.plan <= done,
                backfill=backfills.get(d.plan, ""),
            )
            for d in found
        ]


async def all_segments(connection: Connection) -> list[SegmentDefinition]:
    """All of them, by id, for the plan that they make."""
    query = f"select {_COLUMNS} from segment.segments order by segment_id"  # noqa: S608 - constants
    return [SegmentDefinition(*row) for row in await connection.fetch(query)]
