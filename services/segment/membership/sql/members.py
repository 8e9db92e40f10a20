"""Who is in which segment, for those who ask."""

from collections.abc import Sequence

from libs.database import Database
from services.segment.membership.model import Membership


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
            after,
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
