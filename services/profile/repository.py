"""Profiles in PostgreSQL.

A batch locks the profiles that it concerns, in the order of their ids, before it decides anything:
the owner of an identifier only changes under the lock of its profile, so an identifier that the
locked profile holds is rightly its own, whatever was read or cached before.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import islice

import msgspec
from asyncpg.pgproto.pgproto import UUID

from libs.database import Connection, Database
from libs.errors import Contended
from libs.messaging import Record
from services.profile import convert
from services.profile.domain import Change, Profile
from services.profile.ports import History, Step

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Profile).decode

_MICROS_A_DAY = 86_400_000_000
_PART_BYTES = 1 << 20
_MORE_ROUNDS = 7

_CLAIM = """
insert into profile.event_ids (event_id, day) select event_id, $2 from unnest($1::uuid[]) as new (event_id)
on conflict do nothing returning event_id
"""
_OWNERS = "select identifier, profile_id::text from profile.identities where identifier = any($1::text[])"
_LOCK = """
select profile_id::text, revision, merged_into is not null as absorbed from profile.profiles
where profile_id = any($1::uuid[]) order by profile_id for no key update
"""
# Whoever holds locks already and waited for more could wait for ever: rather start over.
_LOCK_MORE = f"{_LOCK} nowait"
_STATES = "select profile_id::text, revision, state from profile.profiles where profile_id = any($1::uuid[])"
_ADD_IDENTITIES = """
insert into profile.identities (identifier, profile_id)
select * from unnest($1::text[], $2::uuid[]) on conflict do nothing
"""
_MOVE_IDENTITIES = """
update profile.identities as i set profile_id = n.profile_id
from unnest($1::text[], $2::uuid[]) as n (identifier, profile_id)
where i.identifier = any($1::text[]) and i.identifier = n.identifier
"""
_SAVE = """
insert into profile.profiles as p (profile_id, revision, state)
select * from unnest($1::uuid[], $2::bigint[], $3::bytea[])
on conflict (profile_id) do update set revision = excluded.revision, state = excluded.state
"""
# The arrays name the rows as well, so that the planner never joins by scanning the table.
_BURY = """
update profile.profiles as p set merged_into = n.merged_into, revision = coalesce(n.revision, p.revision)
from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as n (profile_id, merged_into, revision)
where p.profile_id = any($1::uuid[]) and p.profile_id = n.profile_id
"""
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


class Cache:
    """What a worker remembers of committed batches. An entry counts only at the locked row's revision."""

    def __init__(self, most: int = 50_000) -> None:
        self.owners: dict[str, str | None] = {}
        self.states: dict[str, tuple[int, bytes]] = {}
        self._most = most

    def forget(self) -> None:
        """Drop everything."""
        self.owners.clear()
        self.states.clear()

    def take(self, owners: Mapping[str, str | None], states: Mapping[str, tuple[int, bytes]]) -> None:
        """Remember what a commit made true; the oldest entries go first."""
        self.owners.update(owners)
        self.states.update(states)
        for entries in (self.owners, self.states):
            for key in list(islice(entries, max(0, len(entries) - self._most))):
                del entries[key]


