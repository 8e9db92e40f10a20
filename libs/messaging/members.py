"""Shares a group's partitions among its living members, through two tables.

A member is alive while its heartbeat is young and its backend is connected: a killed process loses
its partitions at once, a stopped one after the session. Every member computes the same target from
the sorted list of the living, gives up what is no longer its own and takes what nobody holds.
"""

import uuid
from collections.abc import Sequence

from libs.database import Connection

HEARTBEAT_SECONDS = 0.5
SESSION_SECONDS = 5.0

_BEAT = """
insert into event_log.members (group_name, member_id, backend_id, heartbeat)
values ($1, $2, pg_backend_pid(), clock_timestamp())
on conflict (group_name, member_id)
do update set backend_id = excluded.backend_id, heartbeat = excluded.heartbeat
"""
_EXPIRE = """
delete from event_log.members as m
where m.group_name = $1 and m.member_id <> $2
  and (m.heartbeat < clock_timestamp() - make_interval(secs => $3)
       or not exists (select from pg_stat_activity as a where a.pid = m.backend_id))
"""
_LIVING = "select member_id from event_log.members where group_name = $1 order by member_id"
_GIVE_UP = """
delete from event_log.ownerships
where group_name = $1 and member_id = $2 and partition <> all($3::int[])
"""
_CLAIM = """
insert into event_log.ownerships (group_name, partition, member_id)
select $1, partition, $2 from unnest($3::int[]) as wanted (partition)
on conflict do nothing
"""
_OWNED = """
select partition from event_log.ownerships where group_name = $1 and member_id = $2 order by partition
"""


async def beat(
    connection: Connection, group: str, member: uuid.UUID, partitions: int, session_seconds: float
) -> tuple[int, ...]:
    """Renew a membership and return the partition indexes that the member now owns."""
    async with connection.transaction():
        # One at a time for a group: the target of each member then follows from one list.
        await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"group {group}")
        await connection.execute(_BEAT, group, member)
        await connection.execute(_EXPIRE, group, member, session_seconds)
        living = [row["member_id"] for row in await connection.fetch(_LIVING, group)]
        target = _target(living, member, partitions)
        await connection.execute(_GIVE_UP, group, member, target)
        await connection.execute(_CLAIM, group, member, target)
        return tuple(row["partition"] for row in await connection.fetch(_OWNED, group, member))


async def leave(connection: Connection, group: str, member: uuid.UUID) -> None:
    """Give all partitions back."""
    await connection.execute(
        "delete from event_log.members where group_name = $1 and member_id = $2", group, member
    )


def _target(living: Sequence[uuid.UUID], member: uuid.UUID, partitions: int) -> list[int]:
    place = list(living).index(member)
    return list(range(place, partitions, len(living)))
