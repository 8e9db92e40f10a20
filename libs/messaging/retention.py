"""Drops from the log in PostgreSQL what every group has read and nobody is promised any longer."""

import asyncio

import structlog

from libs.database import Database, is_transient
from libs.lifecycle import pause
from libs.messaging.retrying import BackOff

log = structlog.get_logger(__name__)

_SECONDS = 30.0
_MOST_CHUNKS = 100

# A group that has read a topic, but has no row for a partition, is at that partition's beginning.
# Chunks are looked at from the oldest on, and the ephemeral ones by their index: never all of them.
_DROP = """
with groups as (
  select topic, count(distinct group_name) as groups from event_log.offsets group by topic
), everybody as (
  select o.topic, o.partition, min(o.next_offset) as next_offset
  from event_log.offsets as o join groups as g using (topic)
  group by o.topic, o.partition, g.groups having count(*) = g.groups
), droppable as (
  select t.topic_id, e.partition, c.next_offset
  from event_log.topics as t
  join everybody as e on t.name = $1 || '.' || e.topic
  cross join lateral (
    (
      select next_offset from event_log.chunks
      where topic_id = t.topic_id and partition = e.partition and next_offset <= e.next_offset and ephemeral
      order by next_offset limit $2
    ) union (
      select next_offset from (
        select next_offset, create_time from event_log.chunks
        where topic_id = t.topic_id and partition = e.partition and next_offset <= e.next_offset
        order by next_offset limit $2
      ) as oldest where create_time < clock_timestamp() - t.retention
    )
  ) as c
)
delete from event_log.chunks as c using droppable as d
where c.topic_id = d.topic_id and c.partition = d.partition and c.next_offset = d.next_offset
"""


async def drop_read(database: Database, namespace: str, most: int = _MOST_CHUNKS) -> int:
    """Drop about `most` chunks of each partition and return how many went in all.

    A chunk goes when every group that ever read its topic has read it, and its topic's retention has
    passed or all its records are ephemeral. What no group ever read stays.
    """
    status = await database.pool.execute(_DROP, namespace, most)
    return int(status.removeprefix("DELETE "))


class Retention:
    """Drops what may go, in bounded batches: a lifecycle component of the PostgreSQL log alone.

    Several at once are harmless. On Kafka it must not run: there the offsets are Kafka's, and the
    relay drops what it has shipped.
    """

    def __init__(self, database: Database, namespace: str, seconds: float = _SECONDS) -> None:
        self._database = database
        self._namespace = namespace
        self._seconds = seconds

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every half a minute."""
        back_off = BackOff()
        while not stopping.is_set():
            wait = self._seconds
            try:
                if await drop_read(self._database, self._namespace):
                    wait = 0  # there may be more
                back_off.worked()
            except Exception as error:
                if not is_transient(error):
                    raise
                wait = back_off.failed()
                log.warning("retention retries", error=repr(error), seconds=wait)
            await pause(stopping, wait)
