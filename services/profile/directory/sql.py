"""Profiles as they stand, read from PostgreSQL."""

from collections.abc import Sequence

import msgspec

from libs.database import Database
from services.profile.identity.model import Profile

_decode = msgspec.msgpack.Decoder(Profile).decode


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

    async def sizes(self, profile_ids: Sequence[str]) -> dict[str, int]:
        rows = await self._database.pool.fetch(
            "select a.profile_id::text, octet_length(coalesce(s.state, a.state)) "
            "from profile.profiles as a left join profile.profiles as s on s.profile_id = a.merged_into "
            "where a.profile_id = any($1::uuid[])",
            profile_ids,
        )
        return {row[0]: row[1] for row in rows}

    async def page(self, after: str, limit: int) -> list[tuple[str, int]]:
        rows = await self._database.pool.fetch(
            "select profile_id::text, octet_length(state) from profile.profiles "
            "where profile_id > $1::uuid and merged_into is null order by profile_id limit $2",
            after,
            limit,
        )
        return [(row[0], row[1]) for row in rows]

    async def count(self) -> int:
        query = "select count(*) from profile.profiles where merged_into is null"
        return int(await self._database.pool.fetchval(query) or 0)
