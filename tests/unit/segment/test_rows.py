"""What came of single inputs that went wrong once, each by its name."""

from collections.abc import Callable
from functools import partial

import msgspec
import orjson
import pytest

from libs.expressions import parse_rule
from services.segment.membership.model import (
    Fact,
    Key,
    Occurrence,
    Plan,
    State,
    Transition,
    TransitionKind,
    Update,
    origin_of,
)
from services.segment.membership.use_cases import Follower
from services.segment.model import Named, names_in, names_never_seen
from services.segment.triggers.model import TriggerDefinition, TriggerMode
from tests.model.events import DAY, HOUR, SECOND
from tests.model.lives import START, profile_id
from tests.unit.segment.fakes import FakeHistories
from tests.unit.segment.test_follower import Streamed, plan_of

ADA, BOB, EVE = profile_id(1), profile_id(2), profile_id(3)
MINUTE = 60 * SECOND
SERVER, BROWSER, PHONE = origin_of(True, 1), origin_of(False, 2), origin_of(False, 3)


def event(
    number: int,
    name: str,
    at: int,
    *,
    received: int = 0,
    origin: int = SERVER,
    view: str = "",
    viewed: str = "",
) -> Occurrence:
    properties = orjson.dumps({"number": number})
    id_ = number.to_bytes(16, "big")
    return Occurrence(id_, name, at, properties, received or at, origin, view, viewed)


def cart(**more: object) -> TriggerDefinition:
    return TriggerDefinition("cart", "", "Cart", ("Order",), HOUR, "", 1, 1, START - DAY, **more)  # type: ignore[arg-type]


def fired(streamed: Streamed, kind: TransitionKind = TransitionKind.TRIGGERED) -> list[int]:
    return [int.from_bytes(t.cause_id, "big") for t in streamed.transitions if t.kind is kind]


# ---- section 3: trust


@pytest.mark.parametrize(("origin", "trusted"), [(SERVER, True), (BROWSER, False)])
async def test_a_transition_knows_whether_its_cause_is_trusted(origin: int, trusted: bool) -> None:
    rules = {
        "carts": 'events("Cart").within("3h").count() > 0',
        "idle": 'events("Cart").count() > 0 && events("Cart").within("3h").count() == 0',
        "known": "true",
    }
    streamed = Streamed(plan_of(rules, [cart()]))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START, origin=origin))
    await streamed.at(START + DAY)
    told = {(t.definition_id, t.kind.value): t.trusted for t in streamed.transitions}

    # The wait is over, the cart leaves its window and somebody is idle: by time alone, with the cart's trust.
    wanted = {("carts", "entered"), ("carts", "exited"), ("idle", "entered"), ("known", "entered")}
    assert dict.fromkeys(wanted | {("cart", "triggered")}, trusted) == told


async def test_the_event_that_decides_is_trusted_or_not_whatever_was_before_it() -> None:
    streamed = Streamed(plan_of({"two": 'events("Order").count() >= 2', "gold": 'traits.plan == "gold"'}))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Order", START - 2), event(2, "Order", START - 1, origin=BROWSER))
    gold = Fact("gold", START, b"x" * 16, None, True)
    await streamed.happen(BOB, event(3, "Order", START, origin=BROWSER), traits=(("plan", gold),))

    assert {"two": False, "gold": True} == {t.definition_id: t.trusted for t in streamed.transitions}


# ---- section 4: arrival decides within the skew


@pytest.mark.parametrize(
    ("ahead", "answered"),
    [(3 * SECOND, True), (301 * SECOND, True), (302 * SECOND, False)],
    ids=["3 s", "within the skew", "beyond it"],
)
async def test_product_added_by_a_browser_whose_clock_is_ahead_and_then_order_completed_by_the_server(
    ahead: int, answered: bool
) -> None:
    """The order comes a second later: of up to five minutes that the clocks differ, arrival decides."""
    streamed = Streamed(plan_of({}, [cart()]))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START + ahead, received=START, origin=BROWSER))
    await streamed.happen(ADA, event(2, "Order", START + SECOND))
    await streamed.at(START + DAY)

    assert ([] if answered else [1]) == fired(streamed)


