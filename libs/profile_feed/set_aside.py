"""People whose state can't be computed for now: which, why, since when, and when it is tried again.

A person is set aside in the transaction that found the fault, so that the rest of the batch goes on. What
was known of them stays as it was; steps that come meanwhile are in the history, from which they are
rebuilt.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from libs.database import Connection
from libs.database.tables import Erased, Kept, Lasting
from libs.messaging import slot_of
from libs.observability import metrics

log = structlog.get_logger(__name__)

_SECOND = 1_000_000
_FIRST_WAIT = 60 * _SECOND
_LONGEST_WAIT = 6 * 3600 * _SECOND
_MOST_REASON = 1000


@dataclass(frozen=True, slots=True)
class SetAsideProfile:
    """A person who is set aside. Times are microseconds since 1970."""

    profile_id: str
    reason: str
    since: int
    attempts: int
    """How often it failed."""
    retry_at: int


class SetAside:
    """The people whom one service has set aside, in its schema's table `set_aside`."""

    def __init__(self, schema: str, partitions: int, clock: Callable[[], float] = time.time) -> None:
        self._schema = schema
        self._partitions = partitions
        self._clock = clock
        # The schema is the service's own name.
        table = f"{schema}.set_aside"
        self._put = f"""
            insert into {table} as s (profile_id, slot, reason, since, attempts, retry_at)
            select i.profile_id, i.slot, i.reason, $4::bigint, 1, $4::bigint + {_FIRST_WAIT}
            from unnest($1::uuid[], $2::smallint[], $3::text[]) as i (profile_id, slot, reason)
            on conflict (profile_id) do update
            set reason = excluded.reason, attempts = s.attempts + 1,
                retry_at = $4::bigint
                  + least({_FIRST_WAIT} * (1::bigint << least(s.attempts, 20)), {_LONGEST_WAIT})
            """  # noqa: S608 - composed of constants
        self._ask = f"""
            insert into {table} as s (profile_id, slot, reason, since, attempts, retry_at)
            select i.profile_id, i.slot, 'asked for', $3::bigint, 0, 0
            from unnest($1::uuid[], $2::smallint[]) as i (profile_id, slot)
            on conflict (profile_id) do update set retry_at = 0
            """  # noqa: S608
        self._due = (
            f"select profile_id::text from {table} "  # noqa: S608
            "where retry_at <= $1 and slot % $3::int = any($2::int[]) order by retry_at limit $4"
        )
        self._among = f"select profile_id::text from {table} where profile_id = any($1::uuid[])"  # noqa: S608
        self._any = f"select exists(select from {table})"  # noqa: S608
        self._settle = f"delete from {table} where profile_id = any($1::uuid[])"  # noqa: S608
        self._page = (
            f"select profile_id::text, reason, since, attempts, retry_at from {table} "  # noqa: S608
            "where profile_id > $1::uuid order by profile_id limit $2"
        )

    @staticmethod
    def ddl(schema: str) -> str:
        """The statement that creates the table, for a service's migration."""
        return f"""
            create table {schema}.set_aside (
              profile_id uuid primary key,
              slot smallint not null,
              reason text not null,
              since bigint not null,
              attempts int not null,
              retry_at bigint not null
            )
            """

    @staticmethod
    def table(schema: str) -> Kept:
        """How long its rows are kept."""
        return Kept(f"{schema}.set_aside", Lasting("until the person is rebuilt"), Erased())

    async def put(self, connection: Connection, reasons: Mapping[str, str]) -> None:
        """Set people aside, by profile id, or note that one more attempt at them has failed; and tell it."""
        if not reasons:
            return
        await connection.execute(
            self._put,
            list(reasons),
            [slot_of(profile_id.encode()) for profile_id in reasons],
            # PostgreSQL keeps no zero character, and a reason may quote anything.
            [reason.replace("\0", "�")[:_MOST_REASON] for reason in reasons.values()],
            self._now(),
        )
        for profile_id, reason in reasons.items():
            log.error("profile set aside", profile_id=profile_id, reason=reason[:_MOST_REASON])
        metrics.PROFILES_SET_ASIDE.labels(self._schema).inc(len(reasons))

    async def ask(self, connection: Connection, profile_ids: Sequence[str]) -> None:
        """Let people be rebuilt at once, whether they are set aside or not."""
        slots = [slot_of(profile_id.encode()) for profile_id in profile_ids]
        await connection.execute(self._ask, list(profile_ids), slots, self._now())

    async def due(self, connection: Connection, indexes: Collection[int], limit: int) -> list[str]:
        """Some people of these partitions whose time to be tried again has come."""
        rows = await connection.fetch(self._due, self._now(), list(indexes), self._partitions, limit)
        return [row[0] for row in rows]

    async def among(self, connection: Connection, profile_ids: Collection[str]) -> set[str]:
        """Which of some people are set aside."""
        # Hardly ever is anybody, and then nobody need be looked for one by one.
        if not await connection.fetchval(self._any):
            return set()
        return {row[0] for row in await connection.fetch(self._among, list(profile_ids))}

    async def settle(self, connection: Connection, profile_ids: Collection[str]) -> None:
        """Note that people have been rebuilt."""
        if profile_ids:
            await connection.execute(self._settle, list(profile_ids))

    async def page(self, connection: Connection, after: str, limit: int) -> list[SetAsideProfile]:
        """A page of them, by profile id; `after` is the last one of the page before, or the nil UUID."""
        rows = await connection.fetch(self._page, after, limit)
        return [
            SetAsideProfile(row["profile_id"], row["reason"], row["since"], row["attempts"], row["retry_at"])
            for row in rows
        ]

    def _now(self) -> int:
        return int(self._clock() * _SECOND)
