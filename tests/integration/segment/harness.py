"""Segment over a real PostgreSQL and log, with profile's stream and histories told by the test."""

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from libs import rpc
from libs.database import Connection, Database, open_database
from libs.database.migrations import migrate
from libs.messaging import (
    Batch,
    Consumer,
    ConsumerSettings,
    Handler,
    Outcome,
    Partition,
    Position,
    PostgresLog,
    Record,
    slot_of,
)
from libs.messaging.topics import PROFILE_UPDATES, SEGMENT_DEAD_LETTERS, SEGMENT_TRANSITIONS
from libs.profile_feed import CLOCK, UPDATED, ProfileHistories
from services.segment.app import SCHEMA, plans_of
from services.segment.definitions.model import SegmentDefinition
from services.segment.definitions.sql import SqlSegments
from services.segment.membership.model import State
from services.segment.membership.sql import Cache, Plans, SqlStates
from services.segment.membership.stream import UpdateHandler
from services.segment.membership.wire import update_of
from services.segment.triggers.model import TriggerDefinition
from services.segment.triggers.sql import SqlTriggers
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import history_pb2, history_service_pb2, history_service_pb2_grpc, profile_events_pb2
from tessera.segment.v1 import segment_events_pb2
from tests.integration.messaging.harness import until
from tests.model.following import Step

PARTITIONS = 4
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
START = 1_700_000_000 * SECOND

ENTERED = segment_events_pb2.TRANSITION_KIND_ENTERED
EXITED = segment_events_pb2.TRANSITION_KIND_EXITED
TRIGGERED = segment_events_pb2.TRANSITION_KIND_TRIGGERED
Transition = segment_events_pb2.TransitionOccurred


def timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // SECOND, nanos=micros % SECOND * 1000)


def micros(time: Timestamp) -> int:
    return time.seconds * SECOND + time.nanos // 1000


def index_of(profile_id: str) -> int:
    return slot_of(profile_id.encode()) % PARTITIONS


def person_in(partition: int, number: int = 0) -> str:
    """The id of somebody in a partition."""
    ids = (str(uuid.UUID(int=n)) for n in range(1000 * number, 1000 * number + 1000))
    return next(id_ for id_ in ids if index_of(id_) == partition)


def event(name: str, time: int, **properties: Any) -> ingest_events_pb2.EventCollected:
    return ingest_events_pb2.EventCollected(
        event_id=uuid.uuid4().bytes,
        type=event_pb2.EVENT_TYPE_TRACK,
        name=name,
        event_time=timestamp(time),
        properties_json=orjson.dumps(properties),
    )


def pb_of(step: Step) -> profile_events_pb2.ProfileUpdated:
    """The record of one of the generated steps."""
    pb = profile_events_pb2.ProfileUpdated(
        profile_id=step.profile_id,
        revision=step.revision,
        moved=step.moved,
        more=step.more,
        merged_into=step.merged_into or "",
    )
    for purpose, said in step.consent:
        consent = pb.consent_changes.add(purpose=purpose).consent
        consent.granted, consent.proof.event_id = said.value, said.event_id
        consent.time.CopyFrom(timestamp(said.time))
    for e in step.events:
        collected = pb.events.add(event_id=e.event_id, type=event_pb2.EVENT_TYPE_TRACK, name=e.name)
        collected.event_time.CopyFrom(timestamp(e.time))
        collected.properties_json = orjson.dumps(dict(e.properties))
    for name, said in step.traits:
        change = pb.trait_changes.add(name=name, event_id=said.event_id, time=timestamp(said.time))
        change.value_json = b"" if said.value is None else orjson.dumps(said.value)
    return pb