@pytest.mark.parametrize("orders_origin", [BROWSER, PHONE, SERVER])
async def test_an_order_before_the_cart_by_the_same_clock_is_no_answer(orders_origin: int) -> None:
    """What a browser kept back arrives together, in any order; another clock's order arrived before."""
    received = START + 10 * SECOND if orders_origin == BROWSER else START + SECOND
    streamed = Streamed(plan_of({}, [cart()]))
    await streamed.at(START)
    order = event(1, "Order", START, received=received, origin=orders_origin)
    await streamed.happen(ADA, order)
    await streamed.happen(ADA, event(2, "Cart", START + 5 * SECOND, origin=BROWSER))
    await streamed.at(START + DAY)

    assert [2] == fired(streamed)


# ---- section 5: each event, and what is taken back


@pytest.mark.parametrize("together", [True, False])
async def test_two_orders_within_ten_minutes_fire_once_each(together: bool) -> None:
    thanks = TriggerDefinition("thanks", "", "Order", (), 0, "", 1, 1, START - DAY, TriggerMode.EACH_EVENT)
    streamed = Streamed(plan_of({}, [thanks]))
    await streamed.at(START)
    orders = [event(1, "Order", START + SECOND), event(2, "Order", START + 9 * MINUTE)]
    for batch in [orders] if together else [[order] for order in orders]:
        await streamed.happen(ADA, *batch)
    await streamed.at(START + HOUR)
    await streamed.happen(ADA, event(3, "Order", START + HOUR), event(4, "Order", START + HOUR))
    await streamed.at(START + DAY)

    assert [1, 2, 3, 4] == fired(streamed)
    assert [b'{"number":1}', b'{"number":2}'] == [t.properties for t in streamed.transitions[:2]]


async def test_each_of_several_carts_waits_for_itself() -> None:
    streamed = Streamed(plan_of({}, [cart(mode=TriggerMode.EACH_EVENT)]))
    await streamed.at(START)
    carts = [event(n, "Cart", START + n * 20 * MINUTE) for n in range(1, 7)]
    await streamed.happen(ADA, *carts)
    await streamed.happen(ADA, event(9, "Order", START + 2 * HOUR + 10 * MINUTE))
    await streamed.at(START + DAY)

    assert [1, 2, 3] == fired(streamed)


@pytest.mark.parametrize(
    ("after", "taken_back"),
    [(MINUTE, True), (6 * DAY, True), (8 * DAY, False)],
    ids=["soon", "late", "too late"],
)
async def test_the_cart_is_bought_while_the_reminder_waits_for_its_connector(
    after: int, taken_back: bool
) -> None:
    streamed = Streamed(plan_of({}, [cart(withdraws=True)]))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START), event(2, "Cart", START + MINUTE))
    await streamed.at(START + 2 * HOUR)
    bought = START + MINUTE + HOUR + after
    await streamed.happen(ADA, event(3, "Order", bought))
    await streamed.happen(ADA, event(4, "Order", bought + 1))
    await streamed.at(START + 20 * DAY)

    assert [2] == fired(streamed)
    assert ([2] if taken_back else []) == fired(streamed, TransitionKind.WITHDRAWN)


async def test_a_trigger_that_does_not_say_so_takes_nothing_back() -> None:
    streamed = Streamed(plan_of({}, [cart()]))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START))
    await streamed.at(START + 2 * HOUR)
    await streamed.happen(ADA, event(2, "Order", START + 2 * HOUR))

    assert ([1], []) == (fired(streamed), fired(streamed, TransitionKind.WITHDRAWN))


async def test_an_answer_of_the_survivor_takes_back_what_the_absorbed_profile_has_caused() -> None:
    streamed = Streamed(plan_of({}, [cart(withdraws=True)]))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Cart", START))
    await streamed.at(START + 2 * HOUR)
    await streamed.happen(BOB, event(2, "Order", START + 2 * HOUR))
    await streamed.happen(BOB, event(1, "Cart", START), moved=True)

    assert ([1], [1]) == (fired(streamed), fired(streamed, TransitionKind.WITHDRAWN))


# ---- section 5: any event, views, names never seen


