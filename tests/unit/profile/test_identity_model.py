"""Identity, traits and consent against the model, which knows all events at once and no order of arrival."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.profile.identity.model import Event as Collected
from services.profile.identity.model import Profile, is_blocked_value
from tests import model
from tests.model import events as model_events
from tests.model.histories import arrivals, histories, tried
from tests.unit.profile.people import MemoryPeople


def _collected(event: model.Event) -> Collected:
    return Collected(
        event_id=event.event_id,
        trusted=event.trusted,
        time=event.time,
        received=event.received,
        identifiers=event.identifiers,
        traits={n: None if v is None else json.dumps(v).encode() for n, v in event.said.items()},
        consent=event.consent,
        body=b"",
    )


def _told(people: MemoryPeople, profile: Profile) -> model.Profile:
    return model.Profile(
        profile.profile_id,
        set(profile.identifiers),
        [event.event_id for event in people.histories[profile.profile_id]],
        {name: json.loads(trait.value) for name, trait in profile.traits.items() if trait.value is not None},
        {purpose: choice.granted for purpose, choice in profile.consent.items()},
    )


def _unassigned(people: MemoryPeople) -> set[bytes]:
    return {event.event_id for event in people.unassigned}


def _arrive(
    events: Sequence[model.Event], rng: random.Random, counts: Counter[str]
) -> tuple[list[model.Event], MemoryPeople]:
    """Let the events arrive in some order, some of them twice, in batches of some size."""
    people = MemoryPeople()
    arrived: list[model.Event] = []
    for arrival in arrivals([replace(e, received=n) for n, e in enumerate(events, 1)], rng):
        people.apply(*map(_collected, arrival.events))
        arrived += arrival.events
    counts.update(tried(arrived))
    counts["merges"] += people.merges
    return arrived, people


def test_every_order_of_arrival_gives_the_traits_consent_and_identities_of_the_model() -> None:
    """And where a limit is met, nothing is lost, doubled or shared."""
    counts: Counter[str] = Counter()

    @settings(max_examples=500, deadline=None)
    @given(histories(), st.integers(0, 2**32))
    def check(events: list[model.Event], seed: int) -> None:
        arrived, people = _arrive(events, random.Random(seed), counts)
        profiles = people.profiles()
        counts.update(model.assert_people(arrived, [_told(people, p) for p in profiles], _unassigned(people)))
        for profile in profiles:
            counts["users"] += profile.user_id is not None

            assert len(people.histories[profile.profile_id]) == profile.events
            assert profile.claimed <= set(profile.identifiers)
            assert not any(people.is_blocked(identifier) for identifier in profile.identifiers)

    check()

    wanted = ("merges", "duplicates", "late", "equal times", "type changes", "limits", "exact", "users")
    model.assert_tried(counts, *wanted, "unassigned", least=50)


def test_one_order_of_arrival_gives_whom_the_model_finds_in_that_order_limits_and_all() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=500, deadline=None)
    @given(histories(most=20, mixed=0.3, browsers=0.05), st.integers(0, 2**32))
    def check(events: list[model.Event], seed: int) -> None:
        arrived, people = _arrive(events, random.Random(seed), counts)
        profiles = {e: p for p in people.profiles() for e in _told(people, p).event_ids}
        for person in model.people_in_order(arrived):
            if person.limited:
                continue
            profile = profiles[person.events[0].event_id]
            told = _told(people, profile)
            # An address that others have too may have brought a refusal of theirs.
            shared = {address for address, _ in people.refusals} & people.shared
            counts["exact"] += 1

            assert person.identifiers == told.identifiers
            assert sorted(e.event_id for e in person.events) == sorted(told.event_ids)
            assert model.exactly(person.traits) == model.exactly(told.traits)
            for purpose, granted in told.consent.items():
                assert granted == person.consent.get(purpose) or (not granted and shared)

    check()

    model.assert_tried(counts, "merges", "exact", least=50)
    model.assert_tried(counts, "user limits", least=25)


def test_profile_blocks_the_values_that_the_model_does() -> None:
    assert all(is_blocked_value(f"u:{value}") for value in model_events.BLOCKED_VALUES)
