"""Single points of following a stream that random lives hit seldom."""

import time
from collections.abc import Sequence

import orjson
import pytest

from services.segment.definitions.model import SegmentDefinition
from services.segment.membership import use_cases as following
from services.segment.membership.model import (
    Fact,
    Key,
    Occurrence,
    Plan,
    State,
    TrackedSeries,
    TrackedTrait,
    Transition,
    TransitionKind,
    Update,
    needed_series,
    needed_traits,
)
from services.segment.membership.model import plan as evaluation
from services.segment.membership.use_cases import Follower
from services.segment.membership.wire import update_of
from services.segment.triggers.model import TriggerDefinition
from tessera.profile.v1.profile_events_pb2 import ConsentChange, ProfileUpdated
from tessera.profile.v1.profile_pb2 import Consent, ConsentProof
from tests.builders import collected
from tests.model.events import DAY, HOUR, SECOND
from tests.model.lives import START, profile_id
from tests.unit.segment.fakes import FakeHistories, FakeStates
from tests.unit.segment.telling import by_profile

ADA, BOB = profile_id(1), profile_id(2)


def plan_of(
    rules: dict[str, str], triggers: Sequence[TriggerDefinition] = (), version: int = 1, since: int = 1
) -> Plan:
    """A plan; `since` is the version that began to track its series."""
    segments = [SegmentDefinition(id_, "", rule, 1, version) for id_, rule in rules.items()]
    needed = needed_series(segments, triggers)
    return Plan(
        version,
        segments,
        triggers,
        [TrackedSeries(number, series, keep, since) for number, (series, keep) in enumerate(needed.items())],
        [TrackedTrait(name, since) for name in needed_traits(segments, triggers)],
    )


def event(number: int, name: str, at: int, **properties: object) -> Occurrence:
    return Occurrence(number.to_bytes(16, "big"), name, at, orjson.dumps(properties))


