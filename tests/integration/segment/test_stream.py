"""Memberships and triggers by the real log, consumer and database: each point of the design by its name."""

import asyncio
from collections import Counter
from random import Random

import pytest

from libs.database import Connection
from libs.errors import Unavailable
from libs.messaging import Batch, Handler, Record
from libs.messaging.records import Received
from libs.messaging.topics import PROFILE_UPDATES
from services.segment.definitions.sql import all_segments
from services.segment.membership.model import Plan, State
from services.segment.membership.sql import Cache, Plans, SqlStates
from services.segment.triggers.sql import all_triggers
from tessera.profile.v1 import profile_events_pb2
from tessera.segment.v1 import segment_events_pb2
from tests.integration.messaging.harness import running, until
from tests.integration.segment.harness import (
    DAY,
    ENTERED,
    EXITED,
    HOUR,
    PARTITIONS,
    SECOND,
    START,
    TRIGGERED,
    Gate,
    Transition,
    World,
    clock_record,
    event,
    index_of,
    micros,
    pb_of,
    person_in,
    record_of,
)
from tests.model.definitions import SEGMENTS
from tests.model.following import Followed
from tests.model.lives import Lives
from tests.model.trying import assert_tried

RULES = {id_: segment.text for id_, segment in SEGMENTS.items()}


async def _write(world: World, lives: Lives, steps: int) -> None:
    """Tell what happens, step by step, with the histories always ahead of the stream."""
    for _ in range(steps):
        lives.pause()
        steps = lives.step()
        for id_ in {step.profile_id for step in steps}:
            world.profile.histories[id_] = [pb_of(step) for step in lives.histories[id_]]
        await world.profile.tell(*map(pb_of, steps))


async def test_a_backfill_meets_the_stream(world: World) -> None:
    """Segments come and change while several writers write and consumers come and go."""
    writers = [Lives(Random(seed), people=5, first=1000 * seed) for seed in range(1, 5)]
    ids = list(RULES)

    async def define() -> None:
        for number, id_ in enumerate(ids):
            await world.define(id_, RULES[ids[number - 1]])
            await world.define_trigger(id_, "Cart", ["Order"], HOUR)
            await world.profile.tell_time(min(lives.now for lives in writers))
            await world.define(id_, RULES[id_])

    async with running(world.consumer(workers=3)):
        async with running(world.consumer(workers=2)):
            await asyncio.gather(define(), *(_write(world, lives, 60) for lives in writers))
        now = max(lives.now for lives in writers)
        await world.profile.tell_time(now)
        await world.settled()

        async def active() -> bool:
            return all(segment.active for segment in await world.segments.page("", 100))

        await until(active, 10, "all segments are active")
    model = Followed(SEGMENTS, {})
    for lives in writers:
        steps = [step for history in lives.histories.values() for step in history]
        model.batch(steps, lives.histories, lambda _: (now, now))
    expected = {(id_, s) for id_ in list(model.people) for s in model.members(id_, now)}

    assert expected == (await world.members()).keys()
    await world.assert_told()
    tried = sum((lives.tried for lives in writers), Counter())
    assert_tried(tried, "merge", "late", least=4)
    assert world.profile.histories_read > 20
    assert len(await world.transitions(ENTERED)) > 50


