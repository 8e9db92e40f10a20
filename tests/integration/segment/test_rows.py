"""What came of single inputs that went wrong once, by the real database."""

import random
from typing import Any

import pytest

from libs.database.tables import Sweep
from libs.messaging import Record
from libs.operations.model import State as OperationState
from libs.operations.sql import SqlOperations
from services.segment.app import SCHEMA, plans_of, services_of
from services.segment.definitions.model import SegmentDefinition
from services.segment.membership.model import State
from services.segment.membership.sql import Cache, SqlStates
from services.segment.membership.wire import update_of
from tessera.operations.v1 import set_aside_service_pb2 as pb
from tests.integration.messaging.harness import running, until
from tests.integration.segment.harness import (
    DAY,
    ENTERED,
    HOUR,
    PARTITIONS,
    SECOND,
    START,
    TRIGGERED,
    World,
    clock_record,
    event,
    person_in,
    put_segment,
    record_of,
)
from tests.integration.segment.test_stream import handle

WITHDRAWN = 4


async def test_renaming_a_segment_evaluates_nobody(world: World) -> None:
    await world.define("buyers", 'events("Order").count() > 0')
    person = person_in(0)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, event("Order", START))
        await world.settled()
        before = await world.states()
        renamed = SegmentDefinition("buyers", "People who buy", 'events("Order").count() > 0')
        stored = await put_segment(world.segments, renamed)
        await world.settled()
        plan = await world.plans.load()
        after = await world.states()

    assert (2, "People who buy", True) == (stored.version, stored.display_name, stored.active)
    assert ({"buyers": 2}, before[person].plan) == (plan.versions, plan.version)
    assert before[person].writes == after[person].writes


async def test_a_state_that_cannot_be_decoded_is_rebuilt_and_its_process_goes_on(world: World) -> None:
    await world.define("buyers", 'events("Order").count() >= 2')
    await world.define("loyal", 'events("Order").within("30d").count() >= 3')
    bad, good = person_in(0), person_in(0, 1)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        for person in (bad, good):
            await world.profile.happen(person, event("Order", START - DAY), event("Order", START - HOUR))
        await world.settled()
    await world.database.pool.execute(
        "update segment.states set state = '\\xc1ff', plan = 0 where profile_id = $1", bad
    )
    async with running(world.consumer()):
        await world.profile.tell_time(START + HOUR)
        for person in (bad, good):
            await world.profile.happen(person, event("Order", START + HOUR))
        await world.settled()
    members = await world.members()

    assert {(p, s) for p in (bad, good) for s in ("buyers", "loyal")} == members.keys()
    assert 4 == len(await world.transitions(ENTERED))
    assert 0 == await world.database.pool.fetchval("select count(*) from segment.set_aside")
    await world.assert_told()


async def test_whose_history_cannot_be_read_is_set_aside_told_and_rebuilt_when_asked(world: World) -> None:
    await world.define("buyers", 'events("Order").count() == 3')
    bad, good = person_in(1, 1), person_in(1, 2)
    service: Any = services_of(world.database, world.plans, PARTITIONS)[-1][1]
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        for person in (bad, good):
            await world.profile.happen(person, event("Order", START))
        await world.settled()
        world.profile.dirty.add(bad)
        for person in (bad, good):
            history = world.profile.histories[person]
            missed = type(history[0])(profile_id=person, revision=2, events=[event("Order", START)])
            history.append(missed)
            await world.profile.happen(person, event("Order", START))
        await world.profile.tell_time(START + DAY)
        await world.settled()
        aside = (await service.ListSetAsideProfiles(pb.ListSetAsideProfilesRequest(), None)).profiles
        before = await world.members()
        world.profile.dirty.clear()
        await service.RebuildProfiles(pb.RebuildProfilesRequest(profile_ids=[bad]), None)

        async def rebuilt() -> bool:
            return (bad, "buyers") in await world.members()

        await until(rebuilt, 20, "rebuilt")
        left = (await service.ListSetAsideProfiles(pb.ListSetAsideProfilesRequest(), None)).profiles

    assert [(bad, 1)] == [(one.profile_id, one.attempts) for one in aside]
    assert "dirt" in aside[0].reason
    assert {(good, "buyers")} == before.keys()
    assert [] == list(left)
    await world.assert_told()


