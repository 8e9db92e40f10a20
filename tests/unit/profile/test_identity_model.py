"""Identity, traits and consent against a model that knows all events at once and no order of arrival."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.profile.domain import Event, Profile
from tests.unit.profile.people import MemoryPeople, event

_BLOCKED = {"u:null", "a:undefined", "e:none"}
_ORDER = "uepa"

Known = dict[str, tuple[int, bytes, object]]


@dataclass
class Person:
    """What the model says of one connected component of identifiers."""

    identifiers: set[str]
    events: list[Event]

    @property
    def may_meet_a_limit(self) -> bool:
        """Whether some order of arrival could meet a limit of identity."""
        users = sum(i.startswith("u:") for i in self.identifiers)
        named = any(i[0] in "ep" for i in self.identifiers) or any("email" in e.traits for e in self.events)
        # What only a browser links never carries an address.
        claims = [_usable(e) for e in self.events if not e.trusted]
        return users > 1 or (named and any(len(c) > 1 or (c and c[0][0] in "ep") for c in claims))

    def traits(self) -> Known:
        return _last((name, e, value) for e in self.events for name, value in e.traits.items())

    def consent(self) -> Known:
        return _last((purpose, e, granted) for e in self.events for purpose, granted in e.consent.items())


def _usable(event: Event) -> list[str]:
    return [i for i in event.identifiers if i not in _BLOCKED]


def _last(writes: Iterable[tuple[str, Event, object]]) -> Known:
    known: Known = {}
    for name, by, value in writes:
        write = (by.time, by.event_id, value)
        if name not in known or write[:2] > known[name][:2]:
            known[name] = write
    return known


def _people(events: Sequence[Event]) -> list[Person]:
    """Connected components by brute force: join whatever shares an identifier until nothing does."""
    people = [Person(set(_usable(e)), [e]) for e in events]
    joined = True
    while joined:
        joined = False
        for one, other in itertools.combinations(people, 2):
            if one.identifiers & other.identifiers:
                one.identifiers |= other.identifiers
                one.events += other.events
                people.remove(other)
                joined = True
                break
    return people


def _known_traits(profile: Profile) -> Known:
    return {name: (t.time, t.event_id, t.value) for name, t in profile.traits.items()}


def _known_consent(profile: Profile) -> Known:
    return {purpose: (c.time, c.event_id, c.granted) for purpose, c in profile.consent.items()}


_VALUES = st.sampled_from([b"1", b"9007199254740993", b'"1"', b"true", b"[1]", None])


_TRAITS = st.dictionaries(st.sampled_from(["plan", "age"]), _VALUES, max_size=2)
_EMAIL = st.dictionaries(st.just("email"), st.sampled_from([b'"x@y.z"', None]))
_CONSENT = st.dictionaries(st.sampled_from(["analytics", "email_marketing"]), st.booleans())


@st.composite
def _identifiers(draw: st.DrawFn) -> list[str]:
    """Those of one of three people, each with two addresses and devices, who are now and then mixed up."""
    person = draw(st.sampled_from("123"))
    own = [("u:",), ("e:", "b"), ("e:",), ("p:",), ("a:", "b"), ("a:",)]
    parts = draw(st.lists(st.sampled_from(own), min_size=1, max_size=3, unique_by=lambda part: part[0]))
    named = [part[0] + person + "".join(part[1:]) for part in parts]
    if draw(st.integers(0, 9)) == 0:
        other = draw(st.sampled_from(["u:1", "e:2", "a:3", *sorted(_BLOCKED)]))
        # An event has one user id and one address of a kind, but may name two devices.
        named = [i for i in named if i[0] == "a" or i[0] != other[0]] + [other]
    return sorted(set(named), key=lambda i: (_ORDER.index(i[0]), i))


@st.composite
def _event(draw: st.DrawFn) -> Event:
    browser = draw(st.integers(0, 4)) == 0
    traits = draw(_TRAITS) if browser else draw(_TRAITS) | draw(_EMAIL)
    at = draw(st.integers(0, 4))
    return event(*draw(_identifiers()), at=at, browser=browser, traits=traits, consent=draw(_CONSENT))


def _numbered(events: list[Event]) -> list[Event]:
    return [
        replace(e, event_id=number.to_bytes(16, "big"), received=number) for number, e in enumerate(events)
    ]


_EVENTS = st.lists(_event(), min_size=4, max_size=14).map(_numbered)


def _arrive(events: Sequence[Event], rng: random.Random, tried: Counter[str]) -> MemoryPeople:
    """Let the events arrive in some order, some of them twice, in batches of some size."""
    arriving = [*events, *rng.sample(events, len(events) // 3)]
    rng.shuffle(arriving)
    people = MemoryPeople()
    while arriving:
        size = rng.randint(1, 5)
        applied = people.apply(*arriving[:size])
        tried["duplicates"] += applied.duplicates
        tried["late"] += sum(one.time > other.time for one, other in itertools.pairwise(arriving[:size]))
        arriving = arriving[size:]
    tried["merges"] += people.merges
    return people


def test_every_order_of_arrival_gives_the_traits_consent_and_identities_of_the_model() -> None:
    tried: Counter[str] = Counter()

    @settings(max_examples=250, deadline=None)
    @given(_EVENTS, st.randoms(use_true_random=False))
    def check(events: list[Event], rng: random.Random) -> None:
        people = _arrive(events, rng, tried)
        for person in _people(events):
            if person.may_meet_a_limit or not person.identifiers:
                tried["limits"] += person.may_meet_a_limit
                continue
            tried["exact"] += 1
            profile = people.holder(min(person.identifiers))

            assert person.identifiers == set(profile.identifiers)
            assert len(person.events) == profile.events
            assert person.traits() == _known_traits(profile)
            assert person.consent() == _known_consent(profile)

    check()

    assert min(tried[what] for what in ("merges", "duplicates", "late", "limits", "exact")) >= 50, tried


def test_whatever_limit_is_met_nothing_is_lost_doubled_or_shared() -> None:
    tried: Counter[str] = Counter()

    @settings(max_examples=250, deadline=None)
    @given(_EVENTS, st.randoms(use_true_random=False))
    def check(events: list[Event], rng: random.Random) -> None:
        people = _arrive(events, rng, tried)
        profiles = people.profiles()
        owned = [identifier for profile in profiles for identifier in profile.identifiers]
        histories = [e.event_id for history in people.histories.values() for e in history]

        assert len(set(owned)) == len(owned)
        assert not _BLOCKED & set(owned)
        assert not any(people.is_blocked(identifier) for identifier in owned)
        assert sorted(e.event_id for e in events) == sorted(histories)
        for profile in profiles:
            history = people.histories[profile.profile_id]
            users = [i for i in profile.identifiers if i.startswith("u:")]
            named = {i for e in history for i in e.identifiers}
            tried["users"] += len(users)

            assert len(users) <= 1
            assert len(history) == profile.events
            assert set(profile.identifiers) <= named
            assert profile.claimed <= set(profile.identifiers)
            writes = [(n, e, v) for e in history for n, v in e.traits.items() if n != "email"]
            assert _last(writes) == {n: t for n, t in _known_traits(profile).items() if n != "email"}

    check()

    assert min(tried[what] for what in ("merges", "duplicates", "late", "users")) >= 50, tried
