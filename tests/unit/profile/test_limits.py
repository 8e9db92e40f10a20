"""The limits of identity, and those that keep a profile small enough to be read with every event."""

from services.profile.consent.model import MOST_PURPOSES
from services.profile.identity.model import BLOCKED_VALUES, MOST_IDENTIFIERS, is_blocked_value
from services.profile.traits.model import MOST_TRAIT_BYTES
from tests.unit.profile.people import MemoryPeople, event


def test_a_profile_has_one_user_id() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "a:shared"), event("u:2", "a:shared"), event("a:shared"))

    assert [["a:shared", "u:1"], ["u:2"]] == people.groups()
    assert 2 == people.holder("u:1").events


def test_an_address_under_two_user_ids_joins_nobody() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:family@x.y"))
    people.apply(event("u:2", "e:family@x.y"))
    people.apply(event("u:3", "e:family@x.y"), event("e:family@x.y", "a:3"))

    assert people.is_blocked("e:family@x.y")
    assert [["a:3"], ["u:1"], ["u:2"], ["u:3"]] == people.groups()


def test_an_address_that_becomes_blocked_in_one_batch_is_blocked_for_good() -> None:
    people = MemoryPeople()
    people.apply(
        event("u:1", "e:1"), event("u:2", "e:1"), event("e:1", "a:1", at=1), event("u:1", "e:1", at=2)
    )

    assert people.is_blocked("e:1")
    assert [["a:1"], ["u:1"], ["u:2"]] == people.groups()


def test_blocked_values_join_nobody_however_they_are_written() -> None:
    people = MemoryPeople()
    for number, value in enumerate(sorted(BLOCKED_VALUES)):
        people.apply(event(f"u:{value}", f"a:{value.upper()} ", at=number))

    assert all(is_blocked_value(f"u: {value} ") for value in BLOCKED_VALUES)
    assert [] == people.groups()
    assert len(BLOCKED_VALUES) == len(people.unassigned)


def test_the_survivor_has_the_user_id_else_is_older() -> None:
    people = MemoryPeople()
    people.apply(event("a:old", number=1), event("a:young", number=2))
    people.apply(event("u:1", number=3))
    old = people.holder("a:old").profile_id
    user = people.holder("u:1").profile_id
    people.apply(event("a:young", "a:old", number=4))
    after_first = people.holder("a:young").profile_id
    people.apply(event("u:1", "a:old", number=5))

    assert old == after_first
    assert user == people.holder("a:young").profile_id
    assert [["a:old", "a:young", "u:1"]] == people.groups()
    assert 5 == people.holder("u:1").events


def test_a_profile_takes_so_many_identifiers_and_no_more() -> None:
    people = MemoryPeople()
    people.apply(*(event("u:1", f"a:d{n}") for n in range(MOST_IDENTIFIERS)))
    people.apply(event("u:1", "a:last", at=1), event("u:1", "a:more", at=1))

    assert MOST_IDENTIFIERS == len(people.holder("u:1").identifiers)
    assert MOST_IDENTIFIERS + 2 == people.holder("u:1").events


def test_a_merge_that_would_hold_too_many_identifiers_is_none() -> None:
    people = MemoryPeople()
    people.apply(*(event("u:1", f"a:d{n}") for n in range(MOST_IDENTIFIERS - 2)))
    people.apply(event("a:x", "a:y"), event("u:1", "a:x"))

    assert ["a:x", "a:y"] in people.groups()


def test_traits_take_up_so_many_bytes_and_no_more() -> None:
    people = MemoryPeople()
    people.apply(*(event("u:1", at=n, traits={f"t{n}": b"1" * 30_000}) for n in range(20)))
    profile = people.holder("u:1")
    taken = sum(len(trait.value or b"") for trait in profile.traits.values())
    people.apply(event("u:1", at=99, traits={"t0": b"2", "last": b"3"}))

    assert MOST_TRAIT_BYTES - 30_100 < taken < MOST_TRAIT_BYTES
    assert b"2" == people.holder("u:1").traits["t0"].value
    assert b"3" == people.holder("u:1").traits["last"].value


def test_a_profile_knows_so_many_purposes_and_no_more() -> None:
    people = MemoryPeople()
    people.apply(*(event("u:1", at=n, consent={f"purpose {n}": True}) for n in range(MOST_PURPOSES + 5)))
    people.apply(event("u:1", at=999, consent={"purpose 0": False, "another": True}))
    consent = people.holder("u:1").consent

    assert MOST_PURPOSES == len(consent)
    assert not consent["purpose 0"].granted
