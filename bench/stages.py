"""`python -m bench.stages`: the processor time of each stage by itself, and where in it the time goes.

Ingest, profile and segment run one after the other in this process, over an embedded PostgreSQL, each
through the whole backlog that the one before left. No stage takes the processor from another, so the
figures are steadier than those of the whole pipeline; what is missing in them is gRPC.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from bench import load
from bench.stack import seconds_of
from cli.home import Home
from libs import rpc
from libs.database import Database, open_database
from libs.database.embedded import EmbeddedPostgres
from libs.database.migrations import migrate
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings, PostgresLog, Topic, topics
from libs.messaging import schema as log_schema
from libs.profile_feed import ProfileHistories
from services.ingest import app as ingest_app
from services.ingest.rejections.sql import SqlRejections
from services.ingest.rejections.use_cases import Rejections
from services.ingest.sources.model import Source
from services.ingest.tracking import wire as ingest_wire
from services.ingest.tracking.clients import LoggedEvents
from services.ingest.tracking.use_cases import Collector
from services.profile import app as profile_app
from services.profile.history.jobs import GROUP, ClockJob
from services.segment import app as segment_app
from services.segment.definitions.sql import SqlSegments
from services.segment.definitions.wire import segment_of
from services.segment.membership.model import Update
from services.segment.membership.stream import UpdateHandler
from tessera.ingest.v1 import event_pb2

PARTITIONS = 8
STAGES = ("ingest", "profile", "segment")
_BEHIND = """
select count(*) from event_log.partitions as p
join event_log.topics as t using (topic_id)
left join event_log.offsets as o
  on o.group_name = $1 and 'tessera.' || o.topic = t.name and o.partition = p.partition
where t.name = 'tessera.' || $2 and coalesce(o.next_offset, 0) < p.next_offset
"""
_SESSIONS = "select count(*) from pg_stat_activity where application_name like $1"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage took of the processor for an event, in microseconds."""

    python: float
    postgres: float


class Stages:
    """The three stages over one database."""

    def __init__(self, database: Database, batch_records: int) -> None:
        self._database = database
        self._log = PostgresLog(database, PARTITIONS)
        self._batch_records = batch_records

    def with_batches_of(self, records: int) -> "Stages":
        """The same, where a batch has so many records."""
        return Stages(self._database, records)

    async def prepare(self, segments: int) -> None:
        """Topics and definitions."""
        await self._log.declare(topics.ALL)
        definitions = SqlSegments(self._database, segment_app.plans_of(self._database, PARTITIONS))
        for one in load.segments(segments):
            await definitions.insert(segment_of(one), "")

    async def ingest(self, batches: Sequence[list[event_pb2.Event]]) -> None:
        """Check the events and put them on the log, four batches at once."""
        rejections = Rejections(SqlRejections(self._database), most=1000)
        collector = Collector(LoggedEvents(self._log, random.Random(1)), rejections)
        source = Source("bench", trusted=True)
        waiting = iter(batches)

        async def client() -> None:
            for batch in waiting:
                await collector.collect(source, ingest_wire.pb_items(batch))

        await asyncio.gather(*(client() for _ in range(4)))

    async def profile(self) -> None:
        """Resolve them."""
        settings = self._settings(GROUP, topics.INGEST_EVENTS, topics.PROFILE_DEAD_LETTERS)
        consumer = Consumer(self._database, self._log, settings, profile_app.event_handler)
        await self._run(settings, consumer, ClockJob(self._database, self._log))

    async def segment(self) -> None:
        """Evaluate them."""
        settings = self._settings("segment", topics.PROFILE_UPDATES, topics.SEGMENT_DEAD_LETTERS)

        # Nothing is rebuilt here, so nobody asks profile.
        plans = segment_app.plans_of(self._database, PARTITIONS)
        nobody: ProfileHistories[Update] = ProfileHistories.__new__(ProfileHistories)

        def handler() -> UpdateHandler:
            return UpdateHandler(plans, nobody, PARTITIONS)

        await self._run(settings, Consumer(self._database, self._log, settings, handler))

    def _settings(self, group: str, topic: Topic, dead_letters: Topic) -> ConsumerSettings:
        return ConsumerSettings(group, (topic,), dead_letters, batch_records=self._batch_records)

    async def _run(self, settings: ConsumerSettings, *components: Component) -> None:
        """Run until the group has read its topic to the end."""
        stopping = asyncio.Event()
        running = [asyncio.create_task(component.run(stopping)) for component in components]
        topic = settings.topics[0].name
        while await self._database.pool.fetchval(_BEHIND, settings.group, topic):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stopping.set()
        await asyncio.gather(*running)
        # What a session used counts for the server only once that has noticed its end.
        while await self._database.pool.fetchval(_SESSIONS, f"%{settings.group} %"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@asynccontextmanager
async def opened(batch_records: int, segments: int) -> AsyncIterator[tuple[Stages, EmbeddedPostgres]]:
    """The stages over a server of their own, migrated and defined."""
    with tempfile.TemporaryDirectory(prefix="tessera-stages-") as folder:
        home = Home.at(Path(folder) / "home")
        home.create()
        server = EmbeddedPostgres(home.postgres)
        await server.start()
        try:
            await migrate(server.url(), log_schema.SCHEMA)
            for app in (ingest_app, profile_app, segment_app):
                await migrate(server.url(), app.SCHEMA)
            async with open_database(server.url(), "bench stages") as database:
                stages = Stages(database, batch_records)
                await stages.prepare(segments)
                yield stages, server
        finally:
            await server.stop()


def server_seconds(server: EmbeddedPostgres) -> float:
    """The processor time that a server and its sessions have used so far."""
    assert server.process_id is not None
    postmaster = psutil.Process(server.process_id)
    return sum(map(seconds_of, [postmaster, *postmaster.children(recursive=True)]))


async def measure(
    events: int, people: int, segments: int, batch_records: int, profiled: str, most: int
) -> dict[str, Cost]:
    """Run the stages in turn; the one named `profiled` prints where its time went."""
    batches = list(load.batches(events, people))
    gc.collect()
    gc.freeze()  # the load is not what is measured
    costs = {}
    async with opened(batch_records, segments) as (stages, server):
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "ingest": lambda: stages.ingest(batches),
            "profile": stages.profile,
            "segment": stages.segment,
        }
        for name, run in work.items():
            profiler = cProfile.Profile() if name == profiled else None
            before = time.process_time(), server_seconds(server)
            if profiler:
                profiler.enable()
            await run()
            if profiler:
                profiler.disable()
            after = time.process_time(), server_seconds(server)
            costs[name] = Cost(*((b - a) / events * 1e6 for a, b in zip(before, after, strict=True)))
            if profiler:
                pstats.Stats(profiler).sort_stats("tottime").print_stats(most)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--segments", type=int, default=100)
    parser.add_argument("--batch-records", type=int, default=4000)
    parser.add_argument("--profile", choices=STAGES, default="", help="show where this stage's time goes")
    parser.add_argument("--most", type=int, default=40, help="how many lines of that")
    a = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    costs = rpc.run(measure(a.events, a.people, a.segments, a.batch_records, a.profile, a.most))
    for name, cost in costs.items():
        print(f"{name:8} {cost.python:6.1f} µs of Python, {cost.postgres:6.1f} of PostgreSQL, an event")


if __name__ == "__main__":
    main()
