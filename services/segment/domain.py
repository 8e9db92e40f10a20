"""What segment keeps of a person, and what can happen to them: plain Python.

All times are microseconds since 1970. Everything kept is a function of the set of events, not of
the order in which they came.
"""

import math
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

SECOND = 1_000_000
DAY = 86_400 * SECOND

Entry = tuple[int, bytes, int | float | None]
"""An event of a series: its time, its id, the number that is kept of it."""


@dataclass(slots=True)
class SeriesState:
    """A person's events of one series: the recent ones singly, the older ones as totals."""

    entries: list[Entry] = field(default_factory=list)
    count: int = 0
    """Of the older events; so are the next three, over those that had the number."""
    numbers: int = 0
    sum: list[float] = field(default_factory=list)
    """Doubles whose exact sum is the sum: the same whatever the order in which they were added."""
    least: int | float | None = None
    greatest: int | float | None = None

    def add(self, entry: Entry) -> None:
        """Take an event in, wherever its time puts it."""
        if not self.entries or (entry[0], entry[1]) > (self.entries[-1][0], self.entries[-1][1]):
            self.entries.append(entry)
        else:
            insort(self.entries, entry, key=lambda e: (e[0], e[1]))

    def fold(self, until: int) -> None:
        """Keep events up to a time as totals only."""
        old = self.first_after(until)
        if not old:
            return
        self.count += old
        numbers = [entry[2] for entry in self.entries[:old] if entry[2] is not None]
        if numbers:
            self.numbers += len(numbers)
            self.sum = exact_terms([*self.sum, *map(float, numbers)])
            self.least = min(numbers if self.least is None else [self.least, *numbers])
            self.greatest = max(numbers if self.greatest is None else [self.greatest, *numbers])
        del self.entries[:old]

    def first_after(self, time: int) -> int:
        """The index of the first event after a time."""
        return bisect_right(self.entries, time, key=lambda e: e[0])


def exact_terms(numbers: list[float]) -> list[float]:
    """The one list of doubles, largest first, that sums up to exactly what `numbers` do.

    Each is the correctly rounded rest that those before it leave (Shewchuk's expansions by
    `math.fsum`), so equal sums have equal lists.
    """
    terms: list[float] = []
    while True:
        rest = math.fsum([*numbers, *(-term for term in terms)])
        if rest == 0 or not math.isfinite(rest):
            return terms
        terms.append(rest)


@dataclass(slots=True)
class TraitState:
    """A trait's value and the event that set it."""

    value: Any
    time: int
    event_id: bytes


@dataclass(slots=True)
class Membership:
    """Since when, by the times of the events, and because of which event, a person is in a segment."""

    entered: int
    cause_id: bytes
    event_id: bytes


@dataclass(slots=True)
class State:
    """All that is kept of one person."""

    profile_id: str
    revision: int = 0
    plan: int = 0
    """The version of the plan whose series are here."""
    as_of: int = 0
    """The time up to which time has passed for this person."""
    traits: dict[str, TraitState] = field(default_factory=dict)
    consent: dict[str, bool] = field(default_factory=dict)
    series: dict[int, SeriesState] = field(default_factory=dict)
    memberships: dict[str, Membership] = field(default_factory=dict)
    merged_into: str | None = None
    open: bool = False
    """Further steps of the same change follow: nothing is decided before the last."""
    news: list["Occurrence"] = field(default_factory=list)
    """Events that were applied since time last passed: a wait that they began may be over already."""
    waiting: dict[bytes, bytes] = field(default_factory=dict)
    """The properties of the events whose wait for a trigger goes on, by event id."""
    due: int | None = None
    """When time alone may next change something."""

    def values(self) -> dict[str, Any]:
        """The traits as rules see them."""
        return {name: trait.value for name, trait in self.traits.items()}


class TransitionKind(Enum):
    """What can happen."""

    ENTERED = "entered"
    EXITED = "exited"
    TRIGGERED = "triggered"


class ExitReason(Enum):
    """Why a membership ended."""

    RULE = "rule"
    MERGED = "merged"
    DEFINITION = "definition"


@dataclass(frozen=True, slots=True)
class Transition:
    """A person entered or left a segment, or a trigger's wait is over."""

    profile_id: str
    revision: int
    kind: TransitionKind
    definition_id: str
    time: int
    cause_id: bytes
    """16 bytes: with the definition, the name of the effect."""
    event_id: bytes = b""
    properties: bytes = b""
    """The deciding event's properties, where they are at hand."""
    exit_reason: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event as rules see it."""

    event_id: bytes
    name: str
    time: int
    properties: bytes
    """A JSON object, or nothing: only read where a rule asks for it."""


@dataclass(frozen=True, slots=True)
class Update:
    """One step of a profile's life, as profile tells it."""

    profile_id: str
    revision: int
    moved: bool = False
    more: bool = False
    merged_into: str | None = None
    occurrences: tuple[Occurrence, ...] = ()
    traits: tuple[tuple[str, TraitState | None], ...] = ()
    """What changed; None: removed."""
    consent: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentDefinition:
    """People for whom an expression is true."""

    segment_id: str
    display_name: str
    expression: str
    version: int = 0
    plan: int = 0
    """The version of the plan in which it came."""
    created: int = 0
    members: int = 0
    active: bool = False


@dataclass(frozen=True, slots=True)
class TriggerDefinition:
    """An event that was not followed by another within a delay."""

    trigger_id: str
    display_name: str
    event_name: str
    unless: tuple[str, ...]
    delay: int
    condition: str
    version: int = 0
    plan: int = 0
    created: int = 0
    active: bool = False
