"""What is known of a person, and what a rule sees of it at a time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.model.consent import changes
from tests.model.events import Event, exactly


@dataclass
class Said:
    """A trait or a consent: its last change, and what it was before."""

    value: Any
    """None: removed, or never set."""
    time: int
    event_id: bytes
    before: Any = None

    def at(self, until: int | None) -> Any:
        return self.value if until is None or self.time <= until else self.before


@dataclass
class Facts:
    """Everything that is known of a person."""

    events: list[Event] = field(default_factory=list)
    traits: dict[str, Said] = field(default_factory=dict)
    consent: dict[str, Said] = field(default_factory=dict)


def facts_of(events: Iterable[Event]) -> Facts:
    """All that events say of their one person, in whatever order they came: the last writer wins."""
    events = list(events)
    facts = Facts(events)
    # From the first to the last writer, so that each finds what was before.
    for event in sorted(events, key=lambda e: e.place):
        for name, value in event.said.items():
            say(facts.traits, name, Said(value, *event.place))
    for purpose in {purpose for event in events for purpose in event.consent}:
        for moment, event_id, granted in changes(events, purpose):
            say(facts.consent, purpose, Said(granted, moment, event_id))
    return facts


def say(known: dict[str, Said], name: str, new: Said) -> None:
    """Let a value change; what is only said again has held since it was said first."""
    old = known.get(name)
    if old is None:
        known[name] = new
    elif exactly(old.value) != exactly(new.value):
        known[name] = Said(new.value, new.time, new.event_id, old.value)


def told(known: Mapping[str, Said]) -> dict[str, Any]:
    """The values, without what was removed."""
    return {name: said.value for name, said in known.items() if said.value is not None}


@dataclass(frozen=True)
class View:
    """What a rule sees: the facts up to `until`, with windows measured to `at`."""

    facts: Facts
    at: int
    until: int | None = None

    def events(self, name: str, window: int | None = None, kind: str | None = None) -> list[Event]:
        return [
            e
            for e in self.facts.events
            if e.known_as == name
            and (self.until is None or e.time <= self.until)
            and (window is None or e.time > self.at - window)
            and (kind is None or e.properties.get("kind") == kind)
        ]

    def totals(self, name: str, window: int | None = None) -> list[float]:
        """The numbers; what is none, or too great to be added up, does not count."""
        totals = (e.properties.get("total") for e in self.events(name, window))
        return [t for t in totals if type(t) in (int, float) and abs(t) <= 1e300]

    def sum(self, name: str, window: int | None = None) -> float:
        return float(sum(map(Fraction, self.totals(name, window))))

    def trait(self, name: str) -> Any:
        said = self.facts.traits.get(name)
        return None if said is None else said.at(self.until)

    def consents(self, purpose: str) -> bool:
        said = self.facts.consent.get(purpose)
        return said is not None and said.at(self.until) is True