async def test_any_event_and_page_views_can_be_asked_for() -> None:
    rules = {
        "idle": "events().count() == 0",
        "busy": "events().count() >= 3",
        "viewers": "pages().count() > 0",
        "pricing": 'pages("Pricing").count() > 0',
        "screens": 'screens("Pricing").count() > 0',
        "all views": 'events("Page Viewed").count() == 2',
    }
    streamed = Streamed(plan_of(rules))
    await streamed.at(START)
    pages = [
        event(1, "Page Viewed", START, view="page", viewed="Home"),
        event(2, "Page Viewed", START + 1, view="page", viewed="Pricing"),
    ]
    await streamed.happen(ADA, *pages, event(3, "Order", START + 2))
    await streamed.happen(BOB, event(4, "Screen Viewed", START, view="screen", viewed="Pricing"))

    assert {"busy", "viewers", "pricing", "all views"} == (await streamed.state(ADA)).memberships.keys()
    assert {"screens"} == (await streamed.state(BOB)).memberships.keys()


@pytest.mark.parametrize(
    ("name", "nearest", "words"),
    [
        ("Order Complete", ("Order Completed", "Order Cancelled"), "did you mean 'Order Completed'"),
        ("order completed", ("Order Completed",), "did you mean 'Order Completed'"),
        ("page", (), "pages()"),
        ("Zebra", (), "no event named 'Zebra' has ever been seen"),
    ],
)
def test_a_name_never_seen_is_warned_of_with_the_nearest_names(
    name: str, nearest: tuple[str, ...], words: str
) -> None:
    seen = {"event": ["Order Completed", "Order Cancelled", "Viewed"], "page": ["Home"], "screen": []}
    (warning,) = names_never_seen("segment.expression", [("event", name)], seen)  # type: ignore[arg-type]

    assert words in warning.message
    assert nearest[:1] == warning.nearest[:1]
    assert [] == names_never_seen("f", [("event", "Viewed"), ("page", "Home"), ("event", "")], seen)  # type: ignore[arg-type]
    assert [] == names_never_seen("f", [("event", name)], {"event": [], "page": [], "screen": []})


def test_a_trait_never_seen_is_warned_of_with_the_nearest_names() -> None:
    seen: dict[Named, list[str]] = {"event": ["View"], "page": [], "screen": [], "trait": ["country", "plan"]}
    rule = parse_rule('!has(traits.contry) || traits.plan == "gold" && events("View").count() == 0')
    (warning,) = names_never_seen("segment.expression", names_in(rule), seen)

    assert ("TRAIT_NEVER_SEEN", "contry", ("country",)) == (warning.reason, warning.name, warning.nearest)
    assert "no trait named 'contry' has ever been seen; did you mean 'country'?" == warning.message
    assert [] == names_never_seen("f", names_in(parse_rule("size(traits) > 3")), seen)


# ---- section 7: each person stands alone


async def test_one_bad_state_is_rebuilt_and_costs_nobody_else() -> None:
    streamed = Streamed(plan_of({"buyers": 'events("Order").count() == 2'}))
    await streamed.at(START)
    for id_ in (ADA, BOB):
        await streamed.happen(id_, event(1, "Order", START))
    streamed.states.spoilt = {ADA}
    await streamed.follow_all({id_: event(2, "Order", START + 1) for id_ in (ADA, BOB)})

    assert {"buyers"} == (await streamed.state(ADA)).memberships.keys()
    assert {"buyers"} == (await streamed.state(BOB)).memberships.keys()


async def test_a_step_that_cannot_be_read_sets_one_person_aside_until_they_are_rebuilt() -> None:
    streamed = Streamed(plan_of({"buyers": 'events("Order").within("1d").count() > 0'}))
    await streamed.at(START)
    await streamed.happen(ADA, event(1, "Order", START))

    def unreadable() -> Update:
        raise ValueError("dirt")

    streamed.dirty = {BOB}
    whole = partial(Update, ADA, 2, occurrences=(event(2, "Order", START + HOUR),))
    streamed.histories[ADA].append(whole())
    await streamed.follower().follow({BOB: [unreadable], ADA: [whole]}, {0: START + HOUR})
    aside = dict(streamed.states.aside)
    more = await streamed.at(START + 30 * DAY)
    streamed.dirty = set()
    streamed.histories[BOB] = [Update(BOB, 1, occurrences=(event(3, "Order", START + 30 * DAY),))]
    streamed.states.retried = {BOB}
    await streamed.follower().rebuild([0], 10)

    assert {BOB: "dirt"} == aside
    assert not more
    assert {} == streamed.states.aside
    assert {"buyers"} == (await streamed.state(BOB)).memberships.keys()
    assert 2 == (await streamed.state(ADA)).revision