class SqlPeople:
    """The profiles of one batch, inside its transaction."""

    def __init__(
        self, connection: Connection, cache: Cache, now: int, traced: Mapping[bytes, str] | None = None
    ) -> None:
        self.records: list[Record] = []
        """What the batch puts on the log."""
        self._connection = connection
        self._cache = cache
        self._now = now
        self._traced = traced or {}
        self._stored_owners: dict[str, str | None] = {}
        self._final_owners: Mapping[str, str | None] = {}
        self._states: dict[str, tuple[int, bytes]] = {}

    async def claim(self, event_ids: Collection[bytes]) -> set[bytes]:
        # In one order everywhere, or two batches with the same ids could wait for each other.
        ids = [UUID(event_id) for event_id in sorted(event_ids)]
        rows = await self._connection.fetch(_CLAIM, ids, self._now // _MICROS_A_DAY)
        return {row[0].bytes for row in rows}

    async def lock(self, identifiers: Collection[str]) -> tuple[dict[str, str | None], dict[str, Profile]]:
        profiles: dict[str, Profile] = {}
        blocked: set[str] = set()
        unknown = set(identifiers)
        for lock in (_LOCK, *[_LOCK_MORE] * _MORE_ROUNDS):
            found = await self._find_owners(unknown)
            blocked.update(i for i, owner in found.items() if owner is None)
            missing = {owner for owner in found.values() if owner is not None} - profiles.keys()
            profiles.update(await self._lock_profiles(lock, missing))
            held = {i: owner for owner, profile in profiles.items() for i in profile.identifiers}
            # What no locked profile holds has moved since it was read.
            unknown = {i for i, owner in found.items() if owner is not None and i not in held}
            for identifier in unknown:
                self._cache.owners.pop(identifier, None)
            if not unknown:
                # The locked profiles decide: what was nobody's when it was read may be theirs by now.
                owners = {i: held.get(i) for i in identifiers if i in held or i in blocked}
                self._stored_owners = {**held, **owners}
                return owners, profiles
        raise Contended("identifiers kept moving while their profiles were locked")

    async def save(self, changes: Sequence[Change], owners: Mapping[str, str | None]) -> None:
        await self._save_identities(owners)
        history = await self._absorb([change for change in changes if change.absorbed])
        for change in changes:
            profile = change.profile
            bodies = convert.bodies_of(change)
            for number, body in enumerate(bodies, 1):
                profile.revision += 1
                history.append((profile.profile_id, profile.revision, False, body))
                more = number < len(bodies)
                self._tell(profile.profile_id, profile.revision, body, more=more, trace=self._trace(change))
        await self._connection.copy_records_to_table(
            "history",
            schema_name="profile",
            records=history,
            columns=("profile_id", "revision", "moved", "body"),
        )
        self._states = {c.profile.profile_id: (c.profile.revision, _encode(c.profile)) for c in changes}
        await self._connection.execute(
            _SAVE,
            list(self._states),
            [revision for revision, _ in self._states.values()],
            [state for _, state in self._states.values()],
        )

    def commit_cache(self) -> None:
        """Let the cache know what is now true; call it after the commit."""
        self._cache.take(self._final_owners, self._states)

    async def _find_owners(self, identifiers: Collection[str]) -> dict[str, str | None]:
        cached = {i: self._cache.owners[i] for i in identifiers if i in self._cache.owners}
        asked = [i for i in identifiers if i not in cached]
        rows = await self._connection.fetch(_OWNERS, asked) if asked else []
        return {**cached, **{row[0]: row[1] for row in rows}}

    async def _lock_profiles(self, lock: str, profile_ids: Collection[str]) -> dict[str, Profile]:
        if not profile_ids:
            return {}
        rows = await self._connection.fetch(lock, profile_ids)
        living = {row[0]: row[1] for row in rows if not row[2]}
        states: dict[str, bytes] = {}
        for profile_id, revision in living.items():
            cached = self._cache.states.get(profile_id)
            if cached is not None and cached[0] == revision:
                states[profile_id] = cached[1]
        stale = [profile_id for profile_id in living if profile_id not in states]
        if stale:
            states.update((row[0], row[2]) for row in await self._connection.fetch(_STATES, stale))
        return {profile_id: _decode(state) for profile_id, state in states.items()}

    async def _save_identities(self, owners: Mapping[str, str | None]) -> None:
        self._final_owners = owners
        stored = self._stored_owners
        new = sorted(i for i in owners if i not in stored)
        moved = sorted(i for i, owner in stored.items() if owners.get(i, owner) != owner)
        if new:
            status = await self._connection.execute(_ADD_IDENTITIES, new, [owners[i] for i in new])
            if status != f"INSERT 0 {len(new)}":
                raise Contended("another batch has met one of these identifiers at the same moment")
        if moved:
            await self._connection.execute(_MOVE_IDENTITIES, moved, [owners[i] for i in moved])

    async def _absorb(self, changes: Sequence[Change]) -> list[tuple[str, int, bool, bytes]]:
        """Move the absorbed profiles' histories behind their survivors'; returns the tombstones.

        A survivor's row may not exist yet: it is saved with the same batch.
        """
        if not changes:
            return []
        pairs = [(absorbed.profile, change.profile) for change in changes for absorbed in change.absorbed]
        rows = await self._connection.fetch(
            _MOVE_HISTORY,
            [absorbed.profile_id for absorbed, _ in pairs],
            [survivor.profile_id for _, survivor in pairs],
            [survivor.revision for _, survivor in pairs],
        )
        survivors = {survivor.profile_id: survivor for _, survivor in pairs}
        for profile_id, revision, body in sorted((row[0], row[1], row[2]) for row in rows):
            survivors[profile_id].revision = revision
            self._tell(profile_id, revision, body, moved=True, more=True)
        graves = []
        for absorbed, survivor in pairs:
            tombstone = convert.tombstone_body(survivor.profile_id)
            graves.append((absorbed.profile_id, absorbed.revision + 1, False, tombstone))
            self._tell(absorbed.profile_id, absorbed.revision + 1, tombstone)
        dead: list[tuple[str, str, int | None]] = [
            (a.profile_id, s.profile_id, a.revision + 1) for a, s in pairs
        ]
        # Ids that those had absorbed answer with the new survivor as well.
        buried = {absorbed.profile_id for absorbed, _ in pairs}
        older = {profile_id: s.profile_id for _, s in pairs for profile_id in s.absorbed}
        dead += [
            (profile_id, survivor, None) for profile_id, survivor in older.items() if profile_id not in buried
        ]
        await self._connection.execute(_BURY, *(list(column) for column in zip(*dead, strict=True)))
        return graves

    def _trace(self, change: Change) -> dict[str, str] | None:
        """The trace that a change continues: its first event's that has one."""
        if not self._traced:
            return None
        for event in change.events:
            if event.event_id in self._traced:
                return {"traceparent": self._traced[event.event_id]}
        return None

    def _tell(
        self,
        profile_id: str,
        revision: int,
        body: bytes,
        moved: bool = False,
        more: bool = False,
        trace: dict[str, str] | None = None,
    ) -> None:
        value = convert.update_bytes(profile_id, revision, body, moved, more)
        self.records.append(Record(profile_id.encode(), convert.UPDATED, value, self._now, trace))


class SqlDirectory:
    """Reads profiles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, profile_ids: Sequence[str]) -> dict[str, Profile]:
        rows = await self._database.pool.fetch(
            "select a.profile_id::text as asked, coalesce(s.state, a.state) as state "
            "from profile.profiles as a left join profile.profiles as s on s.profile_id = a.merged_into "
            "where a.profile_id = any($1::uuid[])",
            profile_ids,
        )
        return {row["asked"]: _decode(row["state"]) for row in rows}

    async def find(self, identifier: str) -> Profile | None:
        state = await self._database.pool.fetchval(
            "select p.state from profile.identities as i join profile.profiles as p using (profile_id) "
            "where i.identifier = $1",
            identifier,
        )
        return None if state is None else _decode(state)

    async def page(self, after: str, limit: int) -> list[Profile]:
        rows = await self._database.pool.fetch(
            "select state from profile.profiles where profile_id > $1::uuid and merged_into is null "
            "order by profile_id limit $2",
            after,
            limit,
        )
        return [_decode(row[0]) for row in rows]

    async def count(self) -> int:
        query = "select count(*) from profile.profiles where merged_into is null"
        return int(await self._database.pool.fetchval(query) or 0)

    async def recent_steps(self, profile_id: str, before: int, limit: int) -> list[Step]:
        rows = await self._database.pool.fetch(
            "select revision, moved, body from profile.history where profile_id = $1 and revision < $2 "
            "order by revision desc limit $3",
            profile_id,
            before,
            limit,
        )
        return [Step(*row) for row in rows]

    async def histories(self, profile_ids: Sequence[str], after: Mapping[str, int]) -> AsyncIterator[History]:
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
                    yield History(profile_id, part, None)
                yield History(profile_id, (), revisions.get(profile_id, 0))


async def _parts(connection: Connection, profile_id: str, after: int) -> AsyncIterator[list[Step]]:
    """One profile's steps behind a revision, in parts of about a megabyte."""
    part: list[Step] = []
    size = 0
    query = (
        "select revision, moved, body from profile.history "
        "where profile_id = $1 and revision > $2 order by revision"
    )
    async for row in connection.cursor(query, profile_id, after):
        part.append(Step(*row))
        size += len(part[-1].body)
        if size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