class Streamed:
    """One partition, and what its stream did."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.states = FakeStates(1)
        self.histories: dict[str, list[Update]] = {}
        self.transitions: list[Transition] = []
        self.dirty: set[str] = set()
        self.at_once = 1_000_000

    async def follow_all(self, events: dict[str, Occurrence]) -> None:
        """Something happens to several people in one batch."""
        updates = []
        for id_, one in events.items():
            history = self.histories.setdefault(id_, [])
            history.append(Update(id_, len(history) + 1, occurrences=(one,)))
            updates.append(history[-1])
        await self.follow(updates)

    async def happen(self, id_: str, *events: Occurrence, **more: object) -> None:
        history = self.histories.setdefault(id_, [])
        history.append(Update(id_, len(history) + 1, occurrences=events, **more))  # type: ignore[arg-type]
        await self.follow([history[-1]])

    async def follow(self, updates: Sequence[Update], clock: int | None = None) -> bool:
        followed = await self.follower().follow(by_profile(updates), {} if clock is None else {0: clock})
        self.transitions += followed.transitions
        return followed.more

    async def at(self, clock: int) -> bool:
        return await self.follow([], clock)

    async def rest(self) -> int:
        """What maintenance does until nobody is due; returns in how many portions."""
        portions = 0
        while (followed := await self.follower().pass_time([0])) is not None:
            self.transitions += followed.transitions
            portions += 1
        return portions

    async def state(self, id_: str) -> State:
        return (await self.states.load([id_])).states[id_]

    def told(self, kind: TransitionKind) -> list[tuple[str, int]]:
        return [(t.definition_id, t.time) for t in self.transitions if t.kind is kind]

    def follower(self) -> Follower:
        histories = FakeHistories(self.histories)
        histories.unreadable, histories.at_once = self.dirty, self.at_once
        return Follower(self.plan, self.states, histories, self.states.index_of)


async def test_thirty_days_pass_in_milliseconds_and_end_to_the_microsecond() -> None:
    streamed = Streamed(plan_of({"recent": 'events("Order").within("30d").count() > 0'}))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Order", START + 7))
    begun = time.perf_counter()
    await streamed.at(START + 30 * DAY + 6)
    before = list(streamed.transitions)
    await streamed.at(START + 30 * DAY + 7)
    seconds = time.perf_counter() - begun

    assert [("recent", START + 7)] == [(t.definition_id, t.time) for t in before]
    assert [("recent", START + 30 * DAY + 7)] == streamed.told(TransitionKind.EXITED)
    assert seconds < 0.5


async def test_a_late_event_whose_window_is_over_enters_nobody() -> None:
    streamed = Streamed(plan_of({"recent": 'events("View").within("1h").count() > 0'}))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "View", START))
    await streamed.at(START + 3 * HOUR)
    await streamed.at(START + 9 * HOUR)
    streamed.transitions.clear()
    await streamed.happen(ADA, event(2, "View", START + 5 * HOUR), event(3, "View", START + 5 * HOUR + 1))
    await streamed.at(START + 10 * HOUR)

    assert [] == streamed.transitions


async def test_an_irrelevant_late_event_does_not_change_when_a_membership_ended() -> None:
    rules = {"recent": 'events("View").within("1h").count() > 0', "x": 'events("Order").count() > 9'}
    streamed = Streamed(plan_of(rules))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "View", START))
    update = Update(ADA, 2, occurrences=(event(2, "Order", START - 5 * DAY),))
    await streamed.follow([update], START + 2 * HOUR)

    assert [("recent", START + HOUR)] == streamed.told(TransitionKind.EXITED)


async def test_consent_that_is_given_or_taken_decides_the_time() -> None:
    streamed = Streamed(plan_of({"mail": 'consent.email && events("Order").count() > 0'}))

    async def consents(number: int, at: int, granted: bool) -> None:
        said = event(number, "Identified", at)
        await streamed.happen(ADA, said, consent=(("email", Fact(granted, at, said.event_id)),))

    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Order", START - 3 * DAY))
    await consents(2, START - HOUR, True)
    await consents(3, START - SECOND, True)
    await consents(4, START, False)

    assert [("mail", START - HOUR)] == streamed.told(TransitionKind.ENTERED)
    assert [("mail", START)] == streamed.told(TransitionKind.EXITED)


@pytest.mark.parametrize("together", [True, False])
async def test_consent_counts_from_the_event_that_said_so_whatever_comes_with_it(together: bool) -> None:
    """Profile was away: what had happened meanwhile comes in one batch, or one after another."""
    wait = TriggerDefinition("view", "", "View", (), HOUR, "consent.email", 1, 1, START - DAY)
    streamed = Streamed(plan_of({"mail": "consent.email"}, [wait]))
    events = [
        collected("View", at=START),
        collected("Asked", at=START + HOUR // 2, consent={"email": True, "sms": False}),
        collected("Left", at=START + 2 * HOUR),
    ]
    steps = [events] if together else [[event] for event in events]
    updates = [
        ProfileUpdated(
            profile_id=ADA,
            revision=number,
            events=step,
            consent_changes=[
                ConsentChange(
                    purpose=purpose,
                    consent=Consent(
                        granted=granted, time=event.event_time, proof=ConsentProof(event_id=event.event_id)
                    ),
                )
                for event in step
                for purpose, granted in event.consent.items()
            ],
        )
        for number, step in enumerate(steps, 1)
    ]
    await streamed.at(START)
    await streamed.follow([update_of(update) for update in updates], START + 3 * HOUR)

    assert [("mail", START + HOUR // 2)] == streamed.told(TransitionKind.ENTERED)
    assert [("view", START + HOUR)] == streamed.told(TransitionKind.TRIGGERED)


async def test_a_trait_that_is_said_again_has_held_since_it_was_said_first() -> None:
    streamed = Streamed(plan_of({}))
    await streamed.at(START)
    for number, at in enumerate((START - 5 * DAY, START - SECOND), 1):
        said = Fact("gold", at, number.to_bytes(16, "big"))
        await streamed.happen(ADA, event(number, "Identified", at), traits=(("plan", said),))
    streamed.plan = plan_of({"gold": 'traits.plan == "gold"'}, version=2, since=2)
    await streamed.follower().catch_up([0], 10)
    state = await streamed.state(ADA)

    assert START - 5 * DAY == state.memberships["gold"].entered


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        (1, True, "traits.n == true"),
        (1, "1", 'traits.n == "1"'),
        (2**53, 2**53 + 1, "traits.n == 9007199254740993"),
        ([1], [True], "traits.n == [true]"),
        ({"a": {"b": 1}}, {"a": {"b": True}}, "traits.n.a.b == true"),
        ({"a": 1, "b": 0}, {"b": False, "a": 1}, "traits.n.b == false"),
    ],
    ids=str,
)
async def test_a_trait_whose_type_changes_has_changed_however_deep_inside(
    before: object, after: object, rule: str
) -> None:
    streamed = Streamed(plan_of({"changed": rule}))
    await streamed.at(START)
    for number, value in enumerate((before, after), 1):
        said = Fact(value, START + number, number.to_bytes(16, "big"))
        await streamed.happen(ADA, event(number, "Identified", START + number), traits=(("n", said),))

    assert [("changed", START + 2)] == streamed.told(TransitionKind.ENTERED)


async def test_numbers_too_great_to_add_up_do_not_stop_a_partition() -> None:
    streamed = Streamed(plan_of({"rich": 'events("Order").sum("total") > 100'}))
    await streamed.at(START)
    for number, total in enumerate([1.7e308, 1.7e308, 60, 1e300, -1e300, 60.0], 1):
        await streamed.happen(ADA, event(number, "Order", START - 30 * DAY + number, total=total))
    await streamed.at(START + DAY)
    (series,) = (await streamed.state(ADA)).series.values()

    assert {"rich"} == (await streamed.state(ADA)).memberships.keys()
    assert ((120.0,), 6) == (series.sum, series.count)


@pytest.mark.parametrize("totals", [[1, 1.0], [1.0, 1], [2**53 + 1, 2.0**53], [2.0**53, 2**53 + 1]])
async def test_equal_numbers_are_kept_alike_in_any_order(totals: list[float]) -> None:
    streamed = Streamed(plan_of({"x": 'string(events("Order").max("total")) == "1"'}))
    await streamed.at(START)
    for number, total in enumerate(totals, 1):
        await streamed.happen(ADA, event(number, "Order", START - 30 * DAY, total=total))
    (series,) = (await streamed.state(ADA)).series.values()

    assert (max(map(float, totals)), float) == (series.greatest, type(series.greatest))


async def test_two_people_of_one_batch_do_not_act_twice_for_one_cause() -> None:
    cart = TriggerDefinition("cart", "", "Cart", (), HOUR, "", 1, 1, START - DAY)
    streamed = Streamed(plan_of({}, [cart]))
    await streamed.at(START)
    moved = [Update(id_, 1, occurrences=(event(1, "Cart", START + 1),)) for id_ in (ADA, BOB)]
    await streamed.follow(moved)
    await streamed.at(START + 2 * HOUR)

    assert [("cart", START + 1 + HOUR)] == streamed.told(TransitionKind.TRIGGERED)


async def test_more_window_ends_than_are_gone_through_at_once_keep_their_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "_MOST_STEPS", 10)
    streamed = Streamed(plan_of({"busy": 'events("View").within("1h").count() >= 5'}))
    await streamed.at(START)
    await streamed.happen(ADA, *(event(n, "View", START + n * SECOND) for n in range(1, 101)))
    more = await streamed.at(START + DAY)
    portions = await streamed.rest()

    assert more
    assert portions > 5
    assert [("busy", START + 96 * SECOND + HOUR)] == streamed.told(TransitionKind.EXITED)


async def test_more_people_than_a_portion_become_due_at_one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "DUE_AT_ONCE", 3)
    streamed = Streamed(plan_of({"recent": 'events("View").within("1h").count() > 0'}))
    await streamed.at(START)
    for number in range(10):
        await streamed.happen(profile_id(number), event(number, "View", START + number))
    more = await streamed.at(START + DAY)
    await streamed.rest()

    assert more
    assert [START + HOUR + number for number in range(10)] == sorted(
        time for _, time in streamed.told(TransitionKind.EXITED)
    )


async def test_what_became_due_before_an_event_came_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "DUE_AT_ONCE", 1)
    streamed = Streamed(plan_of({"recent": 'events("View").within("1h").count() > 0'}))
    await streamed.at(START)
    await streamed.happen(BOB, event(1, "View", START))
    await streamed.happen(ADA, event(2, "View", START + 1))
    await streamed.at(START + 2 * HOUR)
    left = streamed.told(TransitionKind.EXITED)
    await streamed.happen(ADA, event(3, "View", START + 2 * HOUR))

    assert [("recent", START + HOUR)] == left
    assert [("recent", START + HOUR), ("recent", START + HOUR + 1)] == streamed.told(TransitionKind.EXITED)
    assert ("recent", START + 2 * HOUR) == streamed.told(TransitionKind.ENTERED)[-1]


async def test_a_wait_that_was_over_before_its_new_trigger_was_taken_up_fires() -> None:
    rules = {"carts": 'events("Cart").count() > 0'}
    streamed = Streamed(plan_of(rules))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START, item="shoe"))
    await streamed.happen(BOB, event(2, "Cart", START - 40 * 60 * SECOND))
    await streamed.at(START + 2 * HOUR)
    for id_ in (ADA, BOB):
        await streamed.happen(id_, event(3, "View", START + 2 * HOUR))
    cart = TriggerDefinition("cart", "", "Cart", ("Order",), HOUR, "", 1, 2, START + HOUR // 2)
    streamed.plan = plan_of(rules, [cart], version=2, since=2)
    caught_up = await streamed.follower().catch_up([0], 10)

    assert caught_up is not None
    assert [(ADA, START + HOUR, b'{"item":"shoe"}')] == [
        (t.profile_id, t.time, t.properties) for t in caught_up.transitions
    ]


async def test_what_is_older_than_the_events_kept_singly_is_told_as_of_then() -> None:
    streamed = Streamed(plan_of({"x": 'events("View").count() > 90'}))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Order", START - 40 * DAY), event(2, "Order", START - 20 * DAY))
    streamed.plan = plan_of({"buyers": 'events("Order").within("30d").count() > 0'}, version=2, since=2)
    await streamed.follower().catch_up([0], 10)
    membership = (await streamed.state(ADA)).memberships["buyers"]

    assert (START - 7 * DAY, b"") == (membership.entered, membership.event_id)


async def test_a_rebuild_does_not_make_up_for_a_wait_whose_condition_did_not_hold() -> None:
    cart = TriggerDefinition("cart", "", "Cart", (), HOUR, "traits.vip == true", 1, 1, START - DAY)
    streamed = Streamed(plan_of({}, [cart]))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START))
    await streamed.at(START + HOUR)
    vip = ("vip", Fact(True, START - DAY, b"x" * 16))
    streamed.histories[ADA].append(Update(ADA, 2, traits=(vip,)))
    await streamed.happen(ADA, event(3, "View", START))

    assert 3 == (await streamed.state(ADA)).revision
    assert [] == streamed.transitions


async def test_many_events_of_one_person_do_not_cost_their_square() -> None:
    rules = {"a": 'events("View").within("30d").count() > 3', "b": 'events("View").count() > 40000'}
    wait = TriggerDefinition("cart", "", "View", ("Order",), 30 * DAY, "", 1, 1, START - DAY)
    plan = plan_of(rules, [wait])
    state = State(ADA)
    plan.advance(state, START)
    begun = time.process_time()
    for number in range(50_000):
        at = START + number * 10 * SECOND
        touched: set[Key] = set()
        plan.apply(state, Update(ADA, number + 1, occurrences=(event(number, "View", at),)), touched)
        plan.advance(state, at, at, touched)
    seconds = time.process_time() - begun

    assert {"a", "b"} == state.memberships.keys()
    assert seconds < 15