async def test_two_owners_for_a_moment_no_owner_for_a_moment(world: World) -> None:
    """A timer fires once."""
    await world.define_trigger("cart", "Cart", ["Order"], HOUR)
    await world.define("carts", 'events("Cart").within("1h").count() > 0')
    people = [person_in(index, number) for index in range(PARTITIONS) for number in range(1, 6)]
    gates: list[Gate] = []

    def gated() -> Gate:
        gates.append(Gate(world.handler()))
        return gates[-1]

    async with running(world.consumer(workers=1, handler=gated)):
        await world.profile.tell_time(START)
        for person in people:
            await world.profile.happen(person, event("Cart", START + SECOND))
        await world.settled()
        gates[0].closed = True
        await world.profile.tell_time(START + 2 * HOUR)
        await gates[0].waiting.wait()
        # The frozen owner holds a transaction that has fired them all, and the next one waits for it.
        async with running(world.consumer(workers=2)):
            joined = "select count(distinct member_id) from event_log.ownerships"
            await until(lambda: _is(world, joined, 2), 10, "two owners")
            gates[0].opened.set()
            await world.settled()
            for person in people:
                await world.profile.happen(person, event("Cart", START + 2 * HOUR))
            await world.settled()
    # Nobody owns anything while the next waits end; whoever comes then finds them due.
    await world.profile.tell_time(START + 4 * HOUR)
    async with running(world.consumer(workers=2)):
        await world.settled()
    fired = await world.transitions(TRIGGERED)
    dues = [START + SECOND + HOUR, START + 3 * HOUR]

    assert sorted((person, due) for person in people for due in dues) == sorted(
        (t.profile_id, micros(t.time)) for t in fired
    )
    assert set(dues) == {micros(t.time) for t in await world.transitions(EXITED)}
    await world.assert_told()


async def _is(world: World, query: str, expected: int) -> bool:
    return bool(expected == await world.database.pool.fetchval(query))


async def test_a_state_replaces_nothing_but_the_one_it_was_computed_from(world: World) -> None:
    person = person_in(0)
    async with world.database.begin() as first, world.database.begin() as second:
        mine, theirs = (SqlStates(connection, Cache(), PARTITIONS) for connection in (first, second))
        my_state = (await mine.load([person])).states[person]
        their_state = (await theirs.load([person])).states[person]
        await mine.save([my_state], [])
        waiting = asyncio.create_task(theirs.save([their_state], []))
        await first.execute("commit")
        with pytest.raises(Unavailable):
            await waiting
        await first.execute("begin")

    assert {person: State(person, writes=1)} == await world.states()


async def test_no_time_passes_while_the_clock_is_withheld(world: World) -> None:
    """Whatever the wall clock says."""
    await world.define_trigger("cart", "Cart", ["Order"], HOUR)
    answered, left = person_in(1), person_in(2)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(answered, event("Cart", START + SECOND))
        await world.profile.happen(left, event("Cart", START + SECOND))
        await world.settled()
        await world.profile.happen(answered, event("Order", START + HOUR))
        await world.settled()
        nothing = await world.transitions()
        await world.profile.tell_time(START + 3 * HOUR)
        await world.settled()

    assert [] == nothing
    assert [(left, START + SECOND + HOUR)] == [
        (t.profile_id, micros(t.time)) for t in await world.transitions()
    ]


async def test_nothing_is_decided_before_the_first_clock(world: World) -> None:
    await world.define("buyers", 'events("Order").within("30d").count() > 0')
    old, new = person_in(1), person_in(2)
    async with running(world.consumer()):
        await world.profile.happen(old, event("Order", START - 40 * DAY))
        await world.profile.happen(new, event("Order", START - DAY))
        await world.settled()
        before = await world.members()
        await world.profile.tell_time(START)
        await world.settled()

    assert {} == before
    assert {(new, "buyers")} == (await world.members()).keys()
    assert 1 == len(await world.transitions())


async def handle(world: World, handler: Handler, index: int, *records: Record) -> list[Transition]:
    """One batch of one partition; returns the transitions."""
    received = [
        Received(PROFILE_UPDATES.name, index, n, r.key, r.type, r.value, r.time, {})
        for n, r in enumerate(records)
    ]
    async with world.database.begin() as connection:
        outcome = await handler.handle(connection, Batch(received, (index,)))
    outcome.after_commit()
    return [Transition.FromString(record.value) for _, told in outcome.output for record in told]


