"""Drops from the log in PostgreSQL what its readers have read and nobody is promised any longer."""

import asyncio
from collections.abc import Sequence

import structlog

from libs.database import Database, is_transient
from libs.lifecycle import pause
from libs.messaging.retrying import BackOff
from libs.messaging.topics import UNREAD_RETENTION, Topic
from libs.observability import metrics

log = structlog.get_logger(__name__)

_SECONDS = 30.0
_MOST_CHUNKS = 100

# How far each partition has been read by all its topic's declared readers, who have read nothing of
# it where they have no offset. A topic without readers counts as read to its end.
_READ = """
with readers as (
  select topic, reader from unnest($2::text[], $3::text[]) as r (topic, reader)
), partitions as (
  select t.topic_id, d.topic, p.partition, p.next_offset, t.retention
  from unnest($1::text[], $4::text[]) as d (name, topic)
  join event_log.topics as t using (name)
  join event_log.partitions as p using (topic_id)
), read as (
  select p.topic_id, p.topic, p.partition, p.retention,
    case when count(r.reader) = 0 then p.next_offset else min(coalesce(o.next_offset, 0)) end as read_through
  from partitions as p
  left join readers as r using (topic)
  left join event_log.offsets as o
    on o.group_name = r.reader and o.topic = r.topic and o.partition = p.partition
  group by p.topic_id, p.topic, p.partition, p.next_offset, p.retention
)
"""
# Chunks are looked at from the oldest on, and the ephemeral ones by their index: never all of them.
_DROP = f"""{_READ}, droppable as (
  select r.topic_id, r.topic, r.partition, c.next_offset
  from read as r
  cross join lateral (
    (
      select next_offset from (
        select next_offset, create_time from event_log.chunks
        where topic_id = r.topic_id and partition = r.partition and ephemeral
        order by next_offset limit $6
      ) as oldest
      where next_offset <= r.read_through or create_time < clock_timestamp() - r.retention
    ) union (
      select next_offset from (
        select next_offset, create_time from event_log.chunks
        where topic_id = r.topic_id and partition = r.partition
        order by next_offset limit $6
      ) as oldest
      where create_time < clock_timestamp()
        - case when next_offset <= r.read_through then r.retention else greatest(r.retention, $5) end
    )
  ) as c
), dropped as (
  delete from event_log.chunks as c using droppable as d
  where c.topic_id = d.topic_id and c.partition = d.partition and c.next_offset = d.next_offset
  returning d.topic, c.partition, c.next_offset, c.ephemeral
), lost as (
  update event_log.offsets as o set lost_through = greatest(o.lost_through, d.through)
  from readers as r, (
    select topic, partition, max(next_offset) as through from dropped
    where not ephemeral group by topic, partition
  ) as d
  where r.topic = d.topic and o.group_name = r.reader and o.topic = d.topic and o.partition = d.partition
    and o.next_offset > 0 and o.next_offset < d.through
)
select count(*) from dropped
"""  # noqa: S608 - of constants
_UNREAD = f"""{_READ}
select r.topic, coalesce(max(extract(epoch from clock_timestamp() - c.create_time)), 0)::float8 as seconds
from read as r
left join lateral (
  select create_time from event_log.chunks
  where topic_id = r.topic_id and partition = r.partition and next_offset > r.read_through
  order by next_offset limit 1
) as c on true
group by r.topic
"""  # noqa: S608 - of constants


async def drop_read(
    database: Database, namespace: str, topics: Sequence[Topic], most: int = _MOST_CHUNKS
) -> int:
    """Drop about `most` chunks of each partition and return how many went in all.

    A chunk goes when its topic's retention has passed and every declared reader has read it, or at
    once then if all its records are ephemeral. A group that is not declared keeps nothing. What a
    declared reader has not read goes after `UNREAD_RETENTION`, the ephemeral after its retention;
    the reader's offset then tells how far records were lost to it.
    """
    arguments = (*_declared(namespace, topics), UNREAD_RETENTION, most)
    return int(await database.pool.fetchval(_DROP, *arguments))


async def unread_seconds(database: Database, namespace: str, topics: Sequence[Topic]) -> dict[str, float]:
    """How old each topic's oldest record is that a declared reader has not read; 0 where there is none."""
    rows = await database.pool.fetch(_UNREAD, *_declared(namespace, topics))
    return {row["topic"]: row["seconds"] for row in rows}


def _declared(namespace: str, topics: Sequence[Topic]) -> tuple[list[str], ...]:
    readers = [(topic.name, reader) for topic in topics for reader in topic.readers]
    names = [topic.name for topic in topics]
    return (
        [f"{namespace}.{name}" for name in names],
        [topic for topic, _ in readers],
        [reader for _, reader in readers],
        names,
    )


class Retention:
    """Drops what may go of a service's topics, in bounded batches: a component of the PostgreSQL log alone.

    Several at once are harmless. On Kafka it must not run: there the offsets are Kafka's, and the
    relay drops what it has shipped.
    """

    def __init__(
        self, database: Database, namespace: str, topics: Sequence[Topic], seconds: float = _SECONDS
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._topics = topics
        self._seconds = seconds

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every half a minute."""
        back_off = BackOff()
        while not stopping.is_set():
            wait = self._seconds
            try:
                if await drop_read(self._database, self._namespace, self._topics):
                    wait = 0  # there may be more
                else:
                    await self._measure()
                back_off.worked()
            except Exception as error:
                if not is_transient(error):
                    raise
                wait = back_off.failed()
                log.warning("retention retries", error=repr(error), seconds=wait)
            await pause(stopping, wait)

    async def _measure(self) -> None:
        unread = await unread_seconds(self._database, self._namespace, self._topics)
        for topic, seconds in unread.items():
            metrics.UNREAD_SECONDS.labels(topic).set(seconds)
