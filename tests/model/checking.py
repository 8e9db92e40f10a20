"""Compares what Tessera tells with what the model computes from the acknowledged events."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.model.consent import consent_of
from tests.model.events import ADDRESSES, USER_ID, Event, exactly, first_copies
from tests.model.identity import Person, contested, people
from tests.model.rules import Segment, Trigger, members
from tests.model.waits import due_triggers


@dataclass
class Profile:
    """A living profile as it was read back."""

    profile_id: str
    identifiers: set[str]
    """Kind and value: `u:1`, `e:ada@example.com`, `p:+4930123456`, `a:device`."""
    event_ids: Sequence[bytes]
    """Of its whole history, in any order, repetitions and all."""
    traits: Mapping[str, Any] = field(default_factory=dict)
    """Without what was removed."""
    consent: Mapping[str, bool] = field(default_factory=dict)


def assert_people(
    events: Iterable[Event], profiles: Sequence[Profile], unassigned: Collection[bytes] = (), slack: int = 0
) -> Counter[str]:
    """Every event stands once in one history, or names nobody; who is who is the model's, and what is known.

    Where a limit was met, what holds in every order of arrival. Where the times of receipt are known within
    `slack` microseconds only, what hangs on them is left open. Returns what was compared.
    """
    stored = first_copies(events)
    homes = {event_id: profile for profile in profiles for event_id in profile.event_ids}
    holders = {identifier: profile for profile in profiles for identifier in profile.identifiers}
    compared: Counter[str] = Counter()

    assert_each_once(stored, profiles, unassigned)
    limited = {i for person in people(stored) if person.limited for i in person.identifiers}
    for event in stored:
        if event.event_id in unassigned:
            compared["unassigned"] += 1
            # Whoever met a limit may have lost all by which this event names them, but for a user id.
            assert all(i[0] != USER_ID and i in limited for i in event.usable), event
        else:
            assert event.usable, event
    assert len(holders) == sum(len(profile.identifiers) for profile in profiles)
    refused = _refused_at(people(stored))
    for person in people(stored):
        if person.limited:
            compared["limited"] += 1
            _assert_within_limits(person, homes, holders, slack)
        else:
            compared["exact"] += 1
            by_others = {purpose for address in person.addresses for purpose in refused[address]}
            _assert_is(person, homes[person.events[0].event_id], by_others, slack)
    return compared


def _refused_at(known: Iterable[Person]) -> Mapping[str, set[str]]:
    """The purposes that anybody refused who ever had an address, by address: who shares it is refused too."""
    refused: defaultdict[str, set[str]] = defaultdict(set)
    for person in known:
        said_no = {p for event in person.events for p, granted in event.consent.items() if not granted}
        for address in person.addresses:
            refused[address] |= said_no
    return refused


def assert_each_once(
    events: Iterable[Event], profiles: Iterable[Profile], unassigned: Iterable[bytes] = ()
) -> None:
    """Acknowledged is stored, and stored once."""
    found = Counter(event_id for profile in profiles for event_id in profile.event_ids)
    found.update(unassigned)
    known = {event.event_id: event for event in events}

    assert [] == [known[event_id] for event_id in known.keys() - found.keys()], "lost"
    assert [] == [known[i] for i, times in found.items() if times > 1 and i in known], "doubled"
    assert set() == found.keys() - known.keys(), "not sent"


def persons(events: Iterable[Event], profiles: Iterable[Profile]) -> dict[str, Person]:
    """The people by profile id, each with the events that the profile's own history names.

    For those who met no limit these are the model's people; for the others the order of arrival
    has decided, and the rest follows from what they have.
    """
    stored = {event.event_id: event for event in first_copies(events)}
    limited = {e.event_id for person in people(stored.values()) if person.limited for e in person.events}
    return {
        profile.profile_id: Person(
            set(profile.identifiers),
            [stored[event_id] for event_id in profile.event_ids],
            limited=any(event_id in limited for event_id in profile.event_ids),
            consent_told=profile.consent,
        )
        for profile in profiles
    }


def assert_members(
    known: Mapping[str, Person],
    segments: Mapping[str, Segment],
    found: Mapping[str, set[str]],
    at: int,
    until: int | None = None,
) -> None:
    """Memberships, by profile id, are the model's at `at`.

    Where time went on to `until` while they were read, what changes in between may be either.
    """
    for profile_id in known.keys() | found.keys():
        person = known.get(profile_id)
        facts = person.facts if person is not None else None
        first = members(facts, segments, at) if facts is not None else set()
        last = members(facts, segments, until) if facts is not None and until is not None else first
        actual = found.get(profile_id, set())

        assert sorted(first & last) == sorted(actual & (first & last)), (profile_id, "missing")
        assert actual <= first | last, (profile_id, actual, first | last)


def assert_fired(
    known: Mapping[str, Person],
    triggers: Mapping[str, Trigger],
    fired: Iterable[tuple[str, bytes, int]],
    at: int,
    until: int | None = None,
) -> Counter[str]:
    """Triggers that fired (definition, cause, time) are those that had to, or might, each once.

    Time has passed up to `at` for certain, and up to `until` at most.
    """
    found = list(fired)
    effects = Counter((trigger_id, cause) for trigger_id, cause, _ in found)
    dues = {due.effect: due for due in due_triggers(known.values(), triggers, until or at)}
    had_to = {effect: due for effect, due in dues.items() if due.must and due.time <= at}

    assert [] == [effect for effect, times in effects.items() if times > 1], "fired twice"
    assert [] == [due for effect, due in had_to.items() if effect not in effects], "never fired"
    for trigger_id, cause, time in found:
        assert (trigger_id, cause) in dues, ("should not have fired", trigger_id, cause)
        assert dues[trigger_id, cause].time == time
    return Counter(must=len(had_to), may=len(effects.keys() - had_to.keys()))


def _assert_is(person: Person, profile: Profile, by_others: Collection[str], slack: int) -> None:
    """The profile is that person, in all that is known."""
    assert person.identifiers == profile.identifiers
    assert sorted(e.event_id for e in person.events) == sorted(profile.event_ids)
    assert exactly(person.traits) == exactly(dict(profile.traits))
    _assert_consent(person, profile, by_others, slack)


def _assert_consent(person: Person, profile: Profile, by_others: Collection[str], slack: int) -> None:
    """What is granted the model grants; what is refused it refuses, or a merge or an address may have."""
    sure, perhaps = consent_of(person.events), consent_of(person.events, slack)
    # Several identifiers may have met each other late: what one of them refused stays refused.
    could_merge = len(person.identifiers) > 1 or person.limited
    for purpose, granted in profile.consent.items():
        may_be_refused = could_merge or purpose in by_others
        right = (sure.get(purpose), perhaps.get(purpose))
        assert granted in right or (may_be_refused and not granted), (purpose, person.events)
    assert sure.keys() <= profile.consent.keys()


def _assert_within_limits(
    person: Person, homes: Mapping[bytes, Profile], holders: Mapping[str, Profile], slack: int
) -> None:
    """What must hold of whoever met a limit, in any order of arrival."""
    by_id = {event.event_id: event for event in person.events if event.event_id in homes}
    by_servers = not person.may_meet_claims and not person.is_too_large
    for event in by_id.values():
        strongest = next(iter(event.usable), "")
        sure = strongest[:1] == USER_ID and not person.is_too_large
        if sure or (by_servers and strongest in holders):
            assert holders[strongest] is homes[event.event_id], (event, "is not with", strongest)
    if by_servers:
        assert set() == contested(person.events) & holders.keys()
    for profile in {id(p): p for p in (homes[event_id] for event_id in by_id)}.values():
        own = Person(set(profile.identifiers), [by_id[event_id] for event_id in profile.event_ids])
        assert len(own.user_ids) <= 1
        assert own.identifiers <= {i for e in own.events for i in e.usable}
        if not person.is_too_large:
            skipped = set() if by_servers else ADDRESSES.keys()
            own.limited = True
            _assert_consent(own, profile, (), slack)
            assert _without(own.traits, skipped) == _without(profile.traits, skipped)


def _without(traits: Mapping[str, Any], names: Collection[str]) -> str:
    return exactly({name: value for name, value in traits.items() if name not in names})