@pytest.mark.parametrize("order", ["absorbed first", "survivor first", "survivor first, in two batches"])
async def test_a_merge_moves_history_between_keys(world: World, order: str) -> None:
    """However the two partitions interleave, nothing comes back to life and nothing acts twice."""
    await world.define_trigger("cart", "Cart", ["Order"], HOUR)
    await world.define("carts", 'events("Cart").within("2h").count() == 1')
    absorbed, survivor = person_in(0), person_in(1)
    one, other = world.handler(), world.handler()
    await handle(world, one, 0, clock_record(START, 0))
    await handle(world, other, 1, clock_record(START, 1))
    cart = event("Cart", START + SECOND, item="shoe")
    await world.profile.happen(absorbed, cart)
    await world.profile.happen(survivor, event("Order", START - DAY))
    for id_, handler in ((absorbed, one), (survivor, other)):
        await handle(world, handler, index_of(id_), record_of(world.profile.histories[id_][0]))
    await world.profile.happen(absorbed, event("View", START + 2 * SECOND))
    await handle(world, one, 0, record_of(world.profile.histories[absorbed][1]))
    told = await world.profile.merge(absorbed, survivor)
    grave = [record_of(u) for u in told if u.profile_id == absorbed]
    moved = [record_of(u) for u in told if u.profile_id == survivor]
    # The absorbed partition's clock passes the due time before the merge is read there.
    early = await handle(world, one, 0, clock_record(START + HOUR + 2 * SECOND, 0))
    late = clock_record(START + HOUR + 3 * SECOND, 1)
    if order == "absorbed first":
        found = [*await handle(world, one, 0, *grave), *await handle(world, other, 1, *moved, late)]
    else:
        batches = [[*moved, late]] if order == "survivor first" else [[*moved[:1], late], moved[1:]]
        found = [t for batch in batches for t in await handle(world, other, 1, *batch)]
        found += await handle(world, one, 0, *grave)
    fired = [t for t in [*early, *found] if t.kind == TRIGGERED]

    assert [(absorbed, cart.event_id, START + SECOND + HOUR, b'{"item":"shoe"}')] == [
        (t.profile_id, t.cause_id, micros(t.time), t.event_properties_json) for t in fired
    ]
    left = [t for t in found if t.kind == EXITED]
    assert [(absorbed, segment_events_pb2.EXIT_REASON_MERGED)] == [
        (t.profile_id, t.exit_reason) for t in left
    ]
    entered = [t for t in found if t.kind == ENTERED]
    assert [(survivor, START + SECOND)] == [(t.profile_id, micros(t.time)) for t in entered]
    states = await world.states()
    assert survivor == states[absorbed].merged_into
    assert {"carts"} == states[survivor].memberships.keys()
    assert {} == states[absorbed].series


async def test_old_orders_enter_people_at_their_own_time_and_trigger_nothing(world: World) -> None:
    """Last year's orders enter people at the time at which it became true, or before all that is known."""
    await world.define_trigger("cart", "Order", ["Refund"], HOUR)
    person, newcomer = person_in(0), person_in(1)
    orders = [event("Order", START - days * DAY) for days in (300, 200, 3)]
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, *orders)
        await world.profile.happen(newcomer, event("View", START - 20 * DAY))
        await world.settled()
        await world.define("buyers", 'events("Order").count() >= 2')
        await world.define("regulars", 'events("Order").count() >= 3')
        await world.define("lookers", 'events("Order").count() == 0')
        await world.settled()
    members = await world.members()

    assert members.keys() == {(person, "buyers"), (person, "regulars"), (newcomer, "lookers")}
    assert members[person, "buyers"] == (START - 7 * DAY, b"")
    assert members[person, "regulars"] == (START - 3 * DAY, orders[2].event_id)
    assert START - 20 * DAY == members[newcomer, "lookers"][0]
    assert [] == await world.transitions(TRIGGERED)


async def test_a_gap_is_closed_from_the_history(world: World) -> None:
    await world.define("buyers", 'events("Order").count() == 3')
    person = person_in(3)
    orders = [event("Order", START - n * HOUR) for n in (3, 2, 1)]
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, orders[0])
        await world.settled()
        for number, order in enumerate(orders[1:], 2):
            update = profile_events_pb2.ProfileUpdated(profile_id=person, revision=number, events=[order])
            world.profile.histories[person].append(update)
        await world.profile.tell(world.profile.histories[person][2])
        await world.settled()

    assert {(person, "buyers"): (START - HOUR, orders[2].event_id)} == await world.members()
    assert 1 == world.profile.histories_read


