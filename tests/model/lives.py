"""Random lives of a few people, told step by step."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import count, islice
from random import Random
from typing import Any
from uuid import UUID

from tests.model.events import DAY, HOUR, SECOND, Event
from tests.model.facts import Said
from tests.model.following import Step

START = 1_700_000_000 * SECOND
_NAMES = ["Order", "View", "Cart"]
_LATENESS = [0, 0, 0, 0, SECOND, 90 * SECOND, HOUR, 5 * HOUR, DAY, 3 * DAY, 12 * DAY]
_PAUSES = [0, 1, SECOND, 60 * SECOND, 20 * 60 * SECOND, HOUR, 7 * HOUR, DAY, 4 * DAY]
# Equal sums whose terms come in any order, and numbers that are equal but not of one type.
_TOTALS: list[Any] = [0.1, 0.2, 0.3, 1e16, -1e16, 20, 20.0, 45, 60.5, 2**53 + 1, 5e299, 1e308, "60", None]


def profile_id(number: int) -> str:
    """The id of one of the people."""
    return str(UUID(int=number))


@dataclass
class Person:
    """What profile keeps, to decide on the last writer."""

    revision: int = 0
    traits: dict[str, tuple[int, bytes, Any]] = field(default_factory=dict)
    consent: dict[str, tuple[int, bytes, Any]] = field(default_factory=dict)


class Lives:
    """Makes steps, keeps histories, and counts what it tried."""

    def __init__(self, random: Random, people: int = 3, first: int = 0) -> None:
        self.now = START
        self.histories: dict[str, list[Step]] = defaultdict(list)
        self.tried: Counter[str] = Counter()
        self._random = random
        self._ids = map(profile_id, count(first))
        self._people = {id_: Person() for id_ in islice(self._ids, people)}

    def pause(self) -> None:
        self.now += self._random.choice(_PAUSES)

    def step(self) -> list[Step]:
        """Something happens; the steps that tell of it, in order for each person."""
        if len(self._people) > 1 and self._random.random() < 0.06:
            return self._merge()
        profile_id = self._random.choice(list(self._people))
        return [self._tell(profile_id, [self._event() for _ in range(self._random.choice([1, 1, 2, 4]))])]

    def _event(self) -> Event:
        random = self._random
        lateness = random.choice(_LATENESS) - random.choice([0, 0, 0, 200 * SECOND])
        self.tried["late"] += lateness > 0
        time = self.now - lateness
        if random.random() < 0.3:
            time -= time % HOUR
        properties: dict[str, Any] = {}
        if random.random() < 0.8:
            properties["total"] = random.choice(_TOTALS)
        if random.random() < 0.5:
            properties["kind"] = random.choice(["shoes", "hats"])
        message_id, name = random.randbytes(16).hex(), random.choice(_NAMES)
        return Event(message_id, time, self.now, name=name, properties=properties)

    def _tell(self, profile_id: str, events: list[Event]) -> Step:
        person = self._people[profile_id]
        traits = consent = ()
        if self._random.random() < 0.25:
            value = self._random.choice([True, False, None, True])
            traits = self._win(person.traits, {"vip": (*self._random.choice(events).place, value)})
        if self._random.random() < 0.25:
            granted = self._random.choice([True, True, False])
            consent = self._win(person.consent, {"email": (*self._random.choice(events).place, granted)})
        return self._record(profile_id, events, traits, consent)

    def _win(self, known: dict[str, Any], new: dict[str, Any]) -> Any:
        won = {name: said for name, said in new.items() if name not in known or said[:2] > known[name][:2]}
        known.update(won)
        return tuple(won.items())

    def _record(self, profile_id: str, events: list[Event], traits: Any, consent: Any) -> Step:
        person = self._people[profile_id]
        person.revision += 1
        step = Step(
            profile_id,
            person.revision,
            events=tuple(events),
            traits=_said(traits),
            consent=_said(consent),
        )
        self.histories[profile_id].append(step)
        return step

    def _merge(self) -> list[Step]:
        self.tried["merge"] += 1
        survivor_id, absorbed_id = self._random.sample(list(self._people), 2)
        survivor, absorbed = self._people[survivor_id], self._people.pop(absorbed_id)
        moved = []
        for step in self.histories.pop(absorbed_id, []):
            survivor.revision += 1
            moved.append(replace(step, profile_id=survivor_id, revision=survivor.revision, moved=True))
        self.histories[survivor_id] += moved
        traits = self._win(survivor.traits, absorbed.traits)
        consent = self._win(survivor.consent, absorbed.consent)
        last = self._record(survivor_id, [self._event()], traits, consent)
        grave = Step(absorbed_id, absorbed.revision + 1, merged_into=survivor_id)
        self.histories[absorbed_id] = [grave]
        # A merged person is replaced, so that there is always somebody to merge with.
        self._people[next(self._ids)] = Person()
        return [*(replace(step, more=True) for step in moved), grave, last]


def _said(changes: Any) -> tuple[tuple[str, Said], ...]:
    return tuple((name, Said(value, time, event_id)) for name, (time, event_id, value) in changes)
