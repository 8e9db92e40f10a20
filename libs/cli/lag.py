"""How far the readers of the log are, as the tables of the embedded log tell."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import asyncpg

from libs.errors import Unavailable

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

# Whose work leads to whose: a stage is done when all that the one before it wrote has been read.
STAGES = (
    ("ingest.events", ("profile",)),
    ("ingest.imports", ("profile",)),
    ("profile.updates", ("segment", "recommend")),
    ("segment.transitions", ("render",)),
)

_LAG = """
select o.group_name, o.topic, sum(greatest(p.next_offset - o.next_offset, 0))::bigint as records
from event_log.topics as t
join event_log.partitions as p using (topic_id)
join event_log.offsets as o on o.topic = substr(t.name, length($1) + 2) and o.partition = p.partition
where starts_with(t.name, $1 || '.')
group by o.group_name, o.topic
order by array_position($2::text[], o.topic), o.group_name
"""
_ENDS = """
select p.partition, p.next_offset from event_log.topics as t join event_log.partitions as p using (topic_id)
where t.name = $1
"""
_OFFSETS = """
select group_name, partition, next_offset from event_log.offsets
where topic = $1 and group_name = any($2::text[])
"""
_PAUSE_SECONDS = 0.05
_STILL_SECONDS = 60.0


class Lag(NamedTuple):
    """How many records a group has yet to read of a topic."""

    group: str
    topic: str
    records: int


async def lags(url: str, namespace: str) -> list[Lag]:
    """Every group's lag, in the order in which events flow."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows = await connection.fetch(_LAG, namespace, [topic for topic, _ in STAGES])
    finally:
        await connection.close()
    return [Lag(row["group_name"], row["topic"], row["records"]) for row in rows]


async def drain(
    url: str,
    namespace: str,
    services: Collection[str],
    through: str = "render",
    told: Callable[[int], None] = lambda records: None,
) -> None:
    """Wait, stage by stage, until all that is in the log now has had its effects in `through`.

    `told` hears how many records are left of a stage. Raises Unavailable where a reader stands still.
    """
    connection = await asyncpg.connect(url, timeout=5)
    try:
        for topic, groups in STAGES:
            readers = [group for group in groups if group in services]
            await _read_by(connection, f"{namespace}.{topic}", topic, readers, told)
            if through in groups:
                return
    finally:
        await connection.close()


async def _read_by(
    connection: Connection, name: str, topic: str, groups: list[str], told: Callable[[int], None]
) -> None:
    # The clock's records never end: the stage's end is that of this moment.
    ends = {row["partition"]: row["next_offset"] for row in await connection.fetch(_ENDS, name)}
    moved, before = time.monotonic(), -1
    while True:
        rows = await connection.fetch(_OFFSETS, topic, groups)
        offsets = {(row["group_name"], row["partition"]): row["next_offset"] for row in rows}
        left = sum(max(end - offsets.get((g, p), 0), 0) for g in groups for p, end in ends.items())
        told(left)
        if not left:
            return
        if left != before:
            moved, before = time.monotonic(), left
        elif time.monotonic() - moved > _STILL_SECONDS:
            raise Unavailable(
                f"{topic}: {left:,} records are not read on for {_STILL_SECONDS:g} s: see the log"
            )
        await asyncio.sleep(_PAUSE_SECONDS)
