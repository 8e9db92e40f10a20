"""Profile and segment in one process, over either log, on a clock that only the test moves."""

import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import orjson

from libs import rpc
from libs.database import Connection, Database, open_database
from libs.database.migrations import migrate
from libs.lifecycle import Component
from libs.messaging import Batch, Consumer, ConsumerSettings, EventLog, Handler, Outcome, PostgresLog, Topic
from libs.messaging.kafka import KafkaLog
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.relay import Relay
from libs.messaging.topics import (
    ALL,
    INGEST_EVENTS,
    PROFILE_DEAD_LETTERS,
    PROFILE_UPDATES,
    SEGMENT_DEAD_LETTERS,
    SEGMENT_TRANSITIONS,
    owned_by,
)
from libs.profile_feed import ProfileHistories
from libs.times import micros
from services.profile import app as profile_app
from services.profile.directory import wire
from services.profile.history.jobs import GROUP, ClockJob
from services.segment import app as segment_app
from services.segment.definitions.sql import SqlSegments
from services.segment.membership.sql import Plans
from services.segment.membership.stream import UpdateHandler
from services.segment.membership.wire import update_of
from services.segment.triggers.sql import SqlTriggers
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.profile.v1 import history_service_pb2_grpc, profile_service_pb2_grpc
from tessera.profile.v1 import profile_service_pb2 as profile_pb
from tessera.segment.v1 import membership_service_pb2, membership_service_pb2_grpc, segment_events_pb2
from tests import model
from tests.builders import collected, record_of
from tests.integration.messaging.harness import LEASE_SECONDS, SESSION_SECONDS, until

PARTITIONS = 4
WORKERS = 3
_TICK = 0.05
_SETTLED = """
select (select count(*) = $2 and min(clock) > $1 from segment.partitions)
   and not exists (select from segment.timers as t join segment.partitions as p on t.slot % $2 = p.partition
                   where t.due <= p.clock)
"""
_WRITTEN = """
select coalesce(sum(next_offset), 0) from event_log.partitions join event_log.topics using (topic_id)
where name = $1
"""
Transition = segment_events_pb2.TransitionOccurred


class Clock:
    """Seconds since 1970 that pass when the test says so: the product only looks."""

    def __init__(self, micros: int) -> None:
        self._micros = micros

    def __call__(self) -> float:
        return self._micros / model.SECOND

    def now(self) -> int:
        """Microseconds since 1970, a little more each time: what is told its time here has one of its own."""
        self.pass_by(10)
        return self._micros

    def pass_by(self, micros: int) -> None:
        self._micros += micros


