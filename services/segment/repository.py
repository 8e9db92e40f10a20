"""States, timers, memberships and definitions in PostgreSQL."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import msgspec
import structlog

from libs.database import Connection, Database
from libs.errors import Unavailable
from libs.messaging import slot_of
from services.segment.domain import (
    Membership,
    SegmentDefinition,
    State,
    Transition,
    TransitionKind,
    TriggerDefinition,
)
from services.segment.evaluation import Plan, TrackedSeries, needed_series
from services.segment.rules import Series

log = structlog.get_logger(__name__)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode

_LOAD = "select state from segment.states where profile_id = any($1::uuid[])"
_DUE = """
select t.profile_id::text from segment.timers as t
join unnest($1::int[], $2::bigint[]) as c (partition, clock)
  on t.slot % $3::int = c.partition and t.due <= c.clock
where t.due <= $4 order by t.due limit $5
"""
_OUTDATED = """
select profile_id::text from segment.states where plan < $1 and slot % $3::int = any($2::int[]) limit $4
"""
_FINISH = """
insert into segment.partitions as p (partition, plan)
select partition, $2 from unnest($1::int[]) as i (partition)
on conflict (partition) do update set plan = excluded.plan where p.plan < excluded.plan
"""
# Two owners for a moment can both get so far; only one of them has computed from what is stored.
_SAVE_STATES = """
insert into segment.states as s (profile_id, slot, plan, writes, state)
select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bytea[])
on conflict (profile_id) do update
set plan = excluded.plan, writes = excluded.writes, state = excluded.state
where s.writes = excluded.writes - 1
"""
_SET_TIMERS = """
insert into segment.timers (profile_id, slot, due)
select * from unnest($1::uuid[], $2::smallint[], $3::bigint[])
on conflict (profile_id) do update set due = excluded.due
"""
_DROP_TIMERS = "delete from segment.timers where profile_id = any($1::uuid[])"
_ENTER = """
insert into segment.memberships (segment_id, profile_id, entered, cause_id, event_id)
select * from unnest($1::text[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[])
on conflict (segment_id, profile_id)
do update set entered = excluded.entered, cause_id = excluded.cause_id, event_id = excluded.event_id
"""
_LEAVE = """
delete from segment.memberships as m using unnest($1::text[], $2::uuid[]) as gone (segment_id, profile_id)
where m.profile_id = any($2::uuid[])
  and m.segment_id = gone.segment_id and m.profile_id = gone.profile_id
"""
_CLAIM = """
insert into segment.triggered (trigger_id, cause_id) select * from unnest($1::text[], $2::bytea[])
on conflict do nothing returning trigger_id, cause_id
"""
_SET_CLOCKS = """
insert into segment.partitions as p (partition, clock) select * from unnest($1::int[], $2::bigint[])
on conflict (partition) do update set clock = excluded.clock where p.clock < excluded.clock
"""
_COUNT_MEMBERS = """
select segment_id, count(*) from segment.memberships
where $1::text is null or segment_id = $1 group by segment_id
"""
# The newest plan of which all states of all partitions are.
_DONE = """
select case when count(*) = $1 then min(plan) else 0 end from segment.partitions where partition < $1
"""


class Cache:
    """The states that a worker keeps in memory: its partitions are its own while it may commit."""

    def __init__(self, most: int = 20_000) -> None:
        self.states: dict[str, State] = {}
        self.dues: dict[str, int | None] = {}
        """The timers as stored."""
        self.clocks: dict[int, int] = {}
        self._most = most

    def forget(self) -> None:
        """Drop everything: a transaction was rolled back, or partitions changed hands."""
        self.states.clear()
        self.dues.clear()
        self.clocks.clear()

    def trim(self) -> None:
        """Drop the states that were not used for longest."""
        for profile_id in list(islice(self.states, max(0, len(self.states) - self._most))):
            del self.states[profile_id]
            self.dues.pop(profile_id, None)


class SqlStates:
    """The states of one batch, inside its transaction. What it loads and saves, it leaves in the cache."""

    def __init__(self, connection: Connection, cache: Cache, partitions: int) -> None:
        self._connection = connection
        self._cache = cache
        self._partitions = partitions

    async def load(self, profile_ids: Collection[str]) -> dict[str, State]:
        cache = self._cache
        missing = [profile_id for profile_id in profile_ids if profile_id not in cache.states]
        if missing:
            for row in await self._connection.fetch(_LOAD, missing):
                state = _decode(row[0])
                cache.states[state.profile_id] = state
                cache.dues[state.profile_id] = state.due
        found = {}
        for profile_id in profile_ids:
            # Last used, last dropped.
            state = cache.states.get(profile_id) or State(profile_id)
            cache.states.pop(profile_id, state)
            found[profile_id] = cache.states[profile_id] = state
        return found

    async def due(self, clocks: Mapping[int, int], limit: int) -> list[str]:
        if not clocks:
            return []
        rows = await self._connection.fetch(
            _DUE, list(clocks), list(clocks.values()), self._partitions, max(clocks.values()), limit
        )
        return [row[0] for row in rows]

    async def outdated(self, indexes: Collection[int], plan: int, limit: int) -> list[str]:
        rows = await self._connection.fetch(_OUTDATED, plan, list(indexes), self._partitions, limit)
        return [row[0] for row in rows]

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        await self._connection.execute(_FINISH, list(indexes), plan)

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        unknown = [index for index in indexes if index not in self._cache.clocks]
        if unknown:
            query = "select partition, clock from segment.partitions where partition = any($1::int[])"
            self._cache.clocks.update(dict.fromkeys(unknown, 0))
            self._cache.clocks.update(
                (row[0], row[1]) for row in await self._connection.fetch(query, unknown)
            )
        return {index: self._cache.clocks[index] for index in indexes if self._cache.clocks[index]}

    async def claim(self, triggered: Sequence[Transition]) -> set[tuple[str, bytes]]:
        effects = sorted({(t.definition_id, t.cause_id) for t in triggered})
        rows = await self._connection.fetch(_CLAIM, [e[0] for e in effects], [e[1] for e in effects])
        return {(row[0], row[1]) for row in rows}

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        if not states:
            return
        for state in states:
            state.writes += 1
        status = await self._connection.execute(
            _SAVE_STATES,
            [state.profile_id for state in states],
            [slot_of(state.profile_id.encode()) for state in states],
            [state.plan for state in states],
            [state.writes for state in states],
            [_encode(state) for state in states],
        )
        if status != f"INSERT 0 {len(states)}":
            raise Unavailable("another owner of the partition has written one of its states")
        await self._save_timers(states)
        await self._save_memberships(transitions)
        self._cache.states.update((state.profile_id, state) for state in states)
        self._cache.trim()

    async def save_clocks(self, clocks: Mapping[int, int]) -> None:
        news = {index: clock for index, clock in clocks.items() if clock > self._cache.clocks.get(index, 0)}
        if news:
            await self._connection.execute(_SET_CLOCKS, list(news), list(news.values()))
            self._cache.clocks.update(news)

    async def _save_timers(self, states: Sequence[State]) -> None:
        changed = [state for state in states if self._cache.dues.get(state.profile_id) != state.due]
        later = [(s.profile_id, slot_of(s.profile_id.encode()), s.due) for s in changed if s.due is not None]
        if later:
            await self._connection.execute(
                _SET_TIMERS, *(list(column) for column in zip(*later, strict=True))
            )
        never = [state.profile_id for state in changed if state.due is None]
        if never:
            await self._connection.execute(_DROP_TIMERS, never)
        self._cache.dues.update((state.profile_id, state.due) for state in changed)

    async def _save_memberships(self, transitions: Sequence[Transition]) -> None:
        # Somebody may leave and come back within a batch: the last one counts.
        last: dict[tuple[str, str], Transition] = {}
        for transition in transitions:
            if transition.kind is not TransitionKind.TRIGGERED:
                last[transition.definition_id, transition.profile_id] = transition
        entered = [
            (segment_id, profile_id, t.time, t.cause_id, t.event_id)
            for (segment_id, profile_id), t in last.items()
            if t.kind is TransitionKind.ENTERED
        ]
        if entered:
            await self._connection.execute(_ENTER, *(list(column) for column in zip(*entered, strict=True)))
        left = [key for key, t in last.items() if t.kind is TransitionKind.EXITED]
        if left:
            await self._connection.execute(_LEAVE, *(list(column) for column in zip(*left, strict=True)))


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


class SqlMembers:
    """Who is in which segment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exists(self, segment_id: str) -> bool:
        query = "select exists (select from segment.segments where segment_id = $1)"
        return bool(await self._database.pool.fetchval(query, segment_id))

    async def page(self, segment_id: str, after: str, limit: int) -> list[tuple[str, Membership]]:
        rows = await self._database.pool.fetch(
            "select profile_id::text, entered, cause_id, event_id from segment.memberships "
            "where segment_id = $1 and profile_id > $2::uuid order by profile_id limit $3",
            segment_id,
            after or "00000000-0000-0000-0000-000000000000",
            limit,
        )
        return [(row[0], Membership(row[1], row[2], row[3])) for row in rows]

    async def of(self, profile_ids: Sequence[str]) -> list[tuple[str, str, Membership]]:
        rows = await self._database.pool.fetch(
            "select profile_id::text, segment_id, entered, cause_id, event_id from segment.memberships "
            "where profile_id = any($1::uuid[]) order by profile_id, segment_id",
            profile_ids,
        )
        return [(row[0], row[1], Membership(row[2], row[3], row[4])) for row in rows]
