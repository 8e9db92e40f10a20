"""Profiles in PostgreSQL.

A batch locks the profiles that it concerns, in the order of their ids, before it decides anything:
the owner of an identifier only changes under the lock of its profile, so an identifier that the
locked profile holds is rightly its own, whatever was read or cached before.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence

import msgspec
from asyncpg.pgproto.pgproto import UUID

from libs.database import Connection
from libs.errors import Contended
from services.profile.consent.model import Statement
from services.profile.identity.model import PROFILE_ID, Change, Profile, Refusals, kind_of
from services.profile.identity.ports import AddressFacts
from services.profile.identity.sql.cache import Cache

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Profile).decode

_MICROS_A_DAY = 86_400_000_000
_MORE_ROUNDS = 7

_REMEMBER = """
insert into profile.event_ids (event_id, day) select event_id, $2 from unnest($1::uuid[]) as new (event_id)
on conflict do nothing returning event_id
"""
_OWNERS = "select identifier, profile_id::text from profile.identities where identifier = any($1::text[])"
_LIVING = """
select profile_id::text, coalesce(merged_into, profile_id)::text from profile.profiles
where profile_id = any($1::uuid[])
"""
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
_MARK_MERGED = """
update profile.profiles as p set merged_into = n.merged_into, revision = coalesce(n.revision, p.revision)
from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as n (profile_id, merged_into, revision)
where p.profile_id = any($1::uuid[]) and p.profile_id = n.profile_id
"""

# Addresses are locked by slots, of which a batch holds few: the server has room for some thousand locks.
_SLOTS = 64
_LOCK_ADDRESSES = """
select case when is_refused then pg_advisory_xact_lock(hashtext('profile address'), slot)
  else pg_advisory_xact_lock_shared(hashtext('profile address'), slot) end
from unnest($1::int[], $2::bool[]) as s (slot, is_refused)
"""
_SHARES = """
select s.address, coalesce(p.merged_into, p.profile_id)::text
from profile.shared_addresses as s join profile.profiles as p using (profile_id)
where s.profile_id = any($1::uuid[])
"""
_HOLDERS = """
select s.address, coalesce(p.merged_into, p.profile_id)::text
from profile.shared_addresses as s join profile.profiles as p using (profile_id)
where s.address = any($1::text[])
union
select identifier, profile_id::text from profile.identities
where identifier = any($1::text[]) and profile_id is not null
"""
_REFUSALS = """
select address, purpose, moment, event_id, trusted from profile.address_refusals
where address = any($1::text[])
"""
_REFUSE = """
insert into profile.address_refusals as r (address, purpose, moment, event_id, trusted)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::bool[])
on conflict (address, purpose) do update
set moment = excluded.moment, event_id = excluded.event_id, trusted = excluded.trusted
where excluded.moment > r.moment
"""
_SHARE = """
insert into profile.shared_addresses (address, profile_id)
select * from unnest($1::text[], $2::uuid[]) on conflict do nothing
"""


def _slot(address: str) -> int:
    return zlib.crc32(address.encode()) % _SLOTS


class SqlPeople:
    """The profiles of one batch, inside its transaction."""

    def __init__(self, connection: Connection, cache: Cache, now: int) -> None:
        self._connection = connection
        self._cache = cache
        self._now = now
        self._stored_owners: dict[str, str | None] = {}
        self._final_owners: Mapping[str, str | None] = {}
        self._states: dict[str, tuple[int, bytes]] = {}

    async def remember(self, event_ids: Collection[bytes]) -> set[bytes]:
        # In one order everywhere, or two batches with the same ids could wait for each other.
        ids = [UUID(event_id) for event_id in sorted(event_ids)]
        rows = await self._connection.fetch(_REMEMBER, ids, self._now // _MICROS_A_DAY)
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
            named = (i for i in identifiers if kind_of(i) == PROFILE_ID)
            living = ((i, found.get(i)) for i in named)
            held |= {i: owner for i, owner in living if owner is not None and owner in profiles}
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

    async def lock_more(self, profile_ids: Collection[str]) -> dict[str, Profile]:
        found = await self._lock_profiles(_LOCK_MORE, profile_ids)
        if len(found) < len(profile_ids):
            raise Contended("a profile was merged away while its address was refused")
        return found

    async def find_shares(self, profile_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        rows = await self._connection.fetch(_SHARES, list(profile_ids))
        return [(row[0], row[1]) for row in rows]

    async def find_refusals(self, refused: Collection[str], gained: Collection[str]) -> AddressFacts:
        slots = {_slot(address): False for address in gained} | {_slot(a): True for a in refused}
        in_order = sorted(slots)
        await self._connection.execute(_LOCK_ADDRESSES, in_order, [slots[slot] for slot in in_order])
        holders = await self._connection.fetch(_HOLDERS, list(refused)) if refused else []
        rows = await self._connection.fetch(_REFUSALS, list(gained)) if gained else []
        known = {(row[0], row[1]): Statement(row[2], row[3].bytes, row[4]) for row in rows}
        return AddressFacts([(row[0], row[1]) for row in holders], known)

    async def save_refusals(self, refusals: Refusals, shares: Sequence[tuple[str, str]]) -> None:
        if refusals:
            said = sorted(refusals.items())
            await self._connection.execute(
                _REFUSE,
                [address for (address, _), _ in said],
                [purpose for (_, purpose), _ in said],
                [statement.moment for _, statement in said],
                [UUID(statement.event_id) for _, statement in said],
                [statement.trusted for _, statement in said],
            )
        if shares:
            addresses, profile_ids = zip(*sorted(shares), strict=True)
            await self._connection.execute(_SHARE, list(addresses), list(profile_ids))

    async def save_owners(self, owners: Mapping[str, str | None]) -> None:
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

    async def save(self, changes: Sequence[Change]) -> None:
        await self._mark_merged([change for change in changes if change.absorbed])
        self._states = {c.profile.profile_id: (c.profile.revision, _encode(c.profile)) for c in changes}
        await self._connection.execute(
            _SAVE,
            list(self._states),
            [revision for revision, _ in self._states.values()],
            [state for _, state in self._states.values()],
        )

    def committed(self) -> None:
        self._cache.update(self._final_owners, self._states)

    async def _find_owners(self, identifiers: Collection[str]) -> dict[str, str | None]:
        cached = {i: self._cache.owners[i] for i in identifiers if i in self._cache.owners}
        asked = [i for i in identifiers if i not in cached and kind_of(i) != PROFILE_ID]
        rows = await self._connection.fetch(_OWNERS, asked) if asked else []
        found = {**cached, **{row[0]: row[1] for row in rows}}
        profile_ids = [i[2:] for i in identifiers if kind_of(i) == PROFILE_ID]
        if profile_ids:
            living = await self._connection.fetch(_LIVING, profile_ids)
            found |= {f"{PROFILE_ID}:{row[0]}": row[1] for row in living}
        return found

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

    async def _mark_merged(self, changes: Sequence[Change]) -> None:
        """Let absorbed ids answer with their survivors, those that were absorbed earlier as well."""
        merged: dict[str, tuple[str, int | None]] = {}
        for change in changes:
            survivor = change.profile
            merged |= dict.fromkeys(survivor.absorbed, (survivor.profile_id, None))
            for absorbed in change.absorbed:
                merged[absorbed.profile.profile_id] = survivor.profile_id, absorbed.profile.revision
        if merged:
            survivors, revisions = zip(*merged.values(), strict=True)
            await self._connection.execute(_MARK_MERGED, list(merged), list(survivors), list(revisions))
