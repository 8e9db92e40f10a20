"""Profile's consumer over the real log, and a check that what it stored is exactly what happened."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from libs.database import Database, open_database
from libs.database.migrations import migrate
from libs.messaging import Consumer, ConsumerSettings, EventLog, Handler, PostgresLog, chunks, slot_of
from libs.messaging.topics import ALL, INGEST_EVENTS, INGEST_IMPORTS, PROFILE_DEAD_LETTERS
from libs.times import micros
from services.profile.app import SCHEMA, event_handler
from services.profile.directory.sql import SqlDirectory
from services.profile.directory.wire import identifier_of
from services.profile.history import wire
from services.profile.history.jobs import GROUP
from services.profile.history.sql import SqlHistories
from services.profile.identity.model import Profile
from tessera.ingest.v1.ingest_events_pb2 import EventCollected
from tessera.profile.v1.history_pb2 import HistoryEvent, HistoryStep
from tessera.profile.v1.profile_events_pb2 import ProfileUpdated
from tests.builders import record_of
from tests.integration.messaging.harness import running, until
from tests.model import Event, facts_of

PARTITIONS = 4
_MERGED_AWAY = (
    "select profile_id::text, merged_into::text from profile.profiles where merged_into is not null"
)

_OWNERS = "select identifier, profile_id::text from profile.identities where profile_id is not null"


@dataclass
class Deployment:
    """One database with profile's tables and the log's topics."""

    database: Database
    log: EventLog
    sent: Counter[bytes] = field(default_factory=Counter)

    async def send(self, *events: EventCollected, imports: bool = False) -> None:
        """Put accepted events on the log."""
        self.sent.update(event.event_id for event in events)
        await self.log.publish(INGEST_IMPORTS if imports else INGEST_EVENTS, [record_of(e) for e in events])

    def consumer(
        self,
        handler: Callable[[], Handler] = event_handler,
        *,
        workers: int = 2,
        batch_records: int = 100,
        log: EventLog | None = None,
    ) -> Consumer:
        settings = ConsumerSettings(
            group=GROUP,
            topics=(INGEST_EVENTS,),
            background=(INGEST_IMPORTS,),
            dead_letters=PROFILE_DEAD_LETTERS,
            workers=workers,
            batch_records=batch_records,
            tick_seconds=0.05,
        )
        return Consumer(self.database, log or self.log, settings, handler)

    async def waiting(self, topic: str = INGEST_EVENTS.name) -> int:
        """How many records of a topic the group has not handled."""
        query = (
            "select sum(p.next_offset - coalesce(o.next_offset, 0)) from event_log.partitions as p "
            "join event_log.topics as t using (topic_id) left join event_log.offsets as o "
            "on o.group_name = $1 and o.topic = $2 and o.partition = p.partition where t.name = $3"
        )
        return int(await self.database.pool.fetchval(query, GROUP, topic, f"tessera.{topic}"))

    async def drain(self, *topics: str) -> None:
        """Wait until everything sent has been handled."""
        for topic in topics or (INGEST_EVENTS.name, INGEST_IMPORTS.name):

            async def read_all(topic: str = topic) -> bool:
                return await self.waiting(topic) == 0

            await until(read_all, 120, f"the end of {topic}")

    async def apply(self, *events: EventCollected, **options: object) -> None:
        """Send events and consume until they are handled."""
        await self.send(*events)
        async with running(self.consumer(**options)):  # type: ignore[arg-type]
            await self.drain()

    async def topic(self, name: str) -> list[tuple[int, int, str, bytes]]:
        """All records: partition, offset, type, value."""
        rows = await self.database.pool.fetch(
            "select c.partition, c.next_offset, c.payload from event_log.chunks as c "
            "join event_log.topics using (topic_id) where name = $1 order by partition, next_offset",
            f"tessera.{name}",
        )
        found = []
        for partition, end, payload in rows:
            packed = chunks.decode(payload)
            for offset, (_, type_, value, *_rest) in enumerate(packed, end - len(packed)):
                found.append((partition, offset, type_, value))
        return found

    async def updates(self) -> dict[str, list[ProfileUpdated]]:
        """What the topic says of each profile, in its order."""
        told: dict[str, list[ProfileUpdated]] = defaultdict(list)
        for partition, _, type_, value in await self.topic("profile.updates"):
            if type_ == wire.UPDATED:
                update = ProfileUpdated.FromString(value)
                assert partition == slot_of(update.profile_id.encode()) % PARTITIONS
                told[update.profile_id].append(update)
        return told

    async def histories(self, profile_ids: Iterable[str]) -> dict[str, tuple[int, list[HistoryStep]]]:
        """Whole histories, each with the revision that it is of."""
        found: dict[str, tuple[int, list[HistoryStep]]] = {}
        steps: dict[str, list[HistoryStep]] = defaultdict(list)
        async for part in SqlHistories(self.database).read(list(profile_ids), {}):
            steps[part.profile_id] += [wire.step_pb(part.profile_id, step) for step in part.steps]
            if part.revision is not None:
                found[part.profile_id] = part.revision, steps[part.profile_id]
        return found

    async def unassigned(self) -> list[bytes]:
        """The ids of the events that name nobody."""
        rows = await self.database.pool.fetch("select event_id from profile.unassigned_events")
        return [row[0].bytes for row in rows]

    async def profiles(self) -> list[Profile]:
        """All who live."""
        first = "00000000-0000-0000-0000-000000000000"
        directory = SqlDirectory(self.database)
        ids = [profile_id for profile_id, _ in await directory.page(first, 100_000)]
        return list((await directory.get(ids)).values())

    async def profile(self, identifier: str) -> Profile:
        found = await SqlDirectory(self.database).find(identifier)
        assert found is not None, f"nobody has {identifier}"
        return found


@asynccontextmanager
async def deployed(database_url: str) -> AsyncIterator[Deployment]:
    """A deployment in a database that has the log's tables."""
    await migrate(database_url, SCHEMA)
    async with open_database(database_url, "test", pool_size=12) as database:
        log = PostgresLog(database, PARTITIONS, session_seconds=2)
        await log.declare(ALL)
        yield Deployment(database, log)


