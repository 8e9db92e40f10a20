"""The event log in PostgreSQL: the embedded default, and the outbox of production."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from libs.database import Connection, Database, is_transient, open_connection
from libs.messaging import chunks, members
from libs.messaging.coalescing import Coalescer
from libs.messaging.log import Assignment, TopicMissing
from libs.messaging.records import Partition, Position, Reading, Received, Record
from libs.messaging.topics import Topic

log = structlog.get_logger(__name__)

_READ = """
select p.topic_id, p.partition, p.position, c.next_offset, c.payload
from unnest($1::smallint[], $2::int[], $3::bigint[]) as p (topic_id, partition, position)
cross join lateral (
  select next_offset, payload from (
    select next_offset, payload, sum(records) over (order by next_offset) - records as earlier
    from (
      select next_offset, records, payload from event_log.chunks
      where topic_id = p.topic_id and partition = p.partition and next_offset > p.position
      order by next_offset limit $4
    ) as candidates
  ) as counted where earlier < $4
) as c
order by p.topic_id, p.partition, c.next_offset
"""


class PostgresLog:
    """The log in a service's PostgreSQL. It serves where all services share one database."""

    def __init__(
        self,
        database: Database,
        partitions: int,
        namespace: str = "tessera",
        clock: Callable[[], float] = time.time,
        session_seconds: float = members.SESSION_SECONDS,
    ) -> None:
        self.partitions = partitions
        self._database = database
        self._namespace = namespace
        self._clock = clock
        self._session_seconds = session_seconds
        self._topic_ids: dict[str, int] = {}
        self._publishers: dict[str, Coalescer[Record]] = {}

    async def declare(self, topics: Sequence[Topic]) -> None:
        async with self._database.begin() as connection:
            for topic in topics:
                topic_id = await connection.fetchval(
                    "insert into event_log.topics (name, partitions, retention) values ($1, $2, $3) "
                    "on conflict (name) do update set retention = excluded.retention returning topic_id",
                    self._name(topic),
                    self.partitions,
                    topic.retention,
                )
                await connection.execute(
                    "insert into event_log.partitions (topic_id, partition) "
                    "select $1, generate_series(0, $2::int - 1) on conflict do nothing",
                    topic_id,
                    self.partitions,
                )
        for topic in topics:
            await self._topic_id(topic)

    async def append(self, connection: Connection, topic: Topic, records: Sequence[Record]) -> None:
        if records:
            topic_id = await self._topic_id(topic)
            await chunks.append(connection, topic_id, self._name(topic), records, self.partitions)

    async def publish(self, topic: Topic, records: Sequence[Record]) -> None:
        publisher = self._publishers.get(topic.name)
        if publisher is None:

            async def store(together: list[Record]) -> None:
                async with self._database.begin() as connection:
                    await self.append(connection, topic, together)

            publisher = self._publishers[topic.name] = Coalescer(store)
        await publisher.send(records)

    @asynccontextmanager
    async def subscribe(self, group: str, topics: Sequence[Topic]) -> AsyncIterator["PostgresSubscription"]:
        ids = {topic.name: await self._topic_id(topic) for topic in topics}
        names = frozenset(self._name(topic) for topic in topics)
        subscription = PostgresSubscription(
            self._database, f"{self._namespace}.{group}", ids, names, self.partitions, self._clock
        )
        keeping = asyncio.create_task(subscription.keep_membership(self._session_seconds))
        keeping.add_done_callback(subscription.ended)
        try:
            yield subscription
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def check(self) -> None:
        await self._database.check()

    def _name(self, topic: Topic) -> str:
        return f"{self._namespace}.{topic.name}"

    async def _topic_id(self, topic: Topic) -> int:
        known = self._topic_ids.get(topic.name)
        if known is not None:
            return known
        row = await self._database.pool.fetchrow(
            "select topic_id, partitions from event_log.topics where name = $1", self._name(topic)
        )
        if row is None:
            raise TopicMissing(
                f"{self._name(topic)} is not in this database: start {topic.owner}, and let all services "
                "share one PostgreSQL, or set EVENT_LOG_URL to a Kafka"
            )
        if row["partitions"] != self.partitions:
            raise TopicMissing(
                f"{self._name(topic)} has {row['partitions']} partitions, but TOPIC_PARTITIONS is "
                f"{self.partitions}"
            )
        self._topic_ids[topic.name] = row["topic_id"]
        return int(row["topic_id"])


