"""Ships a service's outbox to Kafka, in the order of its numbers.

Why readers may trust the numbers. An outbox numbers each partition's records without gaps, and a
relay, whichever, sends a partition's records in that order, one batch under way, from the number up
to which all before is acknowledged. So on Kafka the *first* copy of a number always comes after the
first copy of the one before it. Two relays at once, or one that was stopped and sends on later,
change nothing: each keeps the order by itself, began where everything before was on Kafka already,
and sends the same bytes under the same number, since what is committed in an outbox never changes.
Whatever interleaves is therefore copies of numbers that a reader has, which it drops, and the next
one. A number that skips some can't come from a relay, so a reader stops there.

The lease is for economy alone: it keeps one relay at work and the others waiting. What it records,
a partition's acknowledged end, only grows, and is true whoever writes it.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import asyncpg
import structlog

from libs.database import Database, is_transient, open_connection
from libs.errors import Unavailable
from libs.lifecycle import pause
from libs.messaging import chunks, cloud_events
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.kafka_writer import KafkaWriter
from libs.messaging.log import LogGap
from libs.messaging.news import News
from libs.messaging.retrying import BackOff
from libs.messaging.topics import Topic
from libs.observability import metrics

log = structlog.get_logger(__name__)

LEASE_SECONDS = 5.0
_POLL_SECONDS = 1.0
_ROUND_SECONDS = 0.5
_SHARE = 500
_LAG_SECONDS = 2.0

# Compare-and-set by the database's time: the holder renews, others take over what has expired.
_HOLD = """
insert into event_log.leases as l (name, holder, expire_time)
values ($1, $2, clock_timestamp() + make_interval(secs => $3))
on conflict (name) do update set holder = excluded.holder, expire_time = excluded.expire_time
where l.holder = excluded.holder or l.expire_time < clock_timestamp()
returning true
"""
_LET_GO = "delete from event_log.leases where name = $1 and holder = $2"
_TOPICS = "select topic_id, name from event_log.topics where name = any($1::text[])"
# The end of what was shipped and the chunks after it come from one snapshot.
_NEXT = f"""
select p.topic_id, p.partition, s.next_offset as shipped, c.next_offset, c.records, c.payload
from (
  select topic_id, partition from event_log.partitions
  where topic_id = any($1::smallint[])
    and (topic_id, partition) not in (select * from unnest($2::smallint[], $3::int[]))
) as p
left join event_log.shipped as s using (topic_id, partition)
{chunks.after(position="coalesce(s.next_offset, 0)", share="$4")}
"""  # noqa: S608 - of constants
_SHIPPED = """
with shipped as (
  select * from unnest($1::smallint[], $2::int[], $3::bigint[]) as s (topic_id, partition, next_offset)
), noted as (
  insert into event_log.shipped as s (topic_id, partition, next_offset) select * from shipped
  on conflict (topic_id, partition)
  do update set next_offset = greatest(s.next_offset, excluded.next_offset)
)
delete from event_log.chunks as c using shipped as s
where c.topic_id = s.topic_id and c.partition = s.partition and c.next_offset <= s.next_offset
"""
_LAG = """
select p.topic_id, sum(p.next_offset - coalesce(s.next_offset, 0))::bigint as records
from event_log.partitions as p left join event_log.shipped as s using (topic_id, partition)
where p.topic_id = any($1::smallint[]) group by p.topic_id
"""

_Key = tuple[int, int]
"""Topic id and partition."""


class _Sent(NamedTuple):
    next_offset: int
    records: int


class Relay:
    """Ships the outbox of one service: a lifecycle component, of which one works at a time."""

    def __init__(
        self,
        database: Database,
        access: KafkaAccess,
        topics: Sequence[Topic],
        service: str,
        namespace: str = "tessera",
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._access = access
        self._topics = {f"{namespace}.{topic.name}": topic for topic in topics}
        self._sources = {name: cloud_events.source_of(namespace, t.owner) for name, t in self._topics.items()}
        self._lease = f"relay {namespace}.{service}"
        self._lease_seconds = lease_seconds
        self._holder = uuid.uuid4()
        self._names: dict[int, str] = {}
        self._lag_known = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """Ship, or wait for the lease, until asked to stop; what is under way gets a moment to end."""
        writer = KafkaWriter(self._access, self._lease)
        back_off = BackOff()
        try:
            while not stopping.is_set():
                try:
                    if await self._hold():
                        await self._lead(writer, stopping, back_off)
                    wait = self._lease_seconds / 3
                except Exception as error:
                    if not isinstance(error, Unavailable) and not is_transient(error):
                        raise
                    wait = back_off.failed()
                    log.warning("relay retries", lease=self._lease, error=repr(error), seconds=wait)
                await pause(stopping, wait)
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await self._database.pool.execute(_LET_GO, self._lease, self._holder)
        finally:
            await writer.close()

    async def _hold(self) -> bool:
        held = await self._database.pool.fetchval(_HOLD, self._lease, self._holder, self._lease_seconds)
        return bool(held)

    async def _lead(self, writer: KafkaWriter, stopping: asyncio.Event, back_off: BackOff) -> None:
        """Ship while the lease is held."""
        log.info("relay works", lease=self._lease)
        shipping = asyncio.create_task(self._ship(writer, stopping, back_off))
        try:
            while not shipping.done():
                await asyncio.wait({shipping}, timeout=self._lease_seconds / 3)
                if not shipping.done() and not await self._hold():
                    log.warning("relay lost its lease", lease=self._lease)
                    return
            await shipping
        finally:
            shipping.cancel()
            await asyncio.gather(shipping, return_exceptions=True)
            for topic in self._topics.values():
                metrics.RELAY_LAG.remove(topic.name)  # from here on the next holder tells

    async def _ship(self, writer: KafkaWriter, stopping: asyncio.Event, back_off: BackOff) -> None:
        news = News()
        under_way: dict[_Key, asyncio.Task[_Sent]] = {}
        connection = await open_connection(self._database.url, self._lease)

        def notified(_connection: object, _process: int, _channel: str, payload: object) -> None:
            if payload in self._topics:
                news.tell()

        try:
            await connection.add_listener(chunks.CHANNEL, notified)
            while not stopping.is_set():
                if connection.is_closed():
                    raise ConnectionError("the relay's listener is gone")
                seen = news.count
                await self._begin(writer, under_way)
                if under_way:
                    await self._settle(under_way, back_off)
                else:
                    await self._measure()
                    await news.wait(seen, _POLL_SECONDS)
            if under_way:
                await self._settle(under_way, back_off)
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)
            connection.terminate()

    async def _begin(self, writer: KafkaWriter, under_way: dict[_Key, asyncio.Task[_Sent]]) -> None:
        """Send what comes next, in every partition that has nothing under way."""
        if len(self._names) < len(self._topics):
            rows = await self._database.pool.fetch(_TOPICS, list(self._topics))
            self._names = {row["topic_id"]: row["name"] for row in rows}
        busy = list(under_way)
        rows = await self._database.pool.fetch(
            _NEXT, list(self._names), [key[0] for key in busy], [key[1] for key in busy], _SHARE
        )
        next_chunks: dict[_Key, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            next_chunks[row["topic_id"], row["partition"]].append(row)
        for key, found in next_chunks.items():
            under_way[key] = asyncio.create_task(self._send(writer, key, found))

    async def _send(self, writer: KafkaWriter, key: _Key, rows: list[asyncpg.Record]) -> _Sent:
        """Send whole chunks of one partition; returns when they are acknowledged."""
        topic, index = self._names[key[0]], key[1]
        await writer.send(topic, index, self._messages(topic, index, rows))
        return _Sent(rows[-1]["next_offset"], sum(row["records"] for row in rows))

    def _messages(
        self, topic: str, index: int, rows: Sequence[asyncpg.Record]
    ) -> Iterator[cloud_events.Message]:
        source = self._sources[topic]
        expected = rows[0]["shipped"]
        prefix = f"{topic}-{index}-"
        for row in rows:
            packed = chunks.decode(row["payload"])
            number = row["next_offset"] - len(packed)
            if expected is not None and number != expected:
                raise LogGap(f"outbox of {topic} {index}: number {number} follows {expected}")
            for key, type_, value, taken_up, headers in packed:
                attributes = cloud_events.encode(
                    f"{prefix}{number}", source, type_, taken_up, headers, number
                )
                yield key, value, attributes
                number += 1
            expected = number

    async def _settle(self, under_way: dict[_Key, asyncio.Task[_Sent]], back_off: BackOff) -> None:
        """Record what was acknowledged. A partition whose leader is gone does not hold up the others."""
        done, _ = await asyncio.wait(under_way.values(), timeout=_ROUND_SECONDS)
        ended = [(key, task) for key, task in under_way.items() if task in done]
        shipped = [(key, task.result()) for key, task in ended if task.exception() is None]
        for key, _ in ended:
            del under_way[key]
        if shipped:
            await self._database.pool.execute(
                _SHIPPED,
                [key[0] for key, _ in shipped],
                [key[1] for key, _ in shipped],
                [sent.next_offset for _, sent in shipped],
            )
            for key, sent in shipped:
                metrics.RELAY_RECORDS.labels(self._topic_name(key[0])).inc(sent.records)
            back_off.worked()
        await self._measure()
        for _, task in ended:
            task.result()

    async def _measure(self) -> None:
        now = time.monotonic()
        if now - self._lag_known < _LAG_SECONDS:
            return
        self._lag_known = now
        for row in await self._database.pool.fetch(_LAG, list(self._names)):
            metrics.RELAY_LAG.labels(self._topic_name(row["topic_id"])).set(row["records"])

    def _topic_name(self, topic_id: int) -> str:
        return self._topics[self._names[topic_id]].name
