"""The model itself: it is plain Python of its own, and it tells right from wrong."""

import ast
from pathlib import Path

import pytest

import tests.model
from tests.model import (
    DAY,
    HOUR,
    Due,
    Event,
    Person,
    Profile,
    Segment,
    Trigger,
    assert_fired,
    assert_members,
    assert_people,
    due_triggers,
    exactly,
    members,
    people,
    people_in_order,
    persons,
)

_PRODUCT = {"services", "libs", "connectors", "tessera"}
_CART = Trigger("Cart", ["Order"], HOUR, created=0)
_NOW = 1_700_000_000_000_000


def _event(number: int, time: int = 0, **what: object) -> Event:
    """The larger its number, the later it came."""
    return Event(f"m{number}", _NOW + time, _NOW + time, **what)  # type: ignore[arg-type]


def test_the_model_imports_nothing_of_the_product() -> None:
    files = sorted(Path(tests.model.__file__).parent.glob("**/*.py"))
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {(file.name, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level
                imported.add((file.name, node.module or ""))
    ours = {(file, name) for file, name in imported if name.split(".")[0] in _PRODUCT}
    others = {name for _, name in imported if name.startswith("tests") and not name.startswith("tests.model")}

    assert len(files) >= 6
    assert set() == ours
    assert set() == others


def _groups(found: list[Person]) -> list[list[str]]:
    return sorted(sorted(person.identifiers) for person in found)


def test_identifiers_seen_together_are_one_person_and_blocked_values_nobody() -> None:
    events = [
        _event(1, anonymous_id="a"),
        _event(2, user_id="1", email="x@y.z"),
        _event(3, anonymous_id="a", email="x@y.z"),
        _event(4, user_id="null", anonymous_id="b"),
        _event(5, user_id="NULL "),
    ]

    assert [["a:a", "e:x@y.z", "u:1"], ["a:b"]] == _groups(people(events))
    assert not any(person.limited for person in people(events))


def test_in_order_a_person_has_one_user_id_and_a_shared_address_joins_nobody() -> None:
    events = [
        _event(1, user_id="1", anonymous_id="shared"),
        _event(2, user_id="2", anonymous_id="shared"),
        _event(3, user_id="1", email="family@x.y"),
        _event(4, user_id="2", email="family@x.y"),
        _event(5, email="family@x.y", anonymous_id="new"),
    ]
    found = people_in_order(events)

    assert [["a:new"], ["a:shared", "u:1"], ["u:2"]] == _groups(found)
    assert [["m1", "m3"], ["m2", "m4"], ["m5"]] == sorted([e.message_id for e in p.events] for p in found)
    assert [True] == [person.limited for person in people(events)]


def test_the_last_writer_of_a_trait_is_the_latest_event_and_then_the_greater_id() -> None:
    one, other = (
        _event(n, user_id="1", type="identify", traits={"n": value}) for n, value in ((1, 1), (2, "1"))
    )
    last = max(one, other, key=lambda e: e.event_id)
    removed = _event(3, HOUR, user_id="1", type="identify", traits={"n": None})

    for events in ([one, other], [other, one]):
        assert exactly(last.traits) == exactly(people(events)[0].traits)
    assert {} == people([removed, one, other])[0].traits
    assert 4 == len({exactly(value) for value in (1, 1.0, True, "1")})


def test_the_first_copy_of_an_event_wins() -> None:
    first, second = Event("m", 1, user_id="1"), Event("m", 2, user_id="2")

    assert [["u:1"]] == _groups(people([first, second]))


def test_a_window_ends_at_its_second() -> None:
    recent = {"recent": Segment("", lambda v: bool(v.events("Cart", HOUR)))}
    facts = people([_event(1, name="Cart", user_id="1")])[0].facts

    assert {"recent"} == members(facts, recent, _NOW + HOUR - 1)
    assert set() == members(facts, recent, _NOW + HOUR)


def _due(*events: Event, trigger: Trigger = _CART) -> list[tuple[bytes, bool]]:
    return [
        (due.cause.event_id, due.must) for due in due_triggers(people(events), {"t": trigger}, _NOW + DAY)
    ]


def test_a_wait_that_nothing_ended_must_fire_and_one_that_was_answered_must_not() -> None:
    cart = _event(1, name="Cart", user_id="1")
    in_time, late = (_event(2, time, name="Order", user_id="1") for time in (HOUR, HOUR + 1))
    told_later = Event("m4", _NOW + HOUR, _NOW + 2 * HOUR, name="Order", user_id="1")
    again = _event(3, 9, name="Cart", user_id="1")

    assert [(cart.event_id, True)] == _due(cart)
    assert [] == _due(cart, in_time)
    assert [(cart.event_id, True)] == _due(cart, late)
    assert [(again.event_id, True)] == _due(cart, again)
    assert [(cart.event_id, False)] == _due(cart, told_later)


def test_an_answer_of_somebody_who_is_found_to_be_the_same_later_may_come_too_late() -> None:
    cart = _event(1, name="Cart", anonymous_id="a")
    order = _event(2, 9, name="Order", user_id="1")
    soon, late = (_event(3, time, user_id="1", anonymous_id="a") for time in (10, 2 * HOUR))

    assert [] == _due(cart, order, soon)
    assert [(cart.event_id, False)] == _due(cart, order, late)


def test_a_condition_is_asked_of_what_had_happened_by_then() -> None:
    granted = Trigger("Cart", [], HOUR, 0, "c", lambda v: v.consents("mail"), consent=["mail"])
    cart = _event(1, name="Cart", user_id="1")
    before, after = (_event(2, time, user_id="1", consent={"mail": True}) for time in (-1, HOUR + 1))

    assert [(cart.event_id, True)] == _due(cart, before, trigger=granted)
    assert [(cart.event_id, False)] == _due(cart, after, trigger=granted)
    assert [] == _due(cart, trigger=granted)


def test_whose_events_were_with_the_cause_on_the_way_is_open_where_a_limit_was_met() -> None:
    cart = _event(1, name="Cart", user_id="1", anonymous_id="a")
    order = _event(2, HOUR // 2, name="Order", user_id="2", anonymous_id="a")

    assert [(cart.event_id, False)] == _due(cart, order)


_SENT = [
    _event(1, user_id="1", name="Cart"),
    _event(2, anonymous_id="a", type="identify", traits={"n": 1}),
    _event(3, user_id="1", anonymous_id="a", consent={"mail": True}),
]
_IDS = [event.event_id for event in _SENT]
_RIGHT = {"identifiers": {"u:1", "a:a"}, "event_ids": _IDS, "traits": {"n": 1}, "consent": {"mail": True}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"identifiers": {"u:1"}},
        {"event_ids": _IDS[:2]},
        {"event_ids": [*_IDS, _IDS[0]]},
        {"event_ids": [*_IDS, bytes(16)]},
        {"traits": {"n": 1.0}},
        {"traits": {"n": True}},
        {"consent": {}},
    ],
    ids=str,
)
def test_a_profile_that_is_wrong_in_one_thing_is_found(wrong: dict[str, object]) -> None:
    assert {"exact": 1} == assert_people(_SENT, [Profile("p", **_RIGHT)])  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        assert_people(_SENT, [Profile("p", **{**_RIGHT, **wrong})])  # type: ignore[arg-type]


def test_two_profiles_for_one_person_are_found() -> None:
    apart = [Profile("p", {"u:1"}, _IDS[:1]), Profile("q", {"a:a"}, _IDS[1:], {"n": 1}, {"mail": True})]
    with pytest.raises(AssertionError):
        assert_people(_SENT, apart)


def test_whoever_met_a_limit_must_still_be_with_their_user_id_and_share_nothing() -> None:
    one, two = _event(1, user_id="1", anonymous_id="a"), _event(2, user_id="2", anonymous_id="a")
    ids = [one.event_id, two.event_id]

    for holder in ("12", "21"):
        right = [
            Profile(n, {f"u:{n}"} | ({"a:a"} if n == holder[0] else set()), [event_id])
            for n, event_id in zip("12", ids, strict=True)
        ]
        assert {"limited": 1} == assert_people([one, two], right)
    for wrong in (
        [Profile("p", {"u:1", "a:a", "u:2"}, ids)],
        [Profile("p", {"u:1", "a:a"}, ids), Profile("q", {"u:2"}, [])],
        [Profile("p", {"u:1", "a:a"}, ids[:1]), Profile("q", {"u:2", "a:a"}, ids[1:])],
    ):
        with pytest.raises(AssertionError):
            assert_people([one, two], wrong)


def test_a_refusal_of_others_is_right_only_for_who_shares_their_address() -> None:
    other = _event(1, email="a@example.com", consent={"mail": False})
    ada = _event(2, email="b@example.com", type="identify", traits={"email": "a@example.com"})
    eve = _event(3, email="c@example.com")

    def told(refused: str) -> list[Profile]:
        """What is told where `refused` says no, beside the one who said it."""
        return [
            Profile(
                event.email,
                {f"e:{event.email}"},
                [event.event_id],
                event.traits,
                {"mail": False} if event.email in ("a@example.com", refused) else {},
            )
            for event in (other, ada, eve)
        ]

    assert {"exact": 3} == assert_people([other, ada, eve], told("b@example.com"))
    with pytest.raises(AssertionError):
        assert_people([other, ada, eve], told("c@example.com"))


def test_wrong_members_and_wrong_triggers_are_found() -> None:
    known = persons(_SENT, [Profile("p", **_RIGHT)])  # type: ignore[arg-type]
    segments = {"carts": Segment("", lambda v: bool(v.events("Cart", HOUR)))}
    fired = ("t", _IDS[0], _NOW + HOUR)

    assert_members(known, segments, {"p": {"carts"}}, _NOW)
    assert_members(known, segments, {}, _NOW + HOUR - 1, _NOW + HOUR)
    for wrong in ({}, {"p": {"carts", "x"}}, {"p": {"carts"}, "q": {"carts"}}):
        with pytest.raises(AssertionError):
            assert_members(known, segments, wrong, _NOW)
    assert {"must": 1, "may": 0} == assert_fired(known, {"t": _CART}, [fired], _NOW + HOUR)
    assert_fired(known, {"t": _CART}, [], _NOW, _NOW + HOUR)
    for twice_or_wrong in ([], [fired, fired], [(*fired[:2], 1)], [fired, ("t", _IDS[1], _NOW + HOUR)]):
        with pytest.raises(AssertionError):
            assert_fired(known, {"t": _CART}, twice_or_wrong, _NOW + HOUR)


def test_a_due_trigger_is_named_by_its_cause() -> None:
    cart = _SENT[0]

    assert [Due("t", cart, _NOW + HOUR, True)] == due_triggers(people([cart]), {"t": _CART}, _NOW + HOUR)
    assert ("t", cart.event_id) == Due("t", cart, 0, True).effect