class PostgresSubscription:
    """A member of a group that reads the log's tables."""

    def __init__(
        self,
        database: Database,
        group: str,
        topic_ids: Mapping[str, int],
        channel_payloads: frozenset[str],
        partitions: int,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._group = group
        self._ids = topic_ids
        self._topics = {topic_id: name for name, topic_id in topic_ids.items()}
        self._payloads = channel_payloads
        self._partitions = partitions
        self._clock = clock
        self._member = uuid.uuid4()
        self._assignment = Assignment(0, ())
        self._news = asyncio.Event()
        self._wakes = 0
        self._failure: BaseException | None = None

    @property
    def assignment(self) -> Assignment:
        return self._assignment

    @property
    def wakes(self) -> int:
        return self._wakes

    async def read(self, positions: Mapping[Partition, Position], limit: int) -> Reading:
        if self._failure is not None:
            raise self._failure
        before = int(self._clock() * 1_000_000)
        partitions = list(positions)
        share = max(1, limit // max(1, len(partitions)))
        rows = await self._database.pool.fetch(
            _READ,
            [self._ids[partition.topic] for partition in partitions],
            [partition.index for partition in partitions],
            [positions[partition].offset for partition in partitions],
            share,
        )
        records: list[Received] = []
        found: dict[Partition, int] = {}
        next_offsets: dict[Partition, int] = {}
        through: dict[Partition, int] = {}
        for row in rows:
            partition = Partition(self._topics[row["topic_id"]], row["partition"])
            unpacked = chunks.unpack(
                partition.topic, partition.index, row["next_offset"], row["payload"], row["position"]
            )
            records += unpacked
            found[partition] = found.get(partition, 0) + len(unpacked)
            next_offsets[partition] = row["next_offset"]
            through[partition] = max(through.get(partition, 0), max(r.time for r in unpacked))
        for partition in partitions:
            if found.get(partition, 0) < share:
                through[partition] = before
        return Reading(records, next_offsets, through)

    async def wait(self, seen: int, seconds: float) -> None:
        if self._wakes == seen:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)

    async def commit_hint(self, next_offsets: Mapping[Partition, int]) -> None:
        """The offsets' table is where lag is read from: there is nothing to tell."""

    async def keep_membership(self, session_seconds: float) -> None:
        """Listen and renew the membership until cancelled, over a connection of its own."""
        while True:
            try:
                await self._hold(session_seconds)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("membership interrupted", group=self._group, error=repr(error))
                self._assign(())
                await asyncio.sleep(members.HEARTBEAT_SECONDS)

    async def _hold(self, session_seconds: float) -> None:
        connection = await open_connection(self._database.url, f"{self._group} member")
        try:
            await connection.add_listener(chunks.CHANNEL, self._notified)
            self._wake()  # whatever came while nobody listened
            while True:
                owned = await members.beat(
                    connection, self._group, self._member, self._partitions, session_seconds
                )
                self._assign(owned)
                await asyncio.sleep(members.HEARTBEAT_SECONDS)
        except asyncio.CancelledError:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await members.leave(connection, self._group, self._member)
            raise
        finally:
            connection.terminate()

    def _assign(self, indexes: tuple[int, ...]) -> None:
        if indexes != self._assignment.indexes:
            self._assignment = Assignment(self._assignment.generation + 1, indexes)
            log.info("partitions assigned", group=self._group, partitions=list(indexes))
            self._wake()

    def _notified(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        if payload in self._payloads:
            self._wake()

    def _wake(self) -> None:
        self._wakes += 1
        self._news.set()
        self._news = asyncio.Event()

    def ended(self, keeping: asyncio.Task[None]) -> None:
        """Let the next read tell why nobody keeps the membership any more."""
        if not keeping.cancelled():
            self._failure = keeping.exception()
            self._wake()
