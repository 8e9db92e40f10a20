"""Ingest to membership: events a second end to end, where the processor time goes, and latency."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from bench import load, stack
from cli import lag
from cli.clients import Clients
from tessera.ingest.v1 import event_pb2
from tessera.ingest.v1 import ingest_service_pb2 as ingest
from tessera.profile.v1 import profile_pb2
from tessera.profile.v1 import profile_service_pb2 as profile
from tessera.segment.v1 import membership_service_pb2 as membership
from tessera.segment.v1 import segment_pb2
from tessera.segment.v1 import segment_service_pb2 as segment

SERVICES = ("ingest", "profile", "segment")
_CLIENTS = 4
_PEOPLE = 20_000


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one run measured."""

    events: int
    acknowledged_per_second: float
    events_per_second: float
    """From the first event sent to the last membership written."""
    cpu_us_per_event: dict[str, float]
    memberships: int


async def throughput(events: int, log: str = "postgres") -> Throughput:
    """Send events as fast as they are acknowledged, and wait until all have had their effects."""
    with stack.event_log(log) as given:
        async with stack.running(SERVICES, given) as clients:
            key = await stack.write_key(clients)
            await define(clients, load.segments(100))
            return await _measured(clients, key, list(load.batches(events, _PEOPLE)))


async def throughput_of_known(events: int, people: int) -> Throughput:
    """The same where everybody has been there before, with the one device that they use.

    So whoever they are, and however many, their events are of one kind.
    """
    async with stack.running(SERVICES) as clients:
        key = await stack.write_key(clients)
        await define(clients, load.segments(100))
        await _send(clients, key, load.first_events(people))
        await lag.drain(clients.running, "segment")
        return await _measured(clients, key, list(load.batches(events, people, devices=1)))


async def _measured(clients: Clients, key: str, batches: list[list[event_pb2.Event]]) -> Throughput:
    events = sum(map(len, batches))
    before, started = stack.cpu_seconds(clients), time.perf_counter()
    await _send(clients, key, batches)
    acknowledged = time.perf_counter() - started
    await lag.drain(clients.running, "segment")
    total = time.perf_counter() - started
    after = stack.cpu_seconds(clients)
    listed = await (await clients.segment()).ListSegments(segment.ListSegmentsRequest(page_size=500))
    return Throughput(
        events,
        events / acknowledged,
        events / total,
        {name: (after[name] - before[name]) / events * 1e6 for name in after},
        sum(one.member_count for one in listed.segments),
    )


async def memory(events: int) -> tuple[int, int]:
    """The memory of a whole Tessera at rest, and after so many events, in bytes."""
    async with stack.running() as clients:
        await asyncio.sleep(10)
        rest = stack.memory_bytes(clients)
        key = await stack.write_key(clients)
        await define(clients, load.segments(100))
        await _send(clients, key, load.batches(events, _PEOPLE))
        await lag.drain(clients.running)
        await asyncio.sleep(10)
        return rest, stack.memory_bytes(clients)


async def latency(seconds: float, per_second: int = 500) -> list[float]:
    """Seconds from an event's acknowledgement to its readable membership, under a steady load."""
    async with stack.running(SERVICES) as clients:
        key = await stack.write_key(clients)
        probe = segment_pb2.Segment(segment_id="probe", expression='events("Probe").count() > 0')
        await define(clients, [*load.segments(100), probe])
        background = asyncio.create_task(steady(clients, key, seconds, per_second))
        found = []
        for number in itertools.count():
            if background.done():
                break
            found.append(await _probe(clients, key, f"probe-{number}"))
            await asyncio.sleep(0.05)
        await background
        return sorted(found)


async def define(clients: Clients, segments: list[segment_pb2.Segment]) -> None:
    """Put segments."""
    stub = await clients.segment()
    for one in segments:
        await stub.UpdateSegment(segment.UpdateSegmentRequest(segment=one, allow_missing=True))


async def _send(clients: Clients, key: str, batches: Iterable[list[event_pb2.Event]]) -> None:
    stub = await clients.ingest()
    waiting = iter(batches)

    async def client() -> None:
        for batch in waiting:
            answer = await stub.CollectEvents(ingest.CollectEventsRequest(write_key=key, events=batch))
            assert answer.accepted == len(batch), answer.rejections

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))


async def steady(clients: Clients, key: str, seconds: float, per_second: int) -> None:
    """Send batches of 25 events at an even pace."""
    stub = await clients.ingest()
    size = 25
    started = time.perf_counter()
    for number, batch in enumerate(load.batches(int(seconds * per_second), _PEOPLE, size)):
        await asyncio.sleep(max(0.0, started + number * size / per_second - time.perf_counter()))
        await stub.CollectEvents(ingest.CollectEventsRequest(write_key=key, events=batch))


async def _probe(clients: Clients, key: str, user: str) -> float:
    event = event_pb2.Event(type=event_pb2.EVENT_TYPE_TRACK, name="Probe", user_id=user, message_id=user)
    await (await clients.ingest()).CollectEvents(ingest.CollectEventsRequest(write_key=key, events=[event]))
    started = time.perf_counter()
    who = profile_pb2.Identifier(kind=profile_pb2.IDENTIFIER_KIND_USER_ID, value=user)
    profiles, segments = await clients.profile(), await clients.memberships()
    profile_id = ""
    while True:
        try:
            if not profile_id:
                found = await profiles.GetProfile(profile.GetProfileRequest(identifier=who))
                profile_id = found.profile.profile_id
            asked = membership.GetMembershipsRequest(profile_ids=[profile_id])
            if (await segments.GetMemberships(asked)).memberships:
                return time.perf_counter() - started
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        await asyncio.sleep(0.001)


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * share))]


def median(values: list[float]) -> float:
    """The middle."""
    return statistics.median(values)