async def test_an_evaluation_that_fails_sets_one_person_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = Streamed(plan_of({"buyers": 'events("Order").count() > 0'}))
    await streamed.at(START)
    advance = Plan.advance

    def failing(plan: Plan, state: State, *arguments: object) -> list[Transition]:
        if state.profile_id == BOB:
            raise OverflowError("too much")
        return advance(plan, state, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Plan, "advance", failing)
    await streamed.follow_all({id_: event(1, "Order", START) for id_ in (ADA, BOB, EVE)})

    assert {BOB: "OverflowError: too much"} == streamed.states.aside
    assert {ADA, EVE} == {t.profile_id for t in streamed.transitions}


async def test_properties_that_are_no_json_are_as_if_there_were_none() -> None:
    rules = {"a": 'events("Order").count() > 0', "b": 'events("Order").sum("total") > 0'}
    streamed = Streamed(plan_of(rules))
    await streamed.at(START)
    await streamed.happen(ADA, Occurrence(b"a" * 16, "Order", START, b"{broken"))
    await streamed.happen(BOB, Occurrence(b"b" * 16, "Order", START, b"[1]"))

    assert {} == streamed.states.aside
    assert [("a", START), ("a", START)] == streamed.told(TransitionKind.ENTERED)


@pytest.mark.parametrize("why", ["a gap", "a new rule"])
async def test_a_rebuild_that_takes_longer_than_its_deadline_goes_on_where_it_was(why: str) -> None:
    rules = {"many": 'events("View").count() == 12', "few": 'events("View").count() == 5'}
    streamed = Streamed(plan_of(rules if why == "a gap" else {"x": 'events("Other").count() > 0'}))
    await streamed.at(START)
    if why == "a gap":
        streamed.histories[ADA] = []
        for number in range(1, 12):
            update = Update(ADA, number, occurrences=(event(number, "View", START + number),))
            streamed.histories[ADA].append(update)
    else:
        for number in range(1, 12):
            await streamed.happen(ADA, event(number, "View", START + number))
        streamed.plan = plan_of(rules, version=2, since=2)
    streamed.transitions.clear()
    streamed.at_once = 3
    await streamed.happen(ADA, event(12, "View", START + 12))
    portions = 0
    while (followed := await streamed.follower().pass_time([0])) is not None:
        streamed.transitions += followed.transitions
        portions += 1
        assert portions < 10

    assert 3 <= portions <= 5
    assert [("many", START + 12)] == [t for t in streamed.told(TransitionKind.ENTERED) if t[0] == "many"]
    assert "few" not in {t.definition_id for t in streamed.transitions}
    assert 12 == (await streamed.state(ADA)).revision


# ---- section 7: growth


def test_five_hundred_distinct_trait_names_leave_the_choice_of_rules_on() -> None:
    rules = {f"r{n}": f'traits.t{n} == "x"' for n in range(700)} | {"any": "size(traits) > 900"}
    plan = plan_of({id_: rule for id_, rule in rules.items() if id_ != "any"})
    state = State(ADA)
    plan.advance(state, START)
    for number in range(1, 701):
        fact = Fact("x", START, number.to_bytes(16, "big"))
        touched: set[Key] = set()
        traits = ((f"t{number - 1}", fact), (f"unread{number}", fact))
        plan.apply(state, Update(ADA, number, traits=traits), touched)
        asked, held = plan._readers.holding(state, START, touched)

        assert {f"r{number - 1}"} == asked == held


def test_more_sets_of_series_than_are_kept_are_asked_series_by_series() -> None:
    rules = {
        f"r{n}": f'events("View").where(properties.number % {2 ** (n + 1)} >= {2**n}).count() > 0'
        for n in range(12)
    } | {f"other{n}": f'events("Other {n}").count() > 0' for n in range(40)}
    plan = plan_of(rules)
    for number in range(1, 1500):
        state = State(ADA)
        touched: set[Key] = set()
        update = Update(ADA, 1, occurrences=(event(number, "View", START),))
        plan.apply(state, update, touched)
        asked, held = plan._readers.holding(state, START, touched)
        wanted = {f"r{n}" for n in range(12) if number & 2**n}

        assert wanted == held
        assert asked == wanted or not wanted


