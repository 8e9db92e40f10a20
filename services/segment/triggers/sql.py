"""Triggers and their versions in PostgreSQL."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from libs.database import Connection, Database
from libs.database.tables import Kept, Lasting, Nobodys
from libs.errors import AlreadyExists, Conflict
from services.segment.triggers.model import TriggerDefinition, TriggerMode, TriggerVersion
from services.segment.triggers.ports import PlanChanges

TABLES = (
    Kept("segment.triggers", Lasting("until they are deleted"), Nobodys()),
    Kept("segment.trigger_versions", Lasting("as long as the trigger"), Nobodys()),
)

_RULE = "event_name, unless, delay, condition, mode, withdraws"
_COLUMNS = f"trigger_id, display_name, {_RULE}, version, plan, since, created, updated"
_KEEP_VERSION = f"""
insert into segment.trigger_versions (trigger_id, version, display_name, {_RULE}, created)
select trigger_id, version, display_name, {_RULE}, updated from segment.triggers where trigger_id = $1
"""  # noqa: S608 - composed of constants


class SqlTriggers:
    """Triggers and their versions."""

    def __init__(
        self, database: Database, plans: PlanChanges, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._plans = plans
        self._clock = clock

    async def get(self, trigger_id: str) -> TriggerDefinition | None:
        query = f"select {_COLUMNS} from segment.triggers where trigger_id = $1"  # noqa: S608 - constants
        async with self._database.begin() as connection:
            return next(iter(await self._as_they_are(connection, query, trigger_id)), None)

    async def page(self, after: str, limit: int) -> list[TriggerDefinition]:
        query = (
            f"select {_COLUMNS} from segment.triggers "  # noqa: S608 - constants
            "where trigger_id > $1 order by trigger_id limit $2"
        )
        async with self._database.begin() as connection:
            return await self._as_they_are(connection, query, after, limit)

    async def insert(self, definition: TriggerDefinition, request_id: str) -> TriggerDefinition:
        trigger_id = definition.trigger_id
        async with self._database.begin() as connection:
            plan = await self._plans.next_version(connection)
            made_by = await connection.fetchval(
                "select request_id from segment.triggers where trigger_id = $1", trigger_id
            )
            if made_by is not None and not (request_id and made_by == request_id):
                raise AlreadyExists(f"there is a trigger {trigger_id} already", trigger_id=trigger_id)
            if made_by is None:
                await connection.execute(
                    f"insert into segment.triggers ({_COLUMNS}, request_id) "  # noqa: S608 - constants
                    "values ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $10, $10, $10, $11)",
                    trigger_id,
                    *_columns_of(definition),
                    plan,
                    int(self._clock() * 1_000_000),
                    request_id,
                )
                await connection.execute(_KEEP_VERSION, trigger_id)
                await self._plans.publish(connection, trigger_id, rules_changed=True)
            return await self._one(connection, trigger_id)

    async def replace(self, definition: TriggerDefinition, base: int) -> TriggerDefinition:
        trigger_id = definition.trigger_id
        async with self._database.begin() as connection:
            plan = await self._plans.next_version(connection)
            old = await self._newest(connection, trigger_id, base)
            rules_changed = old.rule != definition.rule
            now = int(self._clock() * 1_000_000)
            await connection.execute(
                "update segment.triggers set display_name = $2, event_name = $3, unless = $4, delay = $5, "
                "condition = $6, mode = $7, withdraws = $8, version = version + 1, plan = $9, since = $10, "
                "updated = $11 where trigger_id = $1",
                trigger_id,
                *_columns_of(definition),
                plan if rules_changed else old.plan,
                now if rules_changed else old.since,
                now,
            )
            await connection.execute(_KEEP_VERSION, trigger_id)
            await self._plans.publish(connection, trigger_id, rules_changed)
            return await self._one(connection, trigger_id)

    async def delete(self, trigger_id: str, base: int) -> None:
        async with self._database.begin() as connection:
            await self._plans.next_version(connection)
            await self._newest(connection, trigger_id, base)
            await connection.execute("delete from segment.triggers where trigger_id = $1", trigger_id)
            await self._plans.publish(connection, trigger_id, rules_changed=True)

    async def versions(self, trigger_id: str, before: int, limit: int) -> list[TriggerVersion]:
        rows = await self._database.pool.fetch(
            f"select version, trigger_id, display_name, {_RULE}, created "  # noqa: S608 - constants
            "from segment.trigger_versions "
            "where trigger_id = $1 and version < $2 order by version desc limit $3",
            trigger_id,
            before,
            limit,
        )
        return [TriggerVersion(row["version"], _definition(row), row["created"]) for row in rows]

    async def _newest(self, connection: Connection, trigger_id: str, base: int) -> TriggerDefinition:
        query = f"select {_COLUMNS} from segment.triggers where trigger_id = $1"  # noqa: S608 - constants
        row = await connection.fetchrow(query, trigger_id)
        if row is None or row["version"] != base:
            raise Conflict(f"trigger {trigger_id} has changed meanwhile", trigger_id=trigger_id)
        return _definition(row)

    async def _one(self, connection: Connection, trigger_id: str) -> TriggerDefinition:
        query = f"select {_COLUMNS} from segment.triggers where trigger_id = $1"  # noqa: S608 - constants
        (stored,) = await self._as_they_are(connection, query, trigger_id)
        return stored

    async def _as_they_are(
        self, connection: Connection, query: str, *arguments: object
    ) -> list[TriggerDefinition]:
        """Triggers, and whether all people are of their rules."""
        found = [_definition(row) for row in await connection.fetch(query, *arguments)]
        done = await self._plans.done(connection)
        backfills = await self._plans.backfills(connection, {d.plan for d in found})
        return [replace(d, active=d.plan <= done, backfill=backfills.get(d.plan, "")) for d in found]


async def all_triggers(connection: Connection) -> list[TriggerDefinition]:
    """All of them, by id, for the plan that they make."""
    query = f"select {_COLUMNS} from segment.triggers order by trigger_id"  # noqa: S608 - constants
    return [_definition(row) for row in await connection.fetch(query)]


def _columns_of(definition: TriggerDefinition) -> tuple[object, ...]:
    return (
        definition.display_name,
        definition.event_name,
        list(definition.unless),
        definition.delay,
        definition.condition,
        definition.mode.value,
        definition.withdraws,
    )


def _definition(row: Any) -> TriggerDefinition:
    values = dict(row)
    return TriggerDefinition(
        **values | {"unless": tuple(row["unless"]), "mode": TriggerMode(row["mode"])},
    )
