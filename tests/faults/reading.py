"""Reads back, through the contracts and from the log, everything that events have led to."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from cli.clients import Clients
from libs.database import open_database
from libs.messaging import EventLog, Partition, Position, PostgresLog, Received, Topic
from libs.messaging.kafka import KafkaLog
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.topics import RENDER_MESSAGES, SEGMENT_TRANSITIONS
from tessera.ingest.v1 import ingest_events_pb2
from tessera.profile.v1 import (
    history_pb2,
    history_service_pb2,
    history_service_pb2_grpc,
    profile_pb2,
    profile_service_pb2,
)
from tessera.render.v1 import message_pb2, message_service_pb2, render_events_pb2
from tessera.segment.v1 import membership_service_pb2, segment_events_pb2
from tests.faults.system import System
from tests.model import Profile

_KINDS = {
    profile_pb2.IDENTIFIER_KIND_USER_ID: "u",
    profile_pb2.IDENTIFIER_KIND_EMAIL: "e",
    profile_pb2.IDENTIFIER_KIND_PHONE: "p",
    profile_pb2.IDENTIFIER_KIND_ANONYMOUS_ID: "a",
}
_PAGE = 500
_PARTITIONS = 8
_READ_SECONDS = 180


@dataclass
class Histories:
    """All living profiles, and every event as it is stored."""

    profiles: list[Profile] = field(default_factory=list)
    events: list[ingest_events_pb2.EventCollected] = field(default_factory=list)
    unassigned: set[bytes] = field(default_factory=set)
    """The ids of the events that name nobody."""
    problems: list[str] = field(default_factory=list)
    """Where a history contradicts itself or its profile."""


@dataclass(frozen=True)
class Members:
    """Who was in which segment, at a time between two."""

    of: dict[str, set[str]]
    at: int
    until: int


async def read_histories(clients: Clients) -> Histories:
    """Every living profile with its whole history."""
    found = Histories()
    service = await clients.profile()
    found.unassigned = await _unassigned(await clients.history())
    token = ""
    while True:
        page = await service.ListProfiles(
            profile_service_pb2.ListProfilesRequest(page_size=_PAGE, page_token=token)
        )
        by_id = {profile.profile_id: profile for profile in page.profiles}
        steps = await _steps(await clients.history(), list(by_id)) if by_id else {}
        for profile_id, profile in by_id.items():
            _take(found, profile, steps[profile_id])
        token = page.next_page_token
        if not token:
            return found


async def _unassigned(service: "history_service_pb2_grpc.HistoryServiceAsyncStub") -> set[bytes]:
    found: set[bytes] = set()
    token = ""
    while True:
        request = history_service_pb2.ListUnassignedEventsRequest(page_size=_PAGE, page_token=token)
        page = await service.ListUnassignedEvents(request)
        found |= {event.event_id for event in page.events}
        token = page.next_page_token
        if not token:
            return found


async def _steps(
    service: "history_service_pb2_grpc.HistoryServiceAsyncStub", profile_ids: list[str]
) -> dict[str, list[history_pb2.HistoryStep]]:
    found: dict[str, list[history_pb2.HistoryStep]] = {profile_id: [] for profile_id in profile_ids}
    request = history_service_pb2.ReadHistoryRequest(profile_ids=profile_ids)
    async for part in service.ReadHistory(request):
        found[part.profile_id] += part.steps
    return found


def _take(found: Histories, profile: profile_pb2.Profile, steps: Sequence[history_pb2.HistoryStep]) -> None:
    events = [event for step in steps for event in step.events]
    revisions = [step.revision for step in steps]
    if revisions != list(range(1, profile.revision + 1)):
        found.problems.append(f"{profile.profile_id} is at {profile.revision}: revisions {revisions}")
    if len(events) != profile.event_count:
        found.problems.append(f"{profile.profile_id}: {len(events)} events, counted {profile.event_count}")
    found.events += events
    found.profiles.append(
        Profile(
            profile_id=profile.profile_id,
            identifiers={f"{_KINDS[i.kind]}:{i.value}" for i in profile.identifiers},
            event_ids=[event.event_id for event in events],
            traits=orjson.loads(profile.traits_json or b"{}"),
            consent=dict(profile.consent),
        )
    )


async def read_members(system: System, clients: Clients, profile_ids: Iterable[str]) -> Members:
    """The memberships of some profiles."""
    ids = list(profile_ids)
    found: dict[str, set[str]] = {}
    at, _ = await clocks(system)
    service = await clients.memberships()
    for first in range(0, len(ids), _PAGE):
        request = membership_service_pb2.GetMembershipsRequest(profile_ids=ids[first : first + _PAGE])
        for membership in (await service.GetMemberships(request)).memberships:
            found.setdefault(membership.profile_id, set()).add(membership.segment_id)
    _, until = await clocks(system)
    return Members(found, at, until)


async def clocks(system: System) -> tuple[int, int]:
    """The least and the greatest time up to which segment has let time pass."""
    async with system.admin() as connection:
        row = await connection.fetchrow("select min(clock), max(clock) from segment.partitions")
        assert row is not None
        return int(row[0] or 0), int(row[1] or 0)


async def read_decisions(clients: Clients) -> list[message_pb2.Message]:
    """Everything that render has decided."""
    service = await clients.messages()
    found: list[message_pb2.Message] = []
    token = ""
    while True:
        page = await service.ListMessages(
            message_service_pb2.ListMessagesRequest(page_size=_PAGE, page_token=token)
        )
        found += page.messages
        token = page.next_page_token
        if not token:
            return found


async def read_transitions(system: System) -> list[segment_events_pb2.TransitionOccurred]:
    """Everything on `segment.transitions`, in order for each person."""
    records = await read_topic(system, SEGMENT_TRANSITIONS)
    return [segment_events_pb2.TransitionOccurred.FromString(record.value) for record in records]


async def read_messages(system: System) -> list[message_pb2.Message]:
    """Everything on `render.messages`."""
    records = await read_topic(system, RENDER_MESSAGES)
    return [render_events_pb2.MessageRendered.FromString(record.value).message for record in records]


async def read_topic(system: System, topic: Topic) -> list[Received]:
    """All records of a topic; copies that a relay shipped again count once, as they do for every reader."""
    async with _open_log(system) as event_log, event_log.subscribe("faults", (topic,)) as subscription:
        async with asyncio.timeout(_READ_SECONDS):
            while len(subscription.assignment.indexes) < _PARTITIONS:
                await subscription.wait(subscription.wakes, 0.1)
            ends = await subscription.ends([Partition(topic.name, i) for i in range(_PARTITIONS)])
            positions = {partition: Position(0) for partition in ends}
            found: list[Received] = []
            while any(positions[partition].offset < end for partition, end in ends.items()):
                reading = await subscription.read(positions, 2000)
                found += reading.records
                positions |= {p: Position(offset) for p, offset in reading.next_offsets.items()}
    return _numbered_once(found)


def _numbered_once(records: list[Received]) -> list[Received]:
    last: dict[int, int] = {}
    found = []
    for record in records:
        if record.number is not None:
            if record.number <= last.get(record.partition, -1):
                continue
            expected = last.get(record.partition, -1) + 1
            assert record.number == expected, (record.topic, record.partition, record.number, expected)
            last[record.partition] = record.number
        found.append(record)
    return found


@asynccontextmanager
async def _open_log(system: System) -> AsyncIterator[EventLog]:
    async with open_database(system.admin_url, "faults") as database:
        if not system.kafka:
            yield PostgresLog(database, _PARTITIONS, system.namespace)
            return
        event_log = KafkaLog(database, KafkaAccess(system.kafka), _PARTITIONS, system.namespace)
        try:
            yield event_log
        finally:
            await event_log.close()


async def dead_letters(system: System) -> int:
    """How many records nobody could handle."""
    async with system.admin() as connection:
        return int(
            await connection.fetchval(
                "select coalesce(sum(next_offset), 0) from event_log.partitions join event_log.topics "
                "using (topic_id) where name like '%dead_letters'"
            )
        )
