"""The decisions of one batch, inside the consumer's transaction."""

from collections.abc import Collection, Sequence

from libs.database import Connection
from libs.messaging import Record
from services.render import convert
from services.render.domain import PARTS, Campaign, Decision, Outcome, Template
from services.render.repository.library import campaign_of
from services.render.repository.queue import TELL
from tessera.render.v1 import message_pb2

_PENDING, _NOTHING = message_pb2.DELIVERY_STATE_PENDING, message_pb2.DELIVERY_STATE_UNSPECIFIED

# Until the first write the transaction holds no locks: it may wait for other services and for
# templates longer than the session's limit, which is there for those who hang with locks in hand.
_PATIENCE = "select set_config('idle_in_transaction_session_timeout', '60s', true)"
_IMPATIENCE = "select set_config('idle_in_transaction_session_timeout', '10s', true)"
_TEMPLATE = "select * from render.templates where template_id = $1 order by version desc limit 1"
_DECIDED = "select message_id::text from render.messages where message_id = any($1::uuid[])"
# In one order everywhere, or two batches with the same causes could wait for each other.
_STORE = """
insert into render.messages (message_id, campaign_id, cause_id, profile_id, outcome, stream, address,
  reason, body, expire_time, delivery_state, due_time)
select * from unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::smallint[], $6::smallint[],
  $7::text[], $8::text[], $9::bytea[], $10::bigint[], $11::smallint[], $12::bigint[])
on conflict do nothing returning message_id::text
"""


class SqlDecisions:
    """Reads what decisions need, and stores them."""

    def __init__(self, connection: Connection) -> None:
        self.records: list[Record] = []
        """What the batch puts on the log."""
        self._connection = connection

    async def campaigns(self) -> list[Campaign]:
        await self._connection.execute(_PATIENCE)
        rows = await self._connection.fetch("select * from render.campaigns order by campaign_id")
        return [campaign_of(dict(row)) for row in rows]

    async def template(self, template_id: str) -> Template | None:
        row = await self._connection.fetchrow(_TEMPLATE, template_id)
        if row is None:
            return None
        sources = {part: row[part] for part in PARTS}
        return Template(row["template_id"], row["version"], sources, row["created"])

    async def decided(self, message_ids: Collection[str]) -> set[str]:
        return {row[0] for row in await self._connection.fetch(_DECIDED, list(message_ids))}

    async def store(self, decisions: Sequence[Decision]) -> list[Decision]:
        await self._connection.execute(_IMPATIENCE)
        first: dict[str, Decision] = {}
        for decision in decisions:
            first.setdefault(decision.message_id, decision)
        ordered = [first[message_id] for message_id in sorted(first)]
        messages = [convert.message_pb(decision) for decision in ordered]
        rows = [_row(*pair) for pair in zip(ordered, messages, strict=True)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        inserted = {row[0] for row in await self._connection.fetch(_STORE, *columns)}
        stored = []
        for decision, message in zip(ordered, messages, strict=True):
            if decision.message_id in inserted:
                stored.append(decision)
                if decision.outcome is Outcome.RENDERED:
                    self.records.append(_record(decision, message))
        if self.records:
            await self._connection.execute(TELL)
        return stored


def _row(decision: Decision, message: message_pb2.Message) -> tuple[object, ...]:
    return (
        decision.message_id,
        decision.campaign.campaign_id,
        decision.cause.cause_id,
        decision.cause.profile_id,
        int(decision.outcome),
        int(decision.campaign.stream),
        message.to,
        decision.reason,
        message.SerializeToString(),
        decision.expire_time,
        _PENDING if decision.outcome is Outcome.RENDERED else _NOTHING,
        decision.time,
    )


def _record(decision: Decision, message: message_pb2.Message) -> Record:
    return Record(
        key=decision.cause.profile_id.encode(),
        type=convert.RENDERED,
        value=convert.record_of(message),
        time=decision.time,
        headers={"traceparent": decision.cause.traceparent} if decision.cause.traceparent else None,
    )