class Profile(history_service_pb2_grpc.HistoryServiceServicer):
    """Profile as segment sees it: a stream of updates, and whole histories for those who ask."""

    def __init__(self, database: Database, event_log: PostgresLog) -> None:
        self.histories: dict[str, list[profile_events_pb2.ProfileUpdated]] = defaultdict(list)
        self.histories_read = 0
        self.dirty: set[str] = set()
        self._database = database
        self._log = event_log

    async def happen(self, profile_id: str, *events: ingest_events_pb2.EventCollected, **more: Any) -> None:
        """Events become a profile's own, in one step."""
        revision = len(self.histories[profile_id]) + 1
        update = profile_events_pb2.ProfileUpdated(
            profile_id=profile_id, revision=revision, events=events, **more
        )
        self.histories[profile_id].append(update)
        await self.tell(update)

    async def merge(self, absorbed_id: str, survivor_id: str) -> list[profile_events_pb2.ProfileUpdated]:
        """Move a history to its survivor; returns the records, in the order in which they are told."""
        told = []
        history = self.histories[survivor_id]
        for step in self.histories.pop(absorbed_id):
            moved = profile_events_pb2.ProfileUpdated.FromString(step.SerializeToString())
            moved.profile_id, moved.moved, moved.revision = survivor_id, True, len(history) + 1
            history.append(moved)
            told.append(profile_events_pb2.ProfileUpdated.FromString(moved.SerializeToString()))
            told[-1].more = True
        grave = profile_events_pb2.ProfileUpdated(
            profile_id=absorbed_id, revision=len(told) + 1, merged_into=survivor_id
        )
        self.histories[absorbed_id] = [grave]
        last = profile_events_pb2.ProfileUpdated(
            profile_id=survivor_id, revision=len(history) + 1, absorbed_profile_ids=[absorbed_id]
        )
        history.append(last)
        return [*told, grave, last]

    async def tell(self, *updates: profile_events_pb2.ProfileUpdated) -> None:
        """Put records on the stream, in one transaction."""
        async with self._database.begin() as connection:
            await self._log.append(connection, PROFILE_UPDATES, [record_of(update) for update in updates])

    async def tell_time(self, now: int) -> None:
        """The clock record, in every partition."""
        records = [clock_record(now, index) for index in range(PARTITIONS)]
        async with self._database.begin() as connection:
            await self._log.append(connection, PROFILE_UPDATES, records)

    async def ReadHistory(  # noqa: N802
        self, request: history_service_pb2.ReadHistoryRequest, context: Any
    ) -> AsyncIterator[history_service_pb2.ReadHistoryResponse]:
        for profile_id in request.profile_ids:
            self.histories_read += 1
            if profile_id in self.dirty:
                await context.abort(grpc.StatusCode.INTERNAL, "dirt")
            whole = self.histories.get(profile_id, [])
            revision = whole[-1].revision if whole else 0
            after = request.after_revisions.get(profile_id, 0)
            history = [step for step in whole if step.revision > after]
            for first in range(0, len(history), 3):
                part = [_step_of(update) for update in history[first : first + 3]]
                yield history_service_pb2.ReadHistoryResponse(profile_id=profile_id, steps=part)
            yield history_service_pb2.ReadHistoryResponse(profile_id=profile_id, revision=revision)


def _step_of(update: profile_events_pb2.ProfileUpdated) -> history_pb2.HistoryStep:
    """As a history tells it."""
    step = history_pb2.HistoryStep.FromString(update.SerializeToString())
    step.DiscardUnknownFields()
    return step


async def put_segment(store: SqlSegments, wanted: SegmentDefinition) -> SegmentDefinition:
    """Create a segment or change it."""
    known = await store.get(wanted.segment_id)
    return await (store.replace(wanted, known.version) if known else store.insert(wanted, ""))


async def put_trigger(store: SqlTriggers, wanted: TriggerDefinition) -> TriggerDefinition:
    """Create a trigger or change it."""
    known = await store.get(wanted.trigger_id)
    return await (store.replace(wanted, known.version) if known else store.insert(wanted, ""))


def record_of(update: profile_events_pb2.ProfileUpdated) -> Record:
    return Record(update.profile_id.encode(), UPDATED, update.SerializeToString(), START)


def clock_record(now: int, index: int) -> Record:
    value = profile_events_pb2.ClockAdvanced(time=timestamp(now)).SerializeToString()
    return Record(b"", CLOCK, value, START, partition=index, ephemeral=True)


