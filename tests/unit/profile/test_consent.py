"""Consent: what stands in the end, told in any order, by whomever, of whatever address."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.profile.consent.model import ALL_OTHERS, KNOWN_PURPOSES, MOST_CHOICES, MOST_PURPOSES
from services.profile.history import wire
from services.profile.identity.model import Event, Profile
from tests import model
from tests.builders import collected
from tests.model.consent import consent_of
from tests.unit.profile.people import MemoryPeople, event

MAIL, ANALYTICS = "email_marketing", "analytics"
MINUTE = 60_000_000
NOW = 1_700_000_000_000_000


def _says(
    granted: bool, *identifiers: str, at: int = 0, received: int | None = None, **more: object
) -> Event:
    """A statement on marketing mail; times are relative to now, and it is received when it happens."""
    purpose = str(more.pop("purpose", MAIL))
    number = int(str(more.pop("number", 0)))
    return event(
        *(identifiers or ("u:1",)),
        at=NOW + at,
        received=NOW + (at if received is None else received),
        number=number or abs(hash((granted, identifiers, at, received, purpose))) % 2**60,
        consent={purpose: granted},
        **more,  # type: ignore[arg-type]
    )


def _granted(events: Sequence[Event], identifier: str = "u:1", purpose: str = MAIL) -> bool:
    """What holds, which must be the same in every order and batching."""
    found = set()
    for order in itertools.permutations(events):
        for size in (1, len(order)):
            people = MemoryPeople()
            for start in range(0, len(order), size):
                people.apply(*order[start : start + size])
            found.add(people.holder(identifier).consent[purpose].granted)
    assert 1 == len(found), "the order decides"
    return found.pop()


def test_unsubscribe_then_a_browsers_page_view_whose_banner_says_email_marketing_true() -> None:
    banner = [_says(True, "u:1", "a:1", at=n * MINUTE, browser=True) for n in (-5, 1, 9)]

    assert not _granted([_says(False), *banner])


def test_a_server_with_something_newer_undoes_a_withdrawal() -> None:
    assert _granted([_says(True, at=-MINUTE), _says(False), _says(True, at=MINUTE)])


def test_a_server_with_something_older_undoes_nothing_however_late_it_comes() -> None:
    assert not _granted([_says(False), _says(True, at=-60 * MINUTE, received=MINUTE)])


def test_a_browser_grants_what_nobody_has_refused() -> None:
    assert _granted([_says(True, "u:1", "a:1", browser=True)])


def test_a_grant_stamped_four_minutes_ahead_then_an_unsubscribe() -> None:
    assert not _granted([_says(True, at=4 * MINUTE, received=0), _says(False, at=MINUTE)])


def test_an_unsubscribe_by_a_clock_that_is_three_minutes_slow() -> None:
    assert not _granted([_says(True), _says(False, at=-2 * MINUTE, received=MINUTE)])


def test_a_refusal_stamped_ahead_holds_until_its_own_time_is_over() -> None:
    refusal = _says(False, at=4 * MINUTE, received=0)

    assert not _granted([refusal, _says(True, at=MINUTE)])
    assert _granted([refusal, _says(True, at=5 * MINUTE)])


def test_at_equal_times_the_refusal_holds_whatever_the_event_ids() -> None:
    for one, other in ((1, 2), (2, 1)):
        assert not _granted([_says(True, number=one), _says(False, number=other)])


def test_a_refusal_of_last_year_that_an_import_brings_undoes_no_newer_grant() -> None:
    assert _granted([_says(True), _says(False, at=-500_000 * MINUTE, received=MINUTE)])


@pytest.mark.parametrize("purpose", [ANALYTICS, "personalization"])
def test_a_banner_takes_back_what_the_same_device_refused(purpose: str) -> None:
    said = [_says(False, "a:1", browser=True, purpose=purpose)]
    said.append(_says(True, "a:1", at=MINUTE, browser=True, purpose=purpose))

    assert _granted(said, "a:1", purpose)


@pytest.mark.parametrize("refuser", [{}, {"browser": True}])
def test_another_device_takes_back_nothing(refuser: dict[str, bool]) -> None:
    refused = _says(False, "u:1", "a:1", purpose=ANALYTICS, **refuser)
    other = _says(True, "u:1", "a:evil", at=MINUTE, browser=True, purpose=ANALYTICS)
    nameless = _says(True, "u:1", at=2 * MINUTE, browser=True, purpose=ANALYTICS)

    assert not _granted([refused, other, nameless], purpose=ANALYTICS)


def test_every_order_of_statements_gives_what_the_model_says() -> None:
    counts: Counter[str] = Counter()
    times = st.integers(-8, 8).map(lambda n: n * MINUTE)
    said = st.tuples(st.booleans(), times, times, st.booleans())

    @settings(max_examples=300, deadline=None)
    @given(st.lists(said, min_size=1, max_size=8), st.integers(0, 2**32))
    def check(statements: list[tuple[bool, int, int, bool]], seed: int) -> None:
        known = [
            model.Event(
                f"m{n}", NOW + at, NOW + received, trusted=trusted, user_id="1", consent={MAIL: granted}
            )
            for n, (granted, at, received, trusted) in enumerate(statements)
        ]
        random.Random(seed).shuffle(known)
        people = MemoryPeople()
        for e in known:
            people.apply(Event(e.event_id, e.trusted, e.time, e.received, e.usable, {}, e.consent, b""))
        expected = consent_of(known)[MAIL]
        counts["granted" if expected else "refused"] += 1
        counts["both"] += len({granted for granted, *_ in statements}) > 1

        assert expected == people.holder("u:1").consent[MAIL].granted

    check()

    model.assert_tried(counts, "granted", "refused", "both", least=30)


# ---- merges and devices


def _till(number: int, granted: bool, **more: object) -> Event:
    return _says(granted, f"e:g{number}@x.y", "a:till", at=number * MINUTE, **more)


def test_a_tills_anonymous_id_identifies_g1_who_refuses_then_g2_who_grants() -> None:
    people = MemoryPeople()
    for one in (_till(1, False), _till(2, True), _till(3, False), _till(4, True)):
        people.apply(one)
    granted = [people.holder(f"e:g{n}@x.y").consent[MAIL].granted for n in range(1, 5)]

    assert [False, True, False, True] == granted
    assert [[f"e:g{n}@x.y"] for n in range(1, 5)] == people.groups()
    assert people.is_blocked("a:till")


def test_a_tills_anonymous_id_identifies_guests_by_phone_and_with_user_ids() -> None:
    people = MemoryPeople()
    people.apply(_says(False, "p:+49301", "a:t"), _says(True, "p:+49302", "a:t", at=MINUTE))
    people.apply(_says(False, "u:1", "e:1@x.y", "a:s"), _says(True, "u:2", "e:2@x.y", "a:s", at=MINUTE))

    assert [["e:1@x.y", "u:1"], ["e:2@x.y", "u:2"], ["p:+49301"], ["p:+49302"]] == people.groups()
    assert [False, True] == [people.holder(f"u:{n}").consent[MAIL].granted for n in (1, 2)]


def test_one_person_with_two_addresses_keeps_their_device() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:home@x.y", "a:1"), event("u:1", "e:work@x.y", "a:1"), event("a:1", at=1))

    assert [["a:1", "e:home@x.y", "e:work@x.y", "u:1"]] == people.groups()


@pytest.mark.parametrize("refuser", ["u:1", "a:1"])
def test_a_refusal_never_becomes_a_grant_by_a_merge(refuser: str) -> None:
    granter = {"u:1": "a:1", "a:1": "u:1"}[refuser]
    for said in itertools.permutations([_says(False, refuser), _says(True, granter, at=MINUTE)]):
        people = MemoryPeople()
        for one in (*said, event("u:1", "a:1", at=NOW + 2 * MINUTE)):
            people.apply(one)
        merged = people.holder("u:1").consent[MAIL].granted
        people.apply(_says(True, at=3 * MINUTE))

        assert not merged
        assert people.holder("u:1").consent[MAIL].granted, "the person may grant it anew"


# ---- addresses


def _family() -> MemoryPeople:
    people = MemoryPeople()
    people.apply(_says(True, "u:1", "e:family@x.y"), _says(True, "u:2", "e:family@x.y"))
    assert people.is_blocked("e:family@x.y")
    return people


def test_a_spam_complaint_that_names_only_an_address_which_two_user_ids_share() -> None:
    people = _family()
    people.apply(_says(False, "e:family@x.y", at=MINUTE))
    refused = [people.holder(f"u:{n}").consent[MAIL].granted for n in (1, 2)]
    people.apply(_says(True, "u:2", at=2 * MINUTE))

    assert [False, False] == refused
    assert [["u:1"], ["u:2"]] == people.groups(), "no orphan"
    assert 1 == len(people.unassigned)
    assert [False, True] == [people.holder(f"u:{n}").consent[MAIL].granted for n in (1, 2)]


def test_a_complaint_reaches_who_comes_to_have_the_address_later() -> None:
    people = _family()
    people.apply(_says(False, "e:family@x.y", at=MINUTE))
    people.apply(_says(True, "u:3", "e:family@x.y"), event("u:4", traits={"email": b'"Family@x.y"'}))
    people.apply(_says(True, "u:5", "e:family@x.y", at=2 * MINUTE))

    assert not people.holder("u:3").consent[MAIL].granted
    assert not people.holder("u:4").consent[MAIL].granted
    assert people.holder("u:5").consent[MAIL].granted, "who opts in after the complaint is asked anew"


def test_a_complaint_reaches_who_has_the_address_as_a_trait_alone() -> None:
    people = MemoryPeople()
    people.apply(_says(True, "u:1", "e:a@x.y"))
    people.apply(
        event("u:2", at=NOW, consent={MAIL: True}, received=NOW, traits={"email": b'"a@x.y"'}),
    )
    people.apply(_says(False, "e:a@x.y", at=MINUTE))

    assert [False, False] == [people.holder(f"u:{n}").consent[MAIL].granted for n in (1, 2)]


def _at(minute: int, *identifiers: str, granted: bool | None = None) -> Event:
    """Received when it happened; each at a minute of its own."""
    consent = {} if granted is None else {MAIL: granted}
    moment = NOW + minute * MINUTE
    return event(*identifiers, number=minute, at=moment, received=moment, consent=consent)


SHARED = {
    "who refuses again after another's grant": [
        _at(1, "u:1", "e:a@x.y", granted=False),
        _at(20, "u:3", granted=True),
        _at(30, "u:1", "e:a@x.y", granted=False),
        _at(40, "u:3", "e:a@x.y"),
    ],
    "who refused before the address was theirs": [
        _at(20, "u:1", granted=False),
        _at(25, "u:1", "e:a@x.y"),
        _at(26, "u:3", "e:a@x.y"),
        _at(1, "u:3", granted=True),
    ],
    "who refused, opted in, and got the address then": [
        _at(20, "u:1", granted=False),
        _at(40, "u:1", granted=True),
        _at(50, "u:1", "e:a@x.y"),
        _at(1, "u:3", "e:a@x.y", granted=True),
    ],
    "who became somebody else on the way": [
        _at(20, "a:1", granted=False),
        _at(30, "u:1", "a:1"),
        _at(40, "u:1", "e:a@x.y"),
        _at(1, "u:3", "e:a@x.y", granted=True),
    ],
}


@pytest.mark.parametrize("events", SHARED.values(), ids=SHARED.keys())
@pytest.mark.parametrize("together", [False, True])
def test_a_refusal_reaches_who_shares_the_address_in_any_order_of_arrival(
    events: list[Event], together: bool
) -> None:
    for order in itertools.permutations(events):
        people = MemoryPeople()
        for batch in [order] if together else [[one] for one in order]:
            people.apply(*batch)

        assert not people.holder("u:3").consent[MAIL].granted, [one.event_id[-1] for one in order]


def test_what_came_by_an_address_goes_no_further_by_others() -> None:
    people = MemoryPeople()
    people.apply(_says(False, "u:1", "e:a@x.y"), event("u:2", "e:a@x.y"))
    people.apply(event("u:2", "e:b@x.y"), event("u:3", "e:b@x.y"))

    assert not people.holder("u:2").consent[MAIL].granted
    assert MAIL not in people.holder("u:3").consent


def test_an_unsubscribe_counts_for_the_persons_other_addresses() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:a@x.y"), event("u:1", "e:b@x.y"))
    people.apply(_says(False, "u:1"))

    assert {("e:a@x.y", MAIL), ("e:b@x.y", MAIL)} == people.refusals.keys()


def test_an_unsubscribe_by_the_profiles_own_page_follows_merges() -> None:
    people = MemoryPeople()
    people.apply(_says(True, "a:1"))
    asked = people.holder("a:1").profile_id
    people.apply(event("u:1"))
    people.apply(event("u:1", "a:1", at=1))
    people.apply(_says(False, "e:somebody@x.y", at=MINUTE, profile_id=asked))

    assert asked != people.holder("u:1").profile_id
    assert not people.holder("u:1").consent[MAIL].granted
    assert [["a:1", "u:1"]] == people.groups()


# ---- limits


def test_100_junk_purposes_then_analytics_false() -> None:
    people = MemoryPeople()
    people.apply(*(_says(True, purpose=f"junk {n}") for n in range(MOST_PURPOSES)))
    resolved = people.apply(_says(False, purpose=ANALYTICS), _says(True, purpose="one more"))
    consent = people.holder("u:1").consent

    assert not consent[ANALYTICS].granted
    assert "one more" not in consent
    assert {"purposes": 1} == resolved.dropped


def test_a_thousand_refusals_of_junk_and_one_more() -> None:
    people = MemoryPeople()
    people.apply(*(_says(False, purpose=f"junk {n}") for n in range(1000)))
    people.apply(_says(True, purpose="junk 900", at=MINUTE), _says(False, purpose=MAIL))
    consent = people.holder("u:1").consent

    assert len(consent) <= MOST_CHOICES + 1 + len(KNOWN_PURPOSES)
    assert not consent[ALL_OTHERS].granted, "what can't be named any more is refused as well"
    assert not consent[MAIL].granted
    assert "junk 900" not in consent


def test_a_merge_of_two_that_are_full_loses_no_refusal() -> None:
    people = MemoryPeople()
    people.apply(*(_says(True, "u:1", purpose=f"junk {n}") for n in range(MOST_PURPOSES)))
    people.apply(*(_says(True, "a:1", purpose=f"other {n}") for n in range(MOST_PURPOSES - 1)))
    people.apply(_says(False, "a:1", purpose="sms"), event("u:1", "a:1"))

    assert not people.holder("u:1").consent["sms"].granted


# ---- what a refusal of analytics means for what comes after


def _kept(people: MemoryPeople) -> list[bool]:
    (profile,) = people.profiles()
    return [not e.is_withheld for e in people.histories[profile.profile_id]]


def test_analytics_denied_yesterday_an_event_that_says_nothing_today() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", at=NOW, traits={"plan": b'"free"'}))
    people.apply(_says(False, purpose=ANALYTICS))
    people.apply(event("u:1", at=NOW + MINUTE, traits={"plan": b'"pro"'}))
    people.apply(_says(True, purpose=ANALYTICS, at=2 * MINUTE), event("u:1", at=NOW + 3 * MINUTE))

    assert [True, False, False, True, True] == _kept(people)
    assert b'"free"' == people.holder("u:1").traits["plan"].value


def test_nothing_but_consent_is_kept_of_a_withheld_event() -> None:
    sent = collected(
        traits={"plan": "pro"}, user_id="1", properties={"a": 1}, consent={MAIL: True}, name="Viewed"
    )
    sent.context_json, sent.group_id, sent.name = b'{"ip":"1.2.3.4"}', "team", "Viewed"
    people = MemoryPeople()
    people.apply(_says(False, purpose=ANALYTICS))
    resolved = people.apply(wire.event_of(sent.SerializeToString()))
    (body,) = wire.bodies_of(resolved.changes[0])
    (kept,) = map(wire.event_pb, wire.events_in(body))

    assert (b"", b"", b"", "", "") == (
        kept.properties_json,
        kept.traits_json,
        kept.context_json,
        kept.name,
        kept.group_id,
    )
    assert (sent.event_id, {MAIL: True}) == (kept.event_id, dict(kept.consent))
    assert wire.event_pb(sent.SerializeToString()).type != kept.type


def test_a_profile_without_statements_allows_and_refuses_nothing() -> None:
    assert {} == Profile("id", 0).consent
