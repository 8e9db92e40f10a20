"""Messages that wait for connectors: leases in PostgreSQL, shared by all replicas."""

from collections.abc import Collection, Mapping

from libs.database import Database
from services.render.delivery.model import Granted, Lease
from services.render.delivery.ports import Subscriber
from services.render.delivery.sql.rows import READ, READ_CONTENT, content_of, message_of
from services.render.model import MICROS

CHANNEL = "render_messages"
TELL = f"select pg_notify('{CHANNEL}', '')"

_EXPIRED = "expired before a connector took it"
# The states are the contract's: 1 pending, 2 leased, 3 acknowledged, 4 rejected, 5 withdrawn.
_EXPIRE = """
update render.messages as m set delivery_state = 5, reason = $2
from (
  select message_id from render.messages
  where delivery_state in (1, 2) and expires <= $1 and due_time <= $1
  limit 1000 for update skip locked
) as old
where m.message_id = old.message_id
"""
_LEASE = f"""
with due as (
  select message_id from render.messages
  where delivery_state in (1, 2) and due_time <= $1 and expires > $1
    and ($5::smallint is null or stream = $5)
  order by due_time
  limit greatest(0, $4 - (
    select count(*) from render.messages where holder = $2 and delivery_state = 2 and due_time > $1
  ))
  for update skip locked
), leased as (
  update render.messages as m
  set delivery_state = 2, lease_id = gen_random_uuid(), holder = $2, attempts = m.attempts + 1,
    due_time = $1 + $3
  from due where m.message_id = due.message_id
  returning m.*
)
select {READ}, m.lease_id::text, m.due_time, m.attempts, m.withdrawn, {READ_CONTENT}
from leased as m left join render.contents as c using (message_id)
order by m.number
"""  # noqa: S608 - the columns are ours
_WITHDRAW = """
update render.messages as m set delivery_state = 5, reason = l.reason
from unnest($1::uuid[], $2::uuid[], $3::text[]) as l (message_id, lease_id, reason)
where m.message_id = l.message_id and m.lease_id = l.lease_id and m.delivery_state = 2
"""
_PUT_BACK = """
update render.messages as m set delivery_state = 1, due_time = $3, attempts = m.attempts - 1
from unnest($1::uuid[], $2::uuid[]) as l (message_id, lease_id)
where m.message_id = l.message_id and m.lease_id = l.lease_id and m.delivery_state = 2
"""
# That a message was delivered is a fact, whatever has been decided since: also a withdrawn one was.
_ACKNOWLEDGE = """
update render.messages as m set delivery_state = 3, reason = ''
from unnest($1::uuid[], $2::uuid[]) as l (message_id, lease_id)
where m.message_id = l.message_id and m.lease_id = l.lease_id and m.delivery_state in (2, 3, 5)
returning m.message_id::text, m.lease_id::text
"""
_REJECT = """
update render.messages as m set delivery_state = 4, reason = $3
from unnest($1::uuid[], $2::uuid[]) as l (message_id, lease_id)
where m.message_id = l.message_id and m.lease_id = l.lease_id and m.delivery_state in (2, 4)
returning m.message_id::text, m.lease_id::text
"""
# Said twice, it moves the time once: the second finds the message pending under the same lease.
_POSTPONE = """
update render.messages as m
set delivery_state = 1, reason = $3,
  due_time = case m.delivery_state when 1 then m.due_time else $4 + coalesce(
    $7::bigint, least($6::bigint, $5::bigint << least(20, greatest(0, m.attempts - 1)))
  ) end
from unnest($1::uuid[], $2::uuid[]) as l (message_id, lease_id)
where m.message_id = l.message_id and m.lease_id = l.lease_id and m.delivery_state in (1, 2)
returning m.message_id::text, m.lease_id::text
"""
_FIRST_PAUSE, _LONGEST_PAUSE = 5 * MICROS, 3600 * MICROS


class SqlQueue:
    """Leases: a message has one at a time, and only who names it can end it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expire(self, now: int) -> int:
        status = await self._database.pool.execute(_EXPIRE, now, _EXPIRED)
        return int(status.rpartition(" ")[2])

    async def lease(self, subscriber: Subscriber, now: int) -> list[Granted]:
        rows = await self._database.pool.fetch(
            _LEASE,
            now,
            subscriber.holder,
            subscriber.lease_seconds * MICROS,
            subscriber.max_in_flight,
            None if subscriber.stream is None else int(subscriber.stream),
        )
        return [
            Granted(
                lease=Lease(row["message_id"], row["lease_id"]),
                end_time=row["due_time"],
                attempt=row["attempts"],
                message=message_of(row, content_of(row)),
                withdrawn=row["withdrawn"],
            )
            for row in rows
        ]

    async def withdraw(self, reasons: Mapping[Lease, str]) -> None:
        await self._database.pool.execute(_WITHDRAW, *_columns(reasons), list(reasons.values()))

    async def put_back(self, leases: Collection[Lease], due: int) -> None:
        await self._database.pool.execute(_PUT_BACK, *_columns(leases), due)

    async def acknowledge(self, leases: Collection[Lease]) -> list[Lease]:
        return await self._settle(_ACKNOWLEDGE, leases)

    async def reject(self, leases: Collection[Lease], reason: str) -> list[Lease]:
        return await self._settle(_REJECT, leases, reason)

    async def postpone(
        self, leases: Collection[Lease], reason: str, now: int, pause: int | None
    ) -> list[Lease]:
        return await self._settle(_POSTPONE, leases, reason, now, _FIRST_PAUSE, _LONGEST_PAUSE, pause)

    async def _settle(self, query: str, leases: Collection[Lease], *arguments: object) -> list[Lease]:
        async with self._database.begin() as connection:
            rows = await connection.fetch(query, *_columns(leases), *arguments)
            # A stream that was at its limit may take more.
            await connection.execute(TELL)
        settled = {Lease(row[0], row[1]) for row in rows}
        return [lease for lease in leases if lease not in settled]


def _columns(leases: Collection[Lease]) -> tuple[list[str], list[str]]:
    return [lease.message_id for lease in leases], [lease.lease_id for lease in leases]