@dataclass
class World:
    """A deployment of segment."""

    database: Database
    log: PostgresLog
    profile: Profile
    channel: grpc.aio.Channel
    clock: Callable[[], float]

    @property
    def plans(self) -> Plans:
        return plans_of(self.database, PARTITIONS)

    @property
    def segments(self) -> SqlSegments:
        return SqlSegments(self.database, self.plans, self.clock)

    @property
    def triggers(self) -> SqlTriggers:
        return SqlTriggers(self.database, self.plans, self.clock)

    def handler(self, plans: Plans | None = None) -> UpdateHandler:
        histories = ProfileHistories(self.channel, update_of)
        return UpdateHandler(plans or self.plans, histories, PARTITIONS, self.clock)

    def consumer(self, workers: int = 2, handler: Callable[[], Handler] | None = None) -> Consumer:
        settings = ConsumerSettings(
            group="segment",
            topics=(PROFILE_UPDATES,),
            dead_letters=SEGMENT_DEAD_LETTERS,
            workers=workers,
            batch_records=40,
            tick_seconds=0.03,
        )
        return Consumer(self.database, self.log, settings, handler or self.handler)

    async def define(self, segment_id: str, expression: str) -> SegmentDefinition:
        return await put_segment(self.segments, SegmentDefinition(segment_id, "", expression))

    async def define_trigger(
        self, trigger_id: str, name: str, unless: Sequence[str], delay: int, condition: str = "", **more: Any
    ) -> TriggerDefinition:
        definition = TriggerDefinition(trigger_id, "", name, tuple(unless), delay, condition, **more)
        return await put_trigger(self.triggers, definition)

    async def settled(self, seconds: float = 20) -> None:
        """Wait until everything was read, no state is of an older plan, and nobody is due."""
        query = """
        select (select count(*) from event_log.partitions as p join event_log.topics as t using (topic_id)
                left join event_log.offsets as o
                  on o.group_name = 'segment' and o.topic = $1 and o.partition = p.partition
                where t.name = 'tessera.' || $1 and p.next_offset > coalesce(o.next_offset, 0))
             + (select count(*) from segment.states, segment.plans where plan < version)
             + (select count(*) from segment.timers as t
                join segment.partitions as p on t.slot % $2::int = p.partition where t.due <= p.clock)
        """

        async def quiet() -> bool:
            return not await self.database.pool.fetchval(query, PROFILE_UPDATES.name, PARTITIONS)

        await until(quiet, seconds, "quiet")

    async def transitions(self, *kinds: int) -> list[Transition]:
        """What stands on the topic, in order for each person."""
        async with self.log.subscribe(f"test {uuid.uuid4()}", (SEGMENT_TRANSITIONS,)) as subscription:
            partitions = [Partition(SEGMENT_TRANSITIONS.name, index) for index in range(PARTITIONS)]
            reading = await subscription.read(dict.fromkeys(partitions, Position(0)), 1_000_000)
        found = [Transition.FromString(record.value) for record in reading.records]
        return [t for t in found if not kinds or t.kind in kinds]

    async def members(self) -> dict[tuple[str, str], tuple[int, bytes]]:
        rows = await self.database.pool.fetch(
            "select profile_id::text, segment_id, entered, event_id from segment.memberships"
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def states(self) -> dict[str, State]:
        rows = await self.database.pool.fetch("select profile_id::text from segment.states")
        async with self.database.begin() as connection:
            loaded = await SqlStates(connection, Cache(), PARTITIONS).load([row[0] for row in rows])
        return dict(loaded.states)

    async def assert_told(self) -> None:
        """Replaying what was told gives the memberships; each effect was told once."""
        told: dict[tuple[str, str], tuple[int, bytes]] = {}
        for t in await self.transitions(ENTERED, EXITED):
            pair = t.profile_id, t.definition_id
            if t.kind == ENTERED:
                assert pair not in told, t
                told[pair] = micros(t.time), t.event_id
            else:
                del told[pair]
        effects = [(t.definition_id, t.cause_id) for t in await self.transitions(TRIGGERED)]
        counted = await self.database.pool.fetch(
            "select segment_id, sum(members)::int from segment.member_counts "
            "group by segment_id having sum(members) > 0"
        )

        assert told == await self.members()
        assert Counter(segment_id for _, segment_id in told) == {row[0]: row[1] for row in counted}
        assert {
            (id_, s) for id_, state in (await self.states()).items() for s in state.memberships
        } == told.keys()
        assert len(set(effects)) == len(effects)


@asynccontextmanager
async def open_world(
    database_url: str, clock: Callable[[], float] = lambda: START / SECOND
) -> AsyncIterator[World]:
    """Segment's schema, its topics, and profile's server."""
    await migrate(database_url, SCHEMA)
    async with open_database(database_url, "test") as database:
        event_log = PostgresLog(database, PARTITIONS, session_seconds=2.0)
        await event_log.declare([PROFILE_UPDATES, SEGMENT_TRANSITIONS, SEGMENT_DEAD_LETTERS])
        profile = Profile(database, event_log)
        server = grpc.aio.server()
        history_service_pb2_grpc.add_HistoryServiceServicer_to_server(profile, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with rpc.open_channel(f"127.0.0.1:{port}") as channel:
                yield World(database, event_log, profile, channel, clock)
        finally:
            await server.stop(None)


class Gate:
    """A handler that can be stopped when it has done its work, before the commit."""

    def __init__(self, inner: Handler) -> None:
        self.closed = False
        self.waiting = asyncio.Event()
        self.opened = asyncio.Event()
        self._inner = inner

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        outcome = await self._inner.handle(connection, batch)
        if self.closed:
            self.waiting.set()
            await asyncio.wait_for(self.opened.wait(), 20)
            self.closed = False
        return outcome

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return await self._inner.maintain(connection, indexes)

    def forget(self) -> None:
        self._inner.forget()