async def test_traits_that_no_rule_reads_are_not_kept_and_one_that_a_new_rule_reads_is_brought_back() -> None:
    streamed = Streamed(plan_of({"gold": 'traits.plan == "gold"'}))
    await streamed.at(START)
    facts = {name: Fact("gold", START - HOUR, b"a" * 16) for name in ("plan", "level", "note")}
    await streamed.happen(ADA, event(1, "Identified", START - HOUR), traits=tuple(facts.items()))
    first = (await streamed.state(ADA)).traits.keys()
    streamed.plan = plan_of({"level": 'traits.level == "gold"'}, version=2, since=2)
    await streamed.follower().catch_up([0], 10)
    second = await streamed.state(ADA)

    assert ({"plan"}, {"level"}) == (first, second.traits.keys())
    assert START - HOUR == second.memberships["level"].entered


@pytest.mark.parametrize("rebuilt", [False, True])
async def test_enter_time_is_what_was_told_whatever_comes_later_and_after_a_rebuild(rebuilt: bool) -> None:
    streamed = Streamed(plan_of({"buyers": 'events("Order").within("30d").count() >= 2'}))
    await streamed.at(START)
    for number, at in enumerate((START - DAY, START - 2 * DAY, START - 3 * DAY), 1):
        await streamed.happen(ADA, event(number, "Order", at))
    if rebuilt:
        streamed.states.aside[ADA] = ""
        streamed.states.retried = {ADA}
        await streamed.follower().rebuild([0], 10)
    told = streamed.told(TransitionKind.ENTERED)

    assert [("buyers", START - DAY)] == told
    assert START - DAY == (await streamed.state(ADA)).memberships["buyers"].entered


def _bytes_of(plan: Plan, kept: int) -> int:
    """What 300 single events of somebody with `kept` events in windows write."""
    state = State(ADA)
    plan.advance(state, START)
    many = [event(n, "View", START + n) for n in range(kept)]
    plan.apply(state, Update(ADA, 1, occurrences=tuple(many)), set())
    plan.advance(state, START + kept, START + kept)
    _write(state)
    written = 0
    for number in range(1, 301):
        at = START + kept + number
        touched: set[Key] = set()
        plan.apply(state, Update(ADA, number + 1, occurrences=(event(kept + number, "View", at),)), touched)
        plan.advance(state, at, at, touched)
        written += _write(state)
    return written


def _write(state: State) -> int:
    """The bytes that storing it takes."""
    written, heads = 0, dict(state.series)
    for series_id, series, _ in state.divided():
        parts, _ = series.changed_parts()
        written += sum(len(msgspec.msgpack.encode(part)) for part in parts.values())
        heads[series_id] = series.head()
    return written + len(msgspec.msgpack.encode(msgspec.structs.replace(state, series=heads)))


def test_an_event_of_somebody_with_ten_thousand_rewrites_what_it_touches() -> None:
    rules = {f"r{n}": f'events("View").within("{n + 1}d").count() > {n}' for n in range(20)}
    plan = plan_of(rules)

    assert _bytes_of(plan, 10_000) < 1.2 * _bytes_of(plan, 150)


async def test_a_history_that_cannot_be_read_leaves_the_others_of_its_call_alone() -> None:
    streamed = Streamed(plan_of({"buyers": 'events("Order").count() == 2'}))
    await streamed.at(START)
    updates: dict[str, list[Callable[[], Update]]] = {}
    for id_ in (ADA, BOB):
        steps = [Update(id_, n, occurrences=(event(n, "Order", START),)) for n in (1, 2)]
        streamed.histories[id_] = steps
        updates[id_] = [partial(Update, id_, 2, occurrences=steps[1].occurrences)]
    histories = FakeHistories(streamed.histories)
    histories.unreadable = {ADA}
    follower = Follower(streamed.plan, streamed.states, histories, streamed.states.index_of)
    followed = await follower.follow(updates, {})

    assert [BOB] == [t.profile_id for t in followed.transitions]
    assert {ADA: "dirt"} == streamed.states.aside
