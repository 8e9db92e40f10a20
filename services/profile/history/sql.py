"""The steps of every profile's life in PostgreSQL."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from libs.database import Connection, Database
from libs.database.tables import Age, Erased, ErasedBy, Kept, Lasting
from services.profile.history.model import HistoryPart, StoredStep, UnassignedEvent
from services.profile.identity.model import Event

TABLES: Final = (
    Kept(
        "profile.history",
        # Every derived thing can be rebuilt from it, so it may not end before them.
        Lasting("as long as the profile: segments, traits and timers are rebuilt from it"),
        Erased(),
    ),
    Kept(
        "profile.unassigned_events",
        Age("received", timedelta(days=35)),
        ErasedBy("identifiers, which hold the addresses that several people share"),
    ),
)

_KEEP_UNASSIGNED = """
insert into profile.unassigned_events (event_id, received, identifiers, body)
select event_id, received, string_to_array(identifiers, E'\\n'), body
from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) as n (event_id, received, identifiers, body)
on conflict do nothing
"""
_PART_BYTES = 1 << 20
_LAST = 1 << 62, "00000000-0000-0000-0000-000000000000"

_MOVE_HISTORY = """
update profile.history as h
set profile_id = n.survivor, revision = n.revision, moved = true, origin = coalesce(h.origin, h.profile_id)
from (
  select o.profile_id, o.revision as old, p.survivor,
    p.base + row_number() over (partition by p.survivor order by p.place, o.revision) as revision
  from profile.history as o
  join unnest($1::uuid[], $2::uuid[], $3::bigint[]) with ordinality as p (absorbed, survivor, base, place)
    on p.absorbed = o.profile_id
  where o.profile_id = any($1::uuid[])
) as n
where h.profile_id = any($1::uuid[]) and h.profile_id = n.profile_id and h.revision = n.old
returning h.profile_id::text, h.revision, h.body
"""
_LAST_STEPS = """
select distinct on (profile_id) profile_id::text, revision, moved, body from profile.history
where profile_id = any($1::uuid[]) order by profile_id, revision desc
"""


class SqlSteps:
    """The stored steps, inside a batch's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def move(self, moves: Sequence[tuple[str, str, int]]) -> list[tuple[str, int, bytes]]:
        columns = (list(column) for column in zip(*moves, strict=True))
        rows = await self._connection.fetch(_MOVE_HISTORY, *columns)
        return sorted((row[0], row[1], row[2]) for row in rows)

    async def append(self, steps: Sequence[tuple[str, int, bytes]]) -> None:
        await self._connection.copy_records_to_table(
            "history",
            schema_name="profile",
            records=[(profile_id, revision, False, body) for profile_id, revision, body in steps],
            columns=("profile_id", "revision", "moved", "body"),
        )

    async def keep_unassigned(self, events: Sequence[Event]) -> None:
        await self._connection.execute(
            _KEEP_UNASSIGNED,
            [UUID(event.event_id) for event in events],
            [event.received for event in events],
            ["\n".join(event.identifiers) for event in events],
            [event.body for event in events],
        )


async def last_steps(connection: Connection, profile_ids: Sequence[str]) -> list[tuple[str, StoredStep]]:
    """The last step of each profile, with its id."""
    rows = await connection.fetch(_LAST_STEPS, profile_ids)
    return [(row[0], StoredStep(row[1], row[2], row[3])) for row in rows]


class SqlHistories:
    """Reads histories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def living(self, profile_id: str) -> str | None:
        found: str | None = await self._database.pool.fetchval(
            "select coalesce(merged_into, profile_id)::text from profile.profiles where profile_id = $1",
            profile_id,
        )
        return found

    async def unassigned(self, before: tuple[int, str] | None, limit: int) -> list[UnassignedEvent]:
        received, event_id = before or _LAST
        rows = await self._database.pool.fetch(
            "select received, event_id::text, body from profile.unassigned_events "
            "where (received, event_id) < ($1, $2::uuid) order by received desc, event_id desc limit $3",
            received,
            event_id,
            limit,
        )
        return [UnassignedEvent(*row) for row in rows]

    async def recent_steps(self, profile_id: str, before: int, limit: int) -> list[StoredStep]:
        rows = await self._database.pool.fetch(
            "select revision, moved, body from profile.history where profile_id = $1 and revision < $2 "
            "order by revision desc limit $3",
            profile_id,
            before,
            limit,
        )
        return [StoredStep(*row) for row in rows]

    async def read(self, profile_ids: Sequence[str], after: Mapping[str, int]) -> AsyncIterator[HistoryPart]:
        # One snapshot: the steps and the revision that they lead to belong together.
        async with (
            self._database.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = await connection.fetch(
                "select profile_id::text, revision from profile.profiles where profile_id = any($1::uuid[])",
                profile_ids,
            )
            revisions = {row[0]: row[1] for row in rows}
            for profile_id in profile_ids:
                async for part in _parts(connection, profile_id, after.get(profile_id, 0)):
                    yield HistoryPart(profile_id, part, None)
                yield HistoryPart(profile_id, (), revisions.get(profile_id, 0))


async def _parts(connection: Connection, profile_id: str, after: int) -> AsyncIterator[list[StoredStep]]:
    """One profile's steps behind a revision, in parts of about a megabyte."""
    part: list[StoredStep] = []
    size = 0
    query = (
        "select revision, moved, body from profile.history "
        "where profile_id = $1 and revision > $2 order by revision"
    )
    async for row in connection.cursor(query, profile_id, after):
        part.append(StoredStep(*row))
        size += len(part[-1].body)
        if size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
