"""Lists decisions."""

from itertools import accumulate
from typing import Any

from sqlalchemy import Select, func, select

from libs.database import Database
from services.render.domain import Outcome
from services.render.ports import Delivery, Filter
from services.render.tables import MESSAGES

_PAGE_BYTES = 8 << 20


class SqlMessages:
    """Stored decisions, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: Filter, before: int, limit: int) -> tuple[list[tuple[int, Delivery]], bool]:
        columns = MESSAGES.c
        query = select(
            columns.number, columns.message_id, columns.body, columns.delivery_state, columns.reason
        ).where(columns.number < before)
        if wanted.outcome is not None:
            query = query.where(columns.outcome == int(wanted.outcome))
        if wanted.delivery_state:
            query = query.where(columns.delivery_state == wanted.delivery_state)
        query = _of(query, wanted).order_by(columns.number.desc()).limit(limit + 1)
        async with self._database.query() as connection:
            rows = (await connection.execute(query)).all()
        # A page that gRPC can't carry would never be seen.
        sizes = accumulate(len(row.body) for row in rows)
        fitting = sum(size <= _PAGE_BYTES for size in sizes)
        kept = rows[: max(1, min(limit, fitting))]
        return [
            (row.number, Delivery(str(row.message_id), row.body, row.delivery_state, row.reason))
            for row in kept
        ], len(kept) < len(rows)

    async def totals(self, wanted: Filter) -> dict[Outcome, int]:
        query = _of(select(MESSAGES.c.outcome, func.count().label("count")), wanted)
        async with self._database.query() as connection:
            rows = await connection.execute(query.group_by(MESSAGES.c.outcome))
            return {Outcome(row.outcome): row.count for row in rows}


def _of(query: Select[Any], wanted: Filter) -> Select[Any]:
    if wanted.profile_id:
        query = query.where(MESSAGES.c.profile_id == wanted.profile_id)
    if wanted.campaign_id:
        query = query.where(MESSAGES.c.campaign_id == wanted.campaign_id)
    return query
