"""Generated histories: a few people with several devices and addresses, who are mixed up now and then."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.model.events import DAY, HOUR, SECOND, Event, exactly
from tests.model.identity import people

# What is equal to something else in one language and not in another, and a removal.
_VALUES: list[Any] = [1, 1.0, True, "1", 2**53, 2**53 + 1, "x", [1], [True], {"a": 1}, {"a": True}, None]
_BLOCKED = {"user_id": "null", "anonymous_id": "Undefined ", "email": "none"}
_NAMES = ["Order", "View", "Cart"]
# Equal sums whose terms come in any order, and numbers that are equal but not of one type.
_TOTALS: list[Any] = [0.1, 0.2, 0.3, 1e16, -1e16, 20, 20.0, 45, 60.5, 2**53 + 1, 5e299, "60", True, None]
# How long before it is told something happened: few choices, so that times are equal now and then.
_AGES = [0, 0, 0, SECOND, SECOND, HOUR, 5 * HOUR, 5 * HOUR, DAY, 3 * DAY, 12 * DAY, -120 * SECOND]


@dataclass(frozen=True)
class Arrival:
    """Events that are sent together, and how much time passes before them."""

    pause: int
    events: tuple[Event, ...]


def _identifiers(rng: random.Random, mixed: float) -> dict[str, str]:
    """Those of one of three people, each with two addresses and devices, who are now and then mixed up."""
    person = rng.choice("123")
    own = {
        "user_id": [f"user {person}"],
        "email": [f"{person}@example.com", f"{person}b@example.com"],
        "phone": [f"+4930{person}"],
        "anonymous_id": [f"device {person}", f"device {person}b"],
    }
    named = {kind: rng.choice(own[kind]) for kind in rng.sample(sorted(own), rng.randint(1, 3))}
    if rng.random() < mixed:
        others = [("user_id", "user 1"), ("user_id", "user 2"), ("email", "2@example.com")]
        kind, value = rng.choice([*others, ("previous_id", "device 3"), *_BLOCKED.items()])
        named[kind] = value
    return named


def _event(number: int, seed: int, mixed: float, browsers: float) -> Event:
    rng = random.Random(seed)
    trusted = rng.random() >= browsers
    what: dict[str, Any] = _identifiers(rng, mixed)
    if rng.random() < 0.5:
        traits = {name: rng.choice(_VALUES) for name in rng.sample(["n", "plan"], rng.randint(0, 2))}
        if rng.random() < 0.3:
            traits["vip"] = rng.choice([True, False, None])
        if trusted and rng.random() < 0.25:
            traits["email"] = rng.choice(["x@example.com", None])
        what |= {"type": "identify", "traits": traits}
    else:
        properties = {"total": rng.choice(_TOTALS), "kind": rng.choice(["shoes", "hats", None])}
        what |= {"name": rng.choice(_NAMES), "properties": properties}
    if rng.random() < 0.25:
        what["consent"] = {rng.choice(["email", "sms"]): rng.random() < 0.5}
    return Event(f"m{number}", -rng.choice(_AGES), trusted=trusted, **what)


def histories(
    least: int = 4, most: int = 14, *, mixed: float = 0.1, browsers: float = 0.2
) -> st.SearchStrategy[list[Event]]:
    """Events without repetition; their times are relative to when they are sent.

    `mixed` is the share of those that name somebody else too, or nobody; `browsers` of those by browsers.
    """
    # One number an event: quick to draw, and a failing history shrinks to the events that matter.
    seeds = st.lists(st.integers(0, 2**32), min_size=least, max_size=most)
    return seeds.map(lambda drawn: [_event(n, seed, mixed, browsers) for n, seed in enumerate(drawn)])


def of_their_own(event: Event, world: int) -> Event:
    """The same of people who share no identifier or address with other worlds, but for blocked values."""
    ids = {
        kind: f"{world} {value}"
        for kind in ("user_id", "anonymous_id", "previous_id")
        if (value := getattr(event, kind)) and value not in _BLOCKED.values()
    }
    if event.email and event.email not in _BLOCKED.values():
        ids["email"] = f"{world}.{event.email}"
    if event.phone:
        ids["phone"] = event.phone.replace("+49", f"+49{world:06}")
    traits = dict(event.traits)
    if traits.get("email"):
        # An address that a trait says reaches as far as one that identifies.
        traits["email"] = f"{world}.{traits['email']}"
    return replace(event, message_id=f"{world} {event.message_id}", traits=traits, **ids)


def arrivals(events: Sequence[Event], rng: random.Random, pauses: Sequence[int] = (0,)) -> Iterator[Arrival]:
    """The events in some order, a third of them twice, in batches of some size."""
    arriving = [*events, *rng.sample(events, len(events) // 3)]
    rng.shuffle(arriving)
    while arriving:
        size = rng.randint(1, 5)
        yield Arrival(rng.choice(pauses), tuple(arriving[:size]))
        arriving = arriving[size:]


def tried(events: Sequence[Event]) -> Counter[str]:
    """What a history holds of what is hard, in order of its arrival."""
    found: Counter[str] = Counter()
    found["duplicates"] = len(events) - len({event.event_id for event in events})
    found["late"] = sum(one.time > other.time for one, other in itertools.pairwise(events))
    for person in people(events):
        times = Counter(event.time for event in person.events)
        found["limits"] += person.limited
        found["user limits"] += len(person.user_ids) > 1
        found["equal times"] += sum(count > 1 for count in times.values())
        for name in {name for event in person.events for name in event.said}:
            said = [event.said[name] for event in person.events if name in event.said]
            found["type changes"] += len({type(value) for value in said}) > 1
            found["2^53 + 1"] += exactly(2**53 + 1) in map(exactly, said)
            found["nulls"] += None in said
    return found
