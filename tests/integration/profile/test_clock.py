"""The clock record: never beyond what was applied, never held back by imports."""

import asyncio
import random

from libs import times
from libs.messaging.topics import INGEST_IMPORTS
from services.profile.history import wire
from services.profile.history.jobs import ClockJob
from tessera.profile.v1.profile_events_pb2 import ClockAdvanced, ProfileUpdated
from tests.builders import collected, micros
from tests.integration.messaging.harness import running, until
from tests.integration.profile import generated
from tests.integration.profile.harness import PARTITIONS, Deployment, key_for


def _clock(deployment: Deployment) -> ClockJob:
    return ClockJob(deployment.database, deployment.log, seconds=0.02, idle_seconds=0)


async def _told(deployment: Deployment) -> list[tuple[int, int, int]]:
    """Every clock record: partition, offset, time."""
    return [
        (partition, offset, times.micros(ClockAdvanced.FromString(value).time))
        for partition, offset, type_, value in await deployment.topic("profile.updates")
        if type_ == wire.CLOCK
    ]


async def _newest(deployment: Deployment) -> int:
    return max((time for *_, time in await _told(deployment)), default=0)


async def _pass(deployment: Deployment, time: int) -> None:
    """Wait for a clock record beyond a time."""

    async def has_passed() -> bool:
        return await _newest(deployment) > time

    await until(has_passed, 60, "the clock going on")


async def test_all_that_was_acknowledged_before_the_time_stands_before_it_in_the_log(
    deployment: Deployment,
) -> None:
    rng = random.Random(8)
    acknowledged: dict[bytes, int] = {}
    async with running(deployment.consumer(workers=3, batch_records=20), _clock(deployment)):
        for _ in range(6):
            for _ in range(10):
                events = generated.events(rng, 6)
                await deployment.send(*events)
                acknowledged |= {event.event_id: micros() for event in events}
            await _pass(deployment, micros())
    clocks = await _told(deployment)
    places = {
        event.event_id: (partition, offset)
        for partition, offset, type_, value in await deployment.topic("profile.updates")
        if type_ == wire.UPDATED
        for event in ProfileUpdated.FromString(value).events
        if not ProfileUpdated.FromString(value).moved
    }
    for event_id in await deployment.unassigned():
        del acknowledged[event_id]  # it is nobody's: there is nothing to tell of it
    compared = 0

    for partition, offset, time in clocks:
        for event_id, acknowledged_at in acknowledged.items():
            at, place = places[event_id]
            if at == partition and acknowledged_at <= time:
                compared += 1
                assert place < offset
    assert acknowledged.keys() == places.keys()
    # Six times the clock passed all events so far, a quarter of which are in its partition.
    assert compared >= 60 * (1 + 2 + 3 + 4 + 5 + 6)


async def test_every_partition_is_told_and_the_time_only_goes_forward(deployment: Deployment) -> None:
    # Two replicas take turns.
    async with running(deployment.consumer(), _clock(deployment), _clock(deployment)):
        start = micros()

        async def ticked() -> bool:
            return len({time for *_, time in await _told(deployment) if time > start}) >= 3

        await until(ticked, 60, "three ticks")
    by_partition: dict[int, list[int]] = {}
    for partition, _, time in await _told(deployment):
        by_partition.setdefault(partition, []).append(time)

    assert set(range(PARTITIONS)) == set(by_partition)
    assert all(sorted(times) == times for times in by_partition.values())


async def test_the_time_stops_while_a_partition_lags_and_goes_on_after_it(deployment: Deployment) -> None:
    slow, quick = key_for(0), key_for(1)
    await deployment.apply(collected(anonymous_id=slow))
    profile_id = (await deployment.profile(f"a:{slow}")).profile_id
    async with running(deployment.consumer(workers=2), _clock(deployment)):
        async with deployment.database.begin() as connection:
            # Whoever handles the slow one waits for this lock.
            await connection.execute(
                "select 1 from profile.profiles where profile_id = $1 for update", profile_id
            )
            await deployment.send(collected(anonymous_id=slow))
            acknowledged = micros()
            await deployment.send(*(collected(anonymous_id=quick) for _ in range(5)))

            async def quick_one_is_done() -> bool:
                return await deployment.waiting() == 1

            await until(quick_one_is_done, 60, "the other partition's end")
            seen = []
            for _ in range(10):
                seen.append(await _newest(deployment))
                await asyncio.sleep(0.03)
        await deployment.drain()
        await _pass(deployment, acknowledged)

    assert max(seen) < acknowledged


async def test_imports_do_not_hold_the_time_back(deployment: Deployment) -> None:
    old = [collected(user_id=f"user {n % 50}", at=n + 1) for n in range(600)]
    for start in range(0, len(old), 5):
        await deployment.send(*old[start : start + 5], imports=True)
    begun = micros()
    async with running(deployment.consumer(workers=1, batch_records=4), _clock(deployment)):
        await _pass(deployment, begun)
        left = await deployment.waiting(INGEST_IMPORTS.name)
        await deployment.drain()

    assert left > 0


async def test_while_no_event_comes_the_time_is_told_once_a_second(deployment: Deployment) -> None:
    await deployment.apply(*generated.events(random.Random(1), 10))
    clock = ClockJob(deployment.database, deployment.log)

    async def told_after(micros: int, events: int = 0) -> int:
        """How many partitions are told that so much time has passed, in which so many events came."""
        before = len(await _told(deployment))
        await deployment.database.pool.execute(
            "update event_log.offsets set read_through = read_through + $1, "
            "next_offset = next_offset + case partition when 0 then $2::bigint else 0 end "
            "where group_name = 'profile' and topic = 'ingest.events'",
            micros,
            events,
        )
        await clock.tell()
        return len(await _told(deployment)) - before

    assert PARTITIONS == await told_after(0), "a process that starts tells it at once"
    assert 0 == await told_after(200_000)
    assert 0 == await told_after(799_999)
    assert PARTITIONS == await told_after(1)
    assert PARTITIONS == await told_after(1, events=1), "an event does not wait"
    assert 0 == await told_after(1)