async def test_a_record_that_is_read_again_changes_nothing(world: World) -> None:
    await world.define("buyers", 'events("Order").count() == 1')
    person = person_in(3)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, event("Order", START))
        await world.settled()
        before = await world.states()
        await world.profile.tell(*world.profile.histories[person])
        await world.profile.tell_time(START)
        await world.settled()
    after = await world.states()

    assert 1 == len(await world.transitions())
    after[person].writes = before[person].writes
    assert before == after


async def test_whom_profile_does_not_know_any_more_leaves(world: World) -> None:
    await world.define("buyers", 'events("Order").count() > 0')
    await world.define("others", 'events("Return").count() == 0')
    person = person_in(3)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, event("Order", START))
        await world.settled()
        del world.profile.histories[person]
        await world.define("spenders", 'events("Order").sum("total") > 1')
        await world.settled()

    assert {} == await world.members()
    assert 2 == len(await world.transitions(EXITED))


async def test_a_deleted_segment_is_left_by_its_members(world: World) -> None:
    await world.define("buyers", 'events("Order").count() > 0')
    await world.define("recent", 'events("Order").within("7d").count() > 0')
    person = person_in(0)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, event("Order", START - DAY))
        await world.settled()
        await world.segments.delete("buyers", 1)
        await world.define("recent", 'events("Order").within("1h").count() > 0')
        await world.settled()
    left = {t.definition_id: (t.exit_reason, micros(t.time)) for t in await world.transitions(EXITED)}

    assert {} == await world.members()
    expected = segment_events_pb2.EXIT_REASON_DEFINITION, START
    assert {"buyers": expected, "recent": expected} == left
    await world.assert_told()


async def test_a_trigger_defined_during_a_wait_fires_with_its_event(world: World) -> None:
    await world.define("carts", 'events("Cart").count() > 0')
    person, past = person_in(0), person_in(1)
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person, event("Cart", START, item="shoe"))
        await world.profile.happen(past, event("Cart", START - HOUR, item="hat"))
        await world.settled()
        world.clock = lambda: START / SECOND + 1800
        await world.define_trigger("cart", "Cart", ["Order"], HOUR)
        await world.settled()
        await world.profile.tell_time(START + 2 * HOUR)
        await world.settled()

    assert [(person, START + HOUR, b'{"item":"shoe"}')] == [
        (t.profile_id, micros(t.time), t.event_properties_json) for t in await world.transitions(TRIGGERED)
    ]


async def test_more_timers_than_a_portion_fire_at_one_clock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.segment.membership.use_cases.DUE_AT_ONCE", 7)
    await world.define("recent", 'events("View").within("1h").count() > 0')
    people = [person_in(index, number) for index in range(PARTITIONS) for number in range(1, 11)]
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        for n, person in enumerate(people):
            await world.profile.happen(person, event("View", START + n))
        await world.settled()
        # One clock and no other after it.
        await world.profile.tell_time(START + DAY)
        await world.settled()
    left = {t.profile_id: micros(t.time) for t in await world.transitions(EXITED)}

    assert {person: START + n + HOUR for n, person in enumerate(people)} == left


async def test_a_worker_with_older_definitions_writes_nothing(world: World) -> None:
    await world.define("buyers", 'events("Order").count() > 0')
    person = person_in(0)
    old = await world.plans.load()
    handler = world.handler()
    await handle(world, handler, 0, clock_record(START, 0))
    await world.define("lookers", 'events("View").count() > 0')
    await world.profile.happen(person, event("View", START))
    await handle(world, handler, 0, record_of(world.profile.histories[person][0]))

    class Lagging(Plans):
        async def newest(self, connection: Connection) -> Plan:
            return old

    lagging = world.handler(Lagging(world.database, all_segments, all_triggers, PARTITIONS))
    await world.profile.happen(person, event("Order", START))

    with pytest.raises(Unavailable):
        await handle(world, lagging, 0, record_of(world.profile.histories[person][1]))
    assert {(person, "lookers")} == (await world.members()).keys()
