"""Rejected events in PostgreSQL: of each source a ring, in which the newest take the oldest's places."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from libs.database import Database
from libs.database.tables import Age, ErasedBy, Kept, Lasting, Nobodys
from services.ingest.rejections.model import KeptRejection, Rejected

TABLES: Final = (
    Kept(
        "ingest.rejections",
        Age("received", timedelta(days=30)),
        ErasedBy("what could not be read names nobody: bodies that hold one of the person's identifiers"),
    ),
    Kept("ingest.rejection_counts", Lasting("a row a source"), Nobodys()),
)

STATEMENTS: Final = (
    """
    create table ingest.rejections (
      rejection_id bigint generated always as identity primary key,
      source_id text not null,
      -- 1, 2, 3 … for each source.
      number bigint not null,
      -- Microseconds since 1970.
      received bigint not null,
      field text not null,
      reason text not null,
      body bytea not null
    )
    """,
    "create unique index rejections_of_source on ingest.rejections (source_id, number)",
    "create index rejections_by_age on ingest.rejections (received)",
    """
    create table ingest.rejection_counts (
      source_id text primary key,
      rejected bigint not null,
      -- How many of these made room for newer ones.
      displaced bigint not null
    )
    """,
)

_COUNT: Final = """
insert into ingest.rejection_counts as c (source_id, rejected, displaced) values ($1, $2, $3)
on conflict (source_id) do update
set rejected = c.rejected + excluded.rejected, displaced = c.displaced + excluded.displaced
returning rejected
"""
_KEEP: Final = """
insert into ingest.rejections (source_id, number, received, field, reason, body)
select $1, $2 + row_number() over (order by place), received, field, reason, body
from unnest($3::bigint[], $4::text[], $5::text[], $6::bytea[])
  with ordinality as given (received, field, reason, body, place)
"""
_DISPLACE: Final = """
with gone as (delete from ingest.rejections where source_id = $1 and number <= $2 returning 1)
update ingest.rejection_counts set displaced = displaced + (select count(*) from gone)
where source_id = $1 returning (select count(*) from gone)
"""
_PAGE: Final = """
select rejection_id, source_id, received, field, reason, body from ingest.rejections
where rejection_id < $1 order by rejection_id desc limit $2
"""
_PAGE_OF: Final = """
select rejection_id, source_id, received, field, reason, body from ingest.rejections
where rejection_id < $1 and source_id = $3 order by number desc limit $2
"""
_DISPLACED: Final = """
select coalesce(sum(displaced), 0)::bigint from ingest.rejection_counts where $1 in ('', source_id)
"""


class SqlRejections:
    """Events that were not accepted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, source_id: str, rejected: Sequence[Rejected], most: int) -> int:
        kept = rejected[-most:]
        skipped = len(rejected) - len(kept)
        async with self._database.begin() as connection:
            # The count's row is locked until the end: so the numbers of a source come in order.
            last = await connection.fetchval(_COUNT, source_id, len(rejected), skipped)
            await connection.execute(
                _KEEP,
                source_id,
                last - len(kept),
                [one.received for one in kept],
                [one.field for one in kept],
                [one.reason for one in kept],
                [one.body for one in kept],
            )
            return skipped + int(await connection.fetchval(_DISPLACE, source_id, last - most))

    async def page(self, before: int, limit: int, source_id: str) -> Sequence[KeptRejection]:
        pool = self._database.pool
        rows = await (
            pool.fetch(_PAGE_OF, before, limit, source_id) if source_id else pool.fetch(_PAGE, before, limit)
        )
        return [
            KeptRejection(
                row["rejection_id"],
                Rejected(row["source_id"], row["received"], row["field"], row["reason"], row["body"]),
            )
            for row in rows
        ]

    async def displaced(self, source_id: str) -> int:
        return int(await self._database.pool.fetchval(_DISPLACED, source_id))
