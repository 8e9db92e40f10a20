"""The event log in PostgreSQL: the embedded default, and the outbox of production."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from libs.database import Connection, Database, is_transient, open_connection
from libs.messaging import chunks, members, offsets
from libs.messaging.coalescing import Coalescer
from libs.messaging.log import Assignment, TopicDiffers, TopicMissing
from libs.messaging.news import News
from libs.messaging.records import Partition, Position, Reading, Received, Record
from libs.messaging.topics import Topic
from libs.repeats import Repeats

log = structlog.get_logger(__name__)

# What a parameter is worth is hidden from the planner by the inner selects: it would otherwise find each
# reading cheaper than its plan for any, and plan them all anew, which takes longer than to read.
_READ = f"""
select p.topic_id, p.partition, p.position, c.next_offset, c.records, c.payload
from unnest((select $1::smallint[]), (select $2::int[]), (select $3::bigint[]))
  as p (topic_id, partition, position)
{chunks.after(position="p.position", share="$4")}
"""  # noqa: S608 - of constants
_ENDS = """
select p.topic_id, p.partition, p.next_offset from event_log.partitions as p
join unnest($1::smallint[], $2::int[]) as wanted (topic_id, partition) using (topic_id, partition)
"""
# Not "on conflict do update": that would use up a small number of the identity at every start.
_CREATE_TOPIC = """
insert into event_log.topics (name, partitions, retention)
select $1, $2, $3 where not exists (select from event_log.topics where name = $1) on conflict do nothing
"""
_CREATE_PARTITIONS = """
insert into event_log.partitions (topic_id, partition)
select topic_id, generate_series(0, partitions - 1) from event_log.topics where name = $1
on conflict do nothing
"""
_KEEP_RETENTION = "update event_log.topics set retention = $2 where name = $1 and retention <> $2"


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
                name = self.name_of(topic)
                await connection.execute(_CREATE_TOPIC, name, self.partitions, topic.retention)
                await connection.execute(_CREATE_PARTITIONS, name)
                await connection.execute(_KEEP_RETENTION, name, topic.retention)
        async with self._database.pool.acquire() as connection:
            for topic in topics:
                await self.topic_id(connection, topic)

    async def append(self, connection: Connection, topic: Topic, records: Sequence[Record]) -> None:
        if records:
            topic_id = await self.topic_id(connection, topic)
            await chunks.append(connection, topic_id, self.name_of(topic), records, self.partitions)

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
        async with self._database.pool.acquire() as connection:
            ids = {topic.name: await self.topic_id(connection, topic) for topic in topics}
        names = frozenset(self.name_of(topic) for topic in topics)
        subscription = PostgresSubscription(
            self._database, self._namespace, group, ids, names, self.partitions, self._clock
        )
        keeping = asyncio.create_task(subscription.keep_membership(self._session_seconds))
        keeping.add_done_callback(subscription.ended)
        try:
            yield subscription
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def check(self) -> None:
        await self._database.check()

    def name_of(self, topic: Topic) -> str:
        """The topic's name in this deployment."""
        return f"{self._namespace}.{topic.name}"

    async def topic_id(self, connection: Connection, topic: Topic) -> int:
        """The id of a declared topic in this database; TopicMissing or TopicDiffers where not."""
        known = self._topic_ids.get(topic.name)
        if known is not None:
            return known
        # On the caller's connection: one more of the pool, for each of many first writers, is a deadlock.
        row = await connection.fetchrow(
            "select topic_id, partitions from event_log.topics where name = $1", self.name_of(topic)
        )
        if row is None:
            raise TopicMissing(
                f"{self.name_of(topic)} is not in this database: start {topic.owner}, and let all services "
                "share one PostgreSQL, or set EVENT_LOG_URL to a Kafka"
            )
        if row["partitions"] != self.partitions:
            raise TopicDiffers(
                f"{self.name_of(topic)} has {row['partitions']} partitions, but TOPIC_PARTITIONS is "
                f"{self.partitions}"
            )
        self._topic_ids[topic.name] = row["topic_id"]
        return int(row["topic_id"])


