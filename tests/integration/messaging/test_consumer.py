"""The consumer loop against a log that says just what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from libs.database import Connection
from libs.messaging import (
    Assignment,
    Batch,
    Outcome,
    Partition,
    Position,
    PostgresLog,
    Reading,
    Received,
    Record,
    Topic,
)
from libs.messaging.news import News
from tests.integration.messaging.harness import (
    EVENTS,
    IMPORTS,
    UPDATES,
    Deployment,
    Effects,
    consumer,
    counted,
    numbered,
    running,
    until,
    until_counted,
)


class _Scripted:
    """A log of one partition that gives, of each topic, what is put into `coming`."""

    partitions = 1
    wakes = 0

    def __init__(self) -> None:
        self.assignment = Assignment(1, (0,))
        self.coming: dict[str, list[Reading]] = {EVENTS.name: [], IMPORTS.name: []}
        self.reads: list[str] = []
        self.hints: list[Mapping[Partition, int]] = []

    @asynccontextmanager
    async def subscribe(self, group: str, topics: Any) -> AsyncIterator["_Scripted"]:
        yield self

    async def read(self, positions: Mapping[Partition, Position], limit: int) -> Reading:
        topic = next((partition.topic for partition in positions), "none")
        self.reads.append(topic)
        if waiting := self.coming.get(topic):
            return waiting.pop(0)
        return Reading([], {}, {})

    async def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return {}

    async def wait(self, seen: int, seconds: float) -> None:
        await until(lambda: True)

    async def commit_hint(self, next_offsets: Mapping[Partition, int]) -> None:
        self.hints.append(next_offsets)


def _reading(topic: str, *offsets: int, number: int | None = None) -> Reading:
    records = [
        Received(topic, 0, n, b"k", "t", b"%s %d" % (topic.encode(), n), n, {}, number) for n in offsets
    ]
    return Reading(records, {Partition(topic, 0): offsets[-1] + 1}, {Partition(topic, 0): offsets[-1]})


async def test_background_topics_wait_until_the_live_ones_are_known_to_be_at_their_end(
    on_postgres: Deployment,
) -> None:
    log = _Scripted()
    log.coming[IMPORTS.name].append(_reading(IMPORTS.name, 0))
    async with on_postgres.open() as (database, _):
        handler = Effects("first")
        member = consumer(database, log, handler, background=(IMPORTS,), workers=1)  # type: ignore[arg-type]
        async with running(member):
            # The live topic is empty-handed, but does not say that it is at its end: a slow broker.
            await until(lambda: len(log.reads) > 20, 60, "reads")
            assert {EVENTS.name} == set(log.reads)

            log.coming[EVENTS.name].append(Reading([], {}, {Partition(EVENTS.name, 0): 5}))
            await until_counted(database, "first", 1)

        assert [{Partition(IMPORTS.name, 0): 1}] == log.hints


class _Interrupted(Effects):
    """Fails once with a statement under way, so that the rollback fails as well, as in an outage."""

    def __init__(self) -> None:
        super().__init__("first")
        self.sleeping: asyncio.Task[str] | None = None

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        if self.sleeping is None:
            self.sleeping = asyncio.create_task(connection.execute("select pg_sleep(60)"))
            await asyncio.sleep(0)
            raise ValueError("what a handler says of a connection that broke")
        return await super().handle(connection, batch)


async def test_a_connection_that_breaks_in_its_rollback_makes_no_dead_letter(
    on_postgres: Deployment,
) -> None:
    async with on_postgres.open() as (database, log):
        await log.publish(EVENTS, numbered("w", 0, 5))
        handler = _Interrupted()
        async with running(consumer(database, log, handler, workers=1)):
            await until_counted(database, "first", 5)
        letters = "select sum(next_offset) from event_log.partitions join event_log.topics using (topic_id)"
        buried = await database.pool.fetchval(f"{letters} where name like '%dead_letters'")
        assert handler.sleeping is not None
        await asyncio.gather(handler.sleeping, return_exceptions=True)

        assert 5 == await counted(database, "first")
        assert 0 == buried


async def test_a_new_assignment_drops_the_caches_and_what_was_fetched_ahead(on_postgres: Deployment) -> None:
    log = _Scripted()
    async with on_postgres.open() as (database, _):
        handler = Effects("first")
        async with running(consumer(database, log, handler, workers=1)):  # type: ignore[arg-type]
            await until(lambda: bool(log.reads), 60, "a read")
            forgotten = handler.forgotten
            # Another member has handled records 0 to 2 meanwhile.
            await database.pool.execute("update event_log.offsets set next_offset = 3")
            log.assignment = Assignment(2, (0,))
            await until(lambda: handler.forgotten > forgotten, 60, "the new assignment")
            log.coming[EVENTS.name].append(_reading(EVENTS.name, 3, 4))
            await until_counted(database, "first", 2)

        assert 2 == await counted(database, "first")
        assert 5 == await database.pool.fetchval("select next_offset from event_log.offsets")


class _Slow(Effects):
    """Holds its transaction open once its work is done, until it is let go."""

    def __init__(self, passes_to: Topic | None = None) -> None:
        super().__init__("first", passes_to)
        self.worked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        outcome = await super().handle(connection, batch)
        self.worked.set()
        await asyncio.wait_for(self.let_go.wait(), 20)
        return outcome


class _Telling(_Scripted):
    """Lets readers wait until it tells that something came, as logs do."""

    def __init__(self) -> None:
        super().__init__()
        self.news = News()

    @property
    def wakes(self) -> int:  # type: ignore[override]
        return self.news.count

    async def wait(self, seen: int, seconds: float) -> None:
        await self.news.wait(seen, seconds)


async def test_what_comes_while_a_batch_is_handled_is_taken_up_at_once(on_postgres: Deployment) -> None:
    log = _Telling()
    log.coming[EVENTS.name].append(_reading(EVENTS.name, 0))
    async with on_postgres.open() as (database, _):
        handler = _Slow()
        # One record is a full batch: the next one is looked for while it is handled.
        options = {"workers": 1, "batch_records": 1, "tick_seconds": 60}
        async with running(consumer(database, log, handler, **options)):  # type: ignore[arg-type]
            await asyncio.wait_for(handler.worked.wait(), 20)
            await until(lambda: len(log.reads) == 2, 60, "the reading ahead, which finds nothing")
            log.coming[EVENTS.name].append(_reading(EVENTS.name, 1))
            log.news.tell()
            handler.let_go.set()
            await until_counted(database, "first", 2, seconds=20)
            asyncio.get_running_loop().call_soon(log.news.tell)  # or it would notice its end in a minute

        assert 2 == handler.handled


class _Watched(PostgresLog):
    """Knows what stood in the transaction when its counters were taken, and what came after them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.offsets: list[int] = []
        self.later: list[str] = []

    async def append(self, connection: Connection, topic: Topic, records: Sequence[Record]) -> None:
        moved = "select coalesce(sum(next_offset), 0) from event_log.offsets where topic = $1"
        self.offsets.append(int(await connection.fetchval(moved, EVENTS.name)))
        await super().append(connection, topic, records)
        # From here on everybody who writes the topic waits for the commit.
        connection.add_query_logger(lambda logged: self.later.append(logged.query))


async def test_shared_counters(on_postgres: Deployment) -> None:
    """A topic's counters are taken last: nobody waits for those who are still at work."""
    handler = _Slow(UPDATES)
    async with on_postgres.open() as (database, log):
        watched = _Watched(database, on_postgres.partitions, on_postgres.namespace)
        await log.publish(EVENTS, numbered("w", 0, 100))
        async with running(consumer(database, watched, handler, workers=1)):
            await asyncio.wait_for(handler.worked.wait(), 20)
            everywhere = [Record(b"", "t", b"other", 0, partition=n) for n in range(on_postgres.partitions)]
            async with asyncio.timeout(10), database.begin() as connection:
                await log.append(connection, UPDATES, everywhere)
            before = await counted(database, "first")
            handler.let_go.set()
            await until_counted(database, "first", 100)

        assert 0 == before, "the batch was still under way"
        assert 100 == watched.offsets[-1], "the offsets had been moved before"
        assert ["COMMIT;"] == watched.later[:1], "nothing came between the counters and the commit"