class Collector:
    """Keeps the transitions that are on the log."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        told = [Transition.FromString(record.value) for record in batch.records]
        return Outcome(after_commit=lambda: self.transitions.extend(told))

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        return


@dataclass
class Pipeline:
    """What runs, and ways to send to it and to read back."""

    database: Database
    log: EventLog
    namespace: str
    clock: Clock
    channel: grpc.aio.Channel
    plans: Plans
    collector: Collector = field(default_factory=Collector)
    handlers: list[UpdateHandler] = field(default_factory=list)

    @property
    def segments(self) -> SqlSegments:
        """The definitions of segments."""
        return SqlSegments(self.database, self.plans, self.clock)

    @property
    def triggers(self) -> SqlTriggers:
        """The definitions of triggers."""
        return SqlTriggers(self.database, self.plans, self.clock)

    def profile(self) -> list[Component]:
        """What profile runs beside its API: its workers and the clock."""
        return [
            self._consumer(GROUP, INGEST_EVENTS, PROFILE_DEAD_LETTERS, self._profile_handler),
            ClockJob(self.database, self.log, _TICK, idle_seconds=0),
        ]

    def _profile_handler(self) -> Handler:
        return profile_app.event_handler(self.clock)

    def others(self) -> list[Component]:
        """Segment's workers, who collects what they tell, and the relays where there is an outbox."""
        histories = ProfileHistories(self.channel, update_of)

        def follower() -> UpdateHandler:
            self.handlers.append(UpdateHandler(self.plans, histories, PARTITIONS, self.clock))
            return self.handlers[-1]

        found: list[Component] = [
            self._consumer("segment", PROFILE_UPDATES, SEGMENT_DEAD_LETTERS, follower),
            self._consumer("render", SEGMENT_TRANSITIONS, SEGMENT_DEAD_LETTERS, lambda: self.collector, 1),
        ]
        if isinstance(self.log, KafkaLog):
            found += [
                Relay(self.database, self.log.access, owned_by(s), s, self.namespace, LEASE_SECONDS)
                for s in ("profile", "segment")
            ]
        return found

    def _consumer(
        self, group: str, topic: Topic, letters: Topic, handler: object, workers: int = WORKERS
    ) -> Consumer:
        settings = ConsumerSettings(
            group=group,
            topics=(topic,),
            dead_letters=letters,
            workers=workers,
            batch_records=20,
            tick_seconds=_TICK,
        )
        return Consumer(self.database, self.log, settings, handler)  # type: ignore[arg-type]

    def fired(self) -> list[tuple[str, bytes, int]]:
        """The triggers that fired: definition, cause, time."""
        return [
            (t.definition_id, t.cause_id, micros(t.time))
            for t in self.collector.transitions
            if t.kind == segment_events_pb2.TRANSITION_KIND_TRIGGERED
        ]

    async def send(self, events: Iterable[model.Event]) -> int:
        """Put accepted events on the log; returns when they were acknowledged."""
        received = self.clock.now()
        records = [record_of(_collected(event, received)) for event in events]
        await self.log.publish(INGEST_EVENTS, records)
        return self.clock.now()

    async def settled(self) -> int:
        """Wait until time has passed for everybody beyond now; returns that time."""
        now = self.clock.now()
        self.clock.now()

        async def quiet() -> bool:
            return bool(await self.database.pool.fetchval(_SETTLED, now, PARTITIONS))

        async def told() -> bool:
            return len(self.collector.transitions) == await self._written(SEGMENT_TRANSITIONS)

        await until(quiet, 60, "the clock in segment")
        await until(told, 60, "all transitions")
        return now

    async def dead_letters(self) -> int:
        return await self._written(PROFILE_DEAD_LETTERS) + await self._written(SEGMENT_DEAD_LETTERS)

    async def _written(self, topic: Topic) -> int:
        name = f"{self.namespace}.{topic.name}"
        return int(await self.database.pool.fetchval(_WRITTEN, name) or 0)

    async def profile_ids(self) -> list[str]:
        """Of all who live."""
        service = profile_service_pb2_grpc.ProfileServiceStub(self.channel)
        ids: list[str] = []
        token = ""
        while True:
            request = profile_pb.ListProfilesRequest(page_size=1000, page_token=token)
            page = await service.ListProfiles(request)
            ids += [profile.profile_id for profile in page.profiles]
            token = page.next_page_token
            if not token:
                return ids

    async def profiles(self, ids: Sequence[str]) -> list[tuple[model.Profile, int]]:
        """Some profiles as the API tells them, each with how many others it absorbed."""
        service = profile_service_pb2_grpc.ProfileServiceStub(self.channel)
        found = (await service.BatchGetProfiles(profile_pb.BatchGetProfilesRequest(profile_ids=ids))).profiles
        events: dict[str, list[bytes]] = {id_: [] for id_ in ids}
        histories = history_service_pb2_grpc.HistoryServiceStub(self.channel)
        async for part in histories.ReadHistory(history_pb.ReadHistoryRequest(profile_ids=ids)):
            events[part.profile_id] += [e.event_id for step in part.steps for e in step.events]
        return [
            (
                model.Profile(
                    id_,
                    {wire.identifier_of(identifier) for identifier in pb.identifiers},
                    events[id_],
                    orjson.loads(pb.traits_json or b"{}"),
                    dict(pb.consent),
                ),
                len(pb.absorbed_profile_ids),
            )
            for id_, pb in found.items()
        ]

    async def unassigned(self) -> set[bytes]:
        """The ids of the events that name nobody."""
        service = history_service_pb2_grpc.HistoryServiceStub(self.channel)
        found: set[bytes] = set()
        token = ""
        while True:
            request = history_pb.ListUnassignedEventsRequest(page_size=500, page_token=token)
            page = await service.ListUnassignedEvents(request)
            found |= {event.event_id for event in page.events}
            token = page.next_page_token
            if not token:
                return found

    async def members(self, ids: Sequence[str]) -> dict[str, set[str]]:
        """The segments that some people are in."""
        service = membership_service_pb2_grpc.MembershipServiceStub(self.channel)
        answer = await service.GetMemberships(membership_service_pb2.GetMembershipsRequest(profile_ids=ids))
        found: dict[str, set[str]] = {}
        for membership in answer.memberships:
            found.setdefault(membership.profile_id, set()).add(membership.segment_id)
        return found


def _collected(event: model.Event, received: int) -> object:
    return collected(
        event.name,
        traits=event.traits if event.type == "identify" else None,
        message_id=event.message_id,
        at=event.time,
        received=received,
        browser=not event.trusted,
        consent=event.consent,
        properties=event.properties,
        user_id=event.user_id,
        email=event.email,
        phone=event.phone,
        anonymous_id=event.anonymous_id,
        previous_id=event.previous_id,
    )


@asynccontextmanager
async def open_pipeline(database_url: str, kafka: str, start: int) -> AsyncIterator[Pipeline]:
    """Profile's and segment's schemas, topics and APIs; `kafka` is empty for the log in PostgreSQL."""
    await migrate(database_url, profile_app.SCHEMA)
    await migrate(database_url, segment_app.SCHEMA)
    clock, namespace = Clock(start), f"t{uuid.uuid4().hex[:8]}"
    async with (
        open_database(database_url, "test", pool_size=12) as database,
        _open_log(database, kafka, namespace, clock) as event_log,
    ):
        await event_log.declare(ALL)
        plans = segment_app.plans_of(database, PARTITIONS)
        server = grpc.aio.server()
        for add, servicer in (
            *profile_app.services(database, event_log),
            *segment_app.services_of(database, plans, PARTITIONS),
        ):
            add(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with rpc.open_channel(f"127.0.0.1:{port}") as channel:
                yield Pipeline(database, event_log, namespace, clock, channel, plans)
        finally:
            await server.stop(None)


@asynccontextmanager
async def _open_log(database: Database, kafka: str, namespace: str, clock: Clock) -> AsyncIterator[EventLog]:
    if not kafka:
        yield PostgresLog(database, PARTITIONS, namespace, clock, SESSION_SECONDS)
        return
    access = KafkaAccess(kafka)
    event_log = KafkaLog(
        database, access, PARTITIONS, namespace, clock=clock, session_seconds=SESSION_SECONDS
    )
    try:
        yield event_log
    finally:
        await event_log.close()