class PostgresSubscription:
    """A member of a group that reads the log's tables."""

    def __init__(
        self,
        database: Database,
        namespace: str,
        group: str,
        topic_ids: Mapping[str, int],
        channel_payloads: frozenset[str],
        partitions: int,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._reader = group
        self._group = f"{namespace}.{group}"
        self._ids = topic_ids
        self._topics = {topic_id: name for name, topic_id in topic_ids.items()}
        self._payloads = channel_payloads
        self._partitions = partitions
        self._clock = clock
        self._member = uuid.uuid4()
        self._assignment = Assignment(0, ())
        self._news = News()
        self._failure: BaseException | None = None

    @property
    def assignment(self) -> Assignment:
        return self._assignment

    @property
    def wakes(self) -> int:
        return self._news.count

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
        holes: set[Partition] = set()
        for row in rows:
            partition = Partition(self._topics[row["topic_id"]], row["partition"])
            if row["next_offset"] - row["records"] > next_offsets.get(partition, row["position"]) > 0:
                holes.add(partition)
            unpacked = chunks.unpack(
                partition.topic, partition.index, row["next_offset"], row["payload"], row["position"]
            )
            records += unpacked
            # The whole chunk counts, as it does in the query, or one that was entered in its middle
            # would pass for the log's end.
            found[partition] = found.get(partition, 0) + row["records"]
            next_offsets[partition] = row["next_offset"]
            through[partition] = max(through.get(partition, 0), max(r.time for r in unpacked))
        for partition in partitions:
            if found.get(partition, 0) < share:
                through[partition] = before
        reading = Reading(records, next_offsets, through)
        return await self._without_lost(reading, holes) if holes else reading

    async def _without_lost(self, reading: Reading, holes: Collection[Partition]) -> Reading:
        """Read nothing where records are missing; a hole of ephemeral records alone is none."""
        topics, indexes = {p.topic for p in holes}, {p.index for p in holes}
        async with self._database.pool.acquire() as connection:
            gaps = await offsets.lost(connection, self._reader, list(topics), indexes)
        gaps = {partition: offset for partition, offset in gaps.items() if partition in holes}
        return Reading(
            [r for r in reading.records if Partition(r.topic, r.partition) not in gaps],
            {p: offset for p, offset in reading.next_offsets.items() if p not in gaps},
            {p: time for p, time in reading.through.items() if p not in gaps},
            gaps,
        )

    async def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        rows = await self._database.pool.fetch(
            _ENDS, [self._ids[p.topic] for p in partitions], [p.index for p in partitions]
        )
        return {Partition(self._topics[r["topic_id"]], r["partition"]): r["next_offset"] for r in rows}

    async def wait(self, seen: int, seconds: float) -> None:
        if self._failure is not None:
            raise self._failure
        await self._news.wait(seen, seconds)

    async def commit_hint(self, next_offsets: Mapping[Partition, int]) -> None:
        """The offsets' table is where lag is read from: there is nothing to tell."""

    async def keep_membership(self, session_seconds: float) -> None:
        """Listen and renew the membership until cancelled, over a connection of its own."""
        repeats = Repeats()
        while True:
            try:
                await self._hold(session_seconds)
            except Exception as error:
                if not is_transient(error):
                    raise
                held_back = repeats.held_back(type(error).__name__)
                if held_back is not None:
                    log.warning(
                        "membership interrupted",
                        group=self._group,
                        error=repr(error),
                        suppressed=held_back,
                    )
                self._assign(())
                await asyncio.sleep(members.HEARTBEAT_SECONDS)

    async def _hold(self, session_seconds: float) -> None:
        connection = await open_connection(self._database.url, f"{self._group} member")
        try:
            # Whoever stops in the middle of a beat holds up all the others: not for a session's length,
            # or they would take each other for dead.
            limit = f"{max(500, int(session_seconds * 500))}ms"
            await connection.execute(
                "select set_config('idle_in_transaction_session_timeout', $1, false)", limit
            )
            await connection.add_listener(chunks.CHANNEL, self._notified)
            self._news.tell()  # whatever came while nobody listened
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
            self._news.tell()

    def _notified(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        if payload in self._payloads:
            self._news.tell()

    def ended(self, keeping: asyncio.Task[None]) -> None:
        """Let the next read tell why nobody keeps the membership any more."""
        if not keeping.cancelled():
            self._failure = keeping.exception()
            self._news.tell()
