"""Segments and triggers, each rule given twice: as text for the product, as a function for the model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.model.events import SECOND, Event
from tests.model.facts import Facts, View
from tests.model.identity import Person

Holds = Callable[[View], bool]

SKEW = 300 * SECOND
"""So far apart the clocks of two sources may be, as far as ingest lets their times through."""


@dataclass(frozen=True)
class Segment:
    """People for whom a rule holds; and what the rule reads."""

    text: str
    holds: Holds
    reads: Sequence[tuple[str, int | None]] = ()
    """Names of events, each with the window that it is seen through."""
    traits: Sequence[str] = ()
    consent: Sequence[str] = ()
    kind: str | None = None


@dataclass(frozen=True)
class Trigger:
    """An event that nothing in `unless` followed, nor the same again, within a delay."""

    name: str
    unless: Sequence[str]
    delay: int
    created: int
    """Waits that were over by then never fire."""
    text: str = ""
    holds: Holds = lambda _: True
    traits: Sequence[str] = ()
    consent: Sequence[str] = ()


def memberships(
    people: Iterable[Person], segments: Mapping[str, Segment], at: int
) -> list[tuple[Person, set[str]]]:
    """Who belongs where at a time, from all that is known."""
    return [(person, members(person.facts, segments, at)) for person in people]


def members(facts: Facts, segments: Mapping[str, Segment], at: int) -> set[str]:
    """The segments that somebody is in at a time."""
    view = View(facts, at)
    return {segment_id for segment_id, segment in segments.items() if segment.holds(view)}


def is_answered(events: Iterable[Event], began: Event, trigger: Trigger) -> bool:
    """Whether something ended the wait that an event began, by the time at which it was over."""
    due = began.time + trigger.delay
    for e in events:
        if e.known_as in trigger.unless and (began.time <= e.time <= due or _arrived_later(e, began)):
            return True
        if e.known_as == trigger.name and began.place < e.place and e.time <= due:
            return True
    return False


def _arrived_later(e: Event, began: Event) -> bool:
    """Whether an event is later than another whose clock, which is not the same, says otherwise."""
    by_other_clock = e.clock != began.clock and began.time - SKEW <= e.time < began.time
    return by_other_clock and e.received >= began.received
