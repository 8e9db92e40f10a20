"""Who is in which segment, and who is set aside, for those who ask."""

from collections.abc import Sequence

from libs.database import Database
from libs.profile_feed import SetAside
from services.segment.membership.model import Membership
from services.segment.membership.ports import SetAsideProfile


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


class SqlAside:
    """Who is set aside."""

    def __init__(self, database: Database, aside: SetAside) -> None:
        self._database = database
        self._aside = aside

    async def page(self, after: str, limit: int) -> Sequence[SetAsideProfile]:
        async with self._database.begin() as connection:
            found = await self._aside.page(connection, after, limit)
        return [SetAsideProfile(p.profile_id, p.reason, p.since, p.attempts, p.retry_at) for p in found]

    async def ask(self, profile_ids: Sequence[str]) -> None:
        async with self._database.begin() as connection:
            await self._aside.ask(connection, profile_ids)
