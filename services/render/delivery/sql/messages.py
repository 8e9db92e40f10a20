"""Stores decisions, and finds them again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate

from libs.database import Connection, Database
from services.render.delivery.model import Decision, Message, Outcome
from services.render.delivery.ports import Filter
from services.render.delivery.sql.queue import TELL
from services.render.delivery.sql.rows import (
    CONTENT_TYPES,
    READ,
    READ_CONTENT,
    TYPES,
    content_of,
    content_row_of,
    message_of,
    row_of,
    short_content_of,
)

_PAGE_BYTES = 8 << 20

# Until the first write the transaction holds no locks: it may wait for other services and for
# templates longer than the session's limit, which is there for those who hang with locks in hand.
_PATIENCE = "select set_config('idle_in_transaction_session_timeout', '60s', true)"
_IMPATIENCE = "select set_config('idle_in_transaction_session_timeout', '10s', true)"
_DECIDED = "select message_id::text from render.messages where message_id = any($1::uuid[])"


def _insert(table: str, types: Mapping[str, str]) -> str:
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types.values(), 1))
    return f"insert into {table} ({', '.join(types)}) select * from unnest({arrays})"  # noqa: S608 - ours


_STORE = _insert("render.messages", TYPES) + " on conflict do nothing returning message_id::text"
_STORE_CONTENTS = _insert("render.contents", CONTENT_TYPES)
# A message that a connector has just now stays with it; it is not handed out again.
_WITHDRAW_CAUSES = """
update render.messages as m
set delivery_state = case m.delivery_state when 1 then 5 else m.delivery_state end,
  reason = case m.delivery_state when 1 then $3 else m.reason end,
  withdrawn = $3
from unnest($1::text[], $2::bytea[]) as w (definition_id, cause_id)
where m.cause_id = w.cause_id and m.definition_id = w.definition_id and m.delivery_state in (1, 2)
"""
_GET = f"""
select {READ}, {READ_CONTENT}
from render.messages as m left join render.contents as c using (message_id)
where m.message_id = $1
"""  # noqa: S608 - the columns are ours
# A list shows no bodies; what it shows of a message may still be large.
_PAGE = f"""
select {READ}, m.number, c.subject, c.preheader, c.event
from render.messages as m left join render.contents as c using (message_id)
where m.number < $1
"""  # noqa: S608 - the columns are ours
_COUNTS = "select m.outcome, count(*) as count from render.messages as m where true"


class MessagesOfBatch:
    """Decisions that are stored in a transaction that somebody else has opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def wait_for_others(self) -> None:
        """Let the transaction stand idle for a minute, not for seconds only, until the first write."""
        await self._connection.execute(_PATIENCE)

    async def decided(self, message_ids: Collection[str]) -> set[str]:
        """Which of these have been decided before."""
        return {row[0] for row in await self._connection.fetch(_DECIDED, list(message_ids))}

    async def store(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Store those that nobody has decided before; returns them."""
        await self._connection.execute(_IMPATIENCE)
        first: dict[str, Decision] = {}
        for decision in decisions:
            first.setdefault(decision.message_id, decision)
        # In one order everywhere, or two batches with the same causes could wait for each other.
        messages = {message_id: first[message_id].message for message_id in sorted(first)}
        rows = await self._connection.fetch(_STORE, *_columns(map(row_of, messages.values())))
        stored = [row[0] for row in rows]
        contents = [
            content_row_of(message, message.content)
            for message in map(messages.__getitem__, stored)
            if message.content is not None
        ]
        if contents:
            await self._connection.execute(_STORE_CONTENTS, *_columns(contents))
            await self._connection.execute(TELL)
        return [first[message_id] for message_id in stored]

    async def withdraw(self, causes: Collection[tuple[str, bytes]], reason: str) -> int:
        """Withdraw what waits because of definitions and causes; returns how many messages."""
        columns = _columns(sorted(causes))
        status = await self._connection.execute(_WITHDRAW_CAUSES, *columns, reason)
        return int(status.rpartition(" ")[2])


class SqlMessages:
    """Stored decisions, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Store those that nobody has decided before, in a transaction of their own; returns them."""
        async with self._database.begin() as connection:
            return await MessagesOfBatch(connection).store(decisions)

    async def get(self, message_id: str) -> Message | None:
        row = await self._database.pool.fetchrow(_GET, message_id)
        return message_of(row, content_of(row)) if row else None

    async def page(self, wanted: Filter, before: int, limit: int) -> tuple[list[tuple[int, Message]], bool]:
        values: list[object] = [before]
        query = _PAGE + _conditions(wanted, values)
        values.append(limit + 1)
        rows = await self._database.pool.fetch(
            f"{query} order by m.number desc limit ${len(values)}", *values
        )
        # A page that gRPC can't carry would never be seen.
        sizes = accumulate(len(row["event"] or b"") + 4 * len(row["subject"] or "") for row in rows)
        fitting = sum(size <= _PAGE_BYTES for size in sizes)
        kept = rows[: max(1, min(limit, fitting))]
        return [(row["number"], message_of(row, short_content_of(row))) for row in kept], len(kept) < len(
            rows
        )

    async def counts(self, wanted: Filter) -> dict[Outcome, int]:
        values: list[object] = []
        query = _COUNTS + _conditions(Filter(wanted.profile_id, wanted.campaign_id), values)
        rows = await self._database.pool.fetch(f"{query} group by m.outcome", *values)
        return {Outcome(row["outcome"]): row["count"] for row in rows}


def _conditions(wanted: Filter, values: list[object]) -> str:
    """Conditions for what is wanted, whose values are added: a statement for all would find no index."""
    found = {
        "profile_id": wanted.profile_id or None,
        "campaign_id": wanted.campaign_id or None,
        "outcome": wanted.outcome,
        "delivery_state": wanted.delivery_state,
    }
    text = ""
    for column, value in found.items():
        if value is not None:
            values.append(value)
            text += f" and m.{column} = ${len(values)}"
    return text


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