def key_for(partition: int, kind: str = "device") -> str:
    """An id whose stream is in this partition; with two workers, even and odd ones differ in worker."""
    return next(k for n in range(1000) if slot_of((k := f"{kind} {n}").encode()) % PARTITIONS == partition)


async def assert_exact(deployment: Deployment) -> None:
    """Everything sent is applied once; the topic, the histories and the profiles tell the same story."""
    told = await deployment.updates()
    dead: dict[str, str] = {row[0]: row[1] for row in await deployment.database.pool.fetch(_MERGED_AWAY)}
    living = {profile.profile_id: profile for profile in await deployment.profiles()}
    histories = await deployment.histories(told)
    applied = Counter(e.event_id for _, steps in histories.values() for step in steps for e in step.events)
    applied.update(await deployment.unassigned())

    owners = {row[0]: row[1] for row in await deployment.database.pool.fetch(_OWNERS)}

    assert {i: p.profile_id for p in living.values() for i in p.identifiers} == owners
    assert set(deployment.sent) == set(applied)
    assert {1} == set(applied.values()) or not applied
    assert told.keys() == living.keys() | dead.keys()
    for profile_id, updates in told.items():
        revision, steps = histories[profile_id]

        assert list(range(1, len(updates) + 1)) == [update.revision for update in updates]
        assert len(updates) == revision
        if profile_id in dead:
            assert dead[profile_id] in living
            assert [dead[profile_id]] == [step.merged_into for step in steps] or steps[0].merged_into in dead
        else:
            assert [told_again(update) for update in updates] == steps
            _assert_replayed(living[profile_id], steps)


def told_again(update: ProfileUpdated) -> HistoryStep:
    """As a history tells it: there is no `more` to it."""
    again = HistoryStep.FromString(update.SerializeToString())
    again.DiscardUnknownFields()
    return again


def _assert_replayed(profile: Profile, steps: Sequence[HistoryStep]) -> None:
    traits: dict[str, bytes] = {}
    consent: dict[str, bool] = {}
    identifiers: list[str] = []
    for step in steps:
        if step.moved:
            continue
        traits |= {change.name: change.value_json for change in step.trait_changes}
        consent |= {change.purpose: change.consent.granted for change in step.consent_changes}
        identifiers += [identifier_of(i) for i in step.identifiers_added]
        for lost in step.identifiers_removed:
            identifiers.remove(identifier_of(lost))
    events = [event for step in steps for event in step.events]

    assert {n: t.value or b"" for n, t in profile.traits.items()} == traits
    assert {purpose: choice.granted for purpose, choice in profile.consent.items()} == consent
    assert sorted(profile.identifiers) == sorted(identifiers)
    assert profile.events == len(events)
    assert _last_writers(events) == {n: v for n, v in traits.items() if n != "email"}


def _last_writers(events: Iterable[HistoryEvent]) -> dict[str, bytes]:
    """What the events themselves say, by the model."""
    said_by = ((e, orjson.loads(e.traits_json or b"{}")) for e in events)
    facts = facts_of(
        Event(e.message_id, micros(e.event_time), type="identify", traits=traits) for e, traits in said_by
    )
    said = {name: said.value for name, said in facts.traits.items() if name != "email"}
    return {name: b"" if value is None else orjson.dumps(value) for name, value in said.items()}