async def test_states_in_parts_are_read_back_as_they_were(world: World) -> None:
    """Late events, folded ones and a dropped series among them."""
    await world.define("busy", 'events("View").within("2d").count() > 300')
    await world.define("rich", 'events("View").sum("total") > 10.0')
    person, rng = person_in(2), random.Random(5)
    handler, now = world.handler(), START
    await handle(world, handler, 2, *_clock(now, 2))
    for batch in range(40):
        now += rng.choice([HOUR, 8 * HOUR])
        views = [event("View", now - rng.choice([0, 0, HOUR, DAY]) - n, total=n % 7) for n in range(60)]
        await world.profile.happen(person, *views)
        await handle(world, handler, 2, record_of(world.profile.histories[person][-1]), *_clock(now, 2))
        if batch == 30:
            await world.segments.delete("busy", 1)
        if batch % 5 == 0:
            kept = handler._cache.state(person)
            stored = (await world.states())[person]

            assert kept is not None
            assert _undivided(kept) == _undivided(stored)
    parts = await world.database.pool.fetchval("select count(*) from segment.parts")
    rebuilt = State(person)
    plan = await plans_of(world.database, PARTITIONS).load()
    for step in world.profile.histories[person]:
        plan.apply(rebuilt, update_of(step), set())
    plan.advance(rebuilt, now, now)

    assert parts > 3
    assert rebuilt.series.keys() == (await world.states())[person].series.keys()
    assert [s.undivided() for s in rebuilt.series.values()] == [
        s.undivided() for s in (await world.states())[person].series.values()
    ]


def _clock(now: int, index: int) -> list[Record]:
    return [clock_record(now, index)]


def _undivided(state: State) -> object:
    return {series_id: series.undivided() for series_id, series in state.series.items()}


async def test_one_event_of_a_person_with_ten_thousand_in_windows_writes_little_more(world: World) -> None:
    for number in range(10):
        await world.define(f"r{number}", f'events("View").within("{number + 1}d").count() > {number}')
    few, many = person_in(3), person_in(3, 1)
    handler = world.handler()
    await handle(world, handler, 3, *_clock(START, 3))
    for person, count in ((few, 100), (many, 10_000)):
        await world.profile.happen(person, *(event("View", START - n * SECOND) for n in range(count)))
        await handle(world, handler, 3, record_of(world.profile.histories[person][-1]))

    written = {}
    for person in (few, many):
        await world.profile.happen(person, event("View", START + 1))
        await handle(world, handler, 3, record_of(world.profile.histories[person][-1]))
        written[person] = await world.database.pool.fetchval(
            "select octet_length(state) from segment.states where profile_id = $1", person
        )

    assert written[many] < 1.2 * written[few]


async def test_the_cart_is_bought_while_the_reminder_waits_for_its_connector(world: World) -> None:
    await world.define_trigger("cart", "Cart", ["Order"], HOUR, withdraws=True)
    buyer, other = person_in(0), person_in(1)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        for person in (buyer, other):
            await world.profile.happen(person, event("Cart", START + SECOND))
        await world.profile.tell_time(START + 2 * HOUR)
        await world.settled()
        order = event("Order", START + 2 * HOUR, order_id="S-1")
        await world.profile.happen(buyer, order)
        await world.profile.tell_time(START + 3 * HOUR)
        await world.settled()
    fired = {t.profile_id: t.cause_id for t in await world.transitions(TRIGGERED)}
    (withdrawn,) = await world.transitions(WITHDRAWN)

    assert {buyer, other} == fired.keys()
    assert (buyer, "cart", fired[buyer]) == (
        withdrawn.profile_id,
        withdrawn.definition_id,
        withdrawn.cause_id,
    )
    assert (order.event_id, "Order") == (withdrawn.event_id, withdrawn.event_name)


@pytest.mark.parametrize(("days", "left"), [(30, 1), (36, 0)])
async def test_what_was_triggered_is_kept_as_long_as_it_could_happen_again(
    world: World, days: int, left: int
) -> None:
    await world.define_trigger("cart", "Cart", ["Order"], HOUR)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person_in(0), event("Cart", START + SECOND))
        await world.profile.tell_time(START + 2 * HOUR)
        await world.settled()
    await Sweep(world.database, SCHEMA.tables, lambda: START / SECOND + days * 86_400).sweep()

    assert left == await world.database.pool.fetchval("select count(*) from segment.triggered")
    assert 1 == len(await world.transitions(TRIGGERED))


async def test_a_backfill_is_an_operation_that_tells_how_far_it_is(world: World) -> None:
    store = SqlOperations(world.database, "segment")
    first = await world.define("buyers", 'events("Order").count() > 0')
    second = await world.define_trigger("cart", "Cart", ["Order"], HOUR)
    begun = [await store.get(one.backfill) for one in (first, second)]
    async with world.database.begin() as connection:
        await SqlStates(connection, Cache(), PARTITIONS).finish_plan([0, 2], 1)
    half = await store.get(first.backfill)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.settled()

        async def active() -> bool:
            return all(one.active for one in await world.triggers.page("", 10))

        await until(active, 10, "all is computed")
    ended = [await store.get(one.backfill) for one in (first, second)]
    renamed = await put_segment(world.segments, SegmentDefinition("buyers", "B", first.expression))

    assert [("backfill", "buyers", 0, 4), ("backfill", "cart", 0, 4)] == [
        (one.kind, one.subject, one.done, one.total) for one in begun if one
    ]
    assert half is not None
    assert (2, OperationState.RUNNING) == (half.done, half.state)
    assert [(4, OperationState.SUCCEEDED)] * 2 == [(one.done, one.state) for one in ended if one]
    assert first.backfill == renamed.backfill
