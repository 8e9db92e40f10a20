"""What segment keeps of a person, and what can happen to them: plain Python.

All times are microseconds since 1970. What is kept is a function of the updates and of the clock: not
of the order in which events came, nor of how they were batched. Only a membership's time and cause stay
what they were when the entry was told, whatever late event comes after.

What comes with every event is a msgspec struct: it is made and stored in a fraction of a dataclass's time.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import Any

import msgspec
import orjson

SECOND = 1_000_000
DAY = 86_400 * SECOND

# How the columns of a series are laid out, in the machine's own order: as memoryview reads them.
_TIME, _NUMBER, _ID_BYTES = Struct("q"), Struct("d"), 16


class SeriesState(msgspec.Struct, array_like=True, gc=False):
    """A person's events of one series: the recent ones singly, the older ones as totals.

    The single ones are columns, ordered by time and id: so they take little more in memory than stored,
    and are stored and read back without a look at each.
    """

    times: bytearray = msgspec.field(default_factory=bytearray)
    """A signed integer of 64 bits each."""
    ids: bytearray = msgspec.field(default_factory=bytearray)
    """16 bytes each."""
    numbers: bytearray = msgspec.field(default_factory=bytearray)
    """A double each, NaN where an event has none; nothing at all where the series is only counted."""
    count: int = 0
    """Of the older events; so are the rest, over those that had a number."""
    numbered: int = 0
    sum: list[float] = msgspec.field(default_factory=list)
    """Doubles whose exact sum is the sum: the same whatever the order in which they were added."""
    least: float | None = None
    greatest: float | None = None

    def __len__(self) -> int:
        """How many events are kept singly."""
        return len(self.times) // _TIME.size

    @property
    def oldest(self) -> int:
        """The time of the first event that is kept singly; there must be one."""
        time: int = _TIME.unpack_from(self.times)[0]
        return time

    @property
    def newest(self) -> int:
        """The time of the last event that is kept singly; there must be one."""
        time: int = _TIME.unpack_from(self.times, len(self.times) - _TIME.size)[0]
        return time

    def add(self, time: int, event_id: bytes, number: float | None) -> None:
        """Take an event in, wherever its time puts it; `number` is None where the series is only counted."""
        value = b"" if number is None else _NUMBER.pack(number)
        if not self.times or time > self.newest:
            self.times += _TIME.pack(time)
            self.ids += event_id
            self.numbers += value
            return
        place = self.first_after(time)
        while place and (self.time_at(place - 1), self.id_at(place - 1)) > (time, event_id):
            place -= 1
        for column, part in ((self.times, _TIME.pack(time)), (self.ids, event_id), (self.numbers, value)):
            column[place * len(part) : place * len(part)] = part

    def fold(self, until: int) -> None:
        """Keep events up to a time as totals only."""
        old = self.first_after(until)
        numbers = self.numbers_of(0, old)
        self.count += old
        if numbers:
            self.numbered += len(numbers)
            self.sum = exact_terms([*self.sum, *numbers])
            self.least = min(numbers if self.least is None else [self.least, *numbers])
            self.greatest = max(numbers if self.greatest is None else [self.greatest, *numbers])
        del self.times[: old * _TIME.size], self.ids[: old * _ID_BYTES], self.numbers[: old * _NUMBER.size]

    def time_at(self, index: int) -> int:
        """The time of an event that is kept singly."""
        time: int = _TIME.unpack_from(self.times, index * _TIME.size)[0]
        return time

    def id_at(self, index: int) -> bytes:
        """The id of an event that is kept singly."""
        return bytes(self.ids[index * _ID_BYTES : (index + 1) * _ID_BYTES])

    def numbers_of(self, first: int, after: int) -> list[float]:
        """The numbers that those from `first` to before `after` have."""
        numbers = memoryview(self.numbers).cast("d")[first:after]
        return [number for number in numbers if number == number]  # NaN is not

    def has_at(self, time: int) -> bool:
        """Whether an event of exactly this time is kept singly."""
        after = self.first_after(time)
        return after > 0 and self.time_at(after - 1) == time

    def first_after(self, time: int) -> int:
        """The index of the first event after a time."""
        return bisect_right(memoryview(self.times).cast("q"), time)


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


class Fact(msgspec.Struct, array_like=True, gc=False):
    """A trait's value, or a purpose's consent, and the event that set it."""

    value: Any
    """None: removed."""
    time: int
    event_id: bytes
    before: Any = None
    """The value until then: whether a rule held before the change can be told."""


def set_fact(facts: dict[str, Fact], name: str, new: Fact) -> None:
    """Let a value change; one that is only said again has held since it was said first."""
    old = facts.get(name)
    if old is None:
        facts[name] = new
    elif not _is_same(old.value, new.value):
        facts[name] = Fact(new.value, new.time, new.event_id, before=old.value)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, with numbers and booleans of one type however deep inside."""
    if type(one) is not type(other) or one != other:
        return False
    if not isinstance(one, dict | list):
        return True
    # To Python 1, 1.0 and True are equal, and so is what holds them.
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def values_at(
    facts: dict[str, Fact], until: float = math.inf, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """The values that had been set by then: all, or those of some names."""
    values: dict[str, Any] = {}
    for name in facts if names is None else names:
        fact = facts.get(name)
        if fact is not None:
            value = fact.value if fact.time <= until else fact.before
            if value is not None:
                values[name] = value
    return values


class Membership(msgspec.Struct, array_like=True, gc=False):
    """Since when, by the times of the events, and because of which event, a person is in a segment."""

    entered: int
    cause_id: bytes
    event_id: bytes


class State(msgspec.Struct, array_like=True, gc=False):
    """All that is kept of one person."""

    profile_id: str
    revision: int = 0
    plan: int = 0
    """The version of the plan that it was last evaluated with."""
    writes: int = 0
    """How often it was stored: it replaces nothing but the state that it was computed from."""
    as_of: int = 0
    """The time up to which time has passed for this person; 0 before the first."""
    first: tuple[int, bytes] | None = None
    """Time and id of the earliest event: since when the person is known."""
    traits: dict[str, Fact] = msgspec.field(default_factory=dict)
    consent: dict[str, Fact] = msgspec.field(default_factory=dict)
    series: dict[int, SeriesState] = msgspec.field(default_factory=dict)
    memberships: dict[str, Membership] = msgspec.field(default_factory=dict)
    merged_into: str | None = None
    """The survivor; empty where profile knows nobody of this id any more."""
    open: bool = False
    """Further steps of the same change follow: nothing is decided before the last."""
    changed: bool = False
    """Something came that was not evaluated yet."""
    news: list["Occurrence"] = msgspec.field(default_factory=list)
    """Events that were applied since time last passed: a wait that they began may be over already."""
    waiting: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    """The properties of the events whose wait for a trigger goes on, by event id."""
    due: int | None = None
    """When time alone may next change something."""
    window_end: int | None = None
    """No event leaves a window after `as_of` and before this; at its end where the state is settled."""
    fold_at: int | None = None
    """When the next event is old enough to be kept in the totals only."""

    def bury(self, survivor_id: str) -> None:
        """Keep nothing but the memberships that are to be left."""
        self.merged_into = survivor_id
        self.first = None
        self.window_end = self.fold_at = None
        for kept in (self.traits, self.consent, self.series, self.news, self.waiting):
            kept.clear()


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


class Transition(msgspec.Struct, frozen=True, gc=False):
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


class Occurrence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as rules see it."""

    event_id: bytes
    name: str
    """Empty where rules have no name for it."""
    time: int
    properties: bytes
    """A JSON object, or nothing: only read where a rule asks for it."""


class Update(msgspec.Struct, frozen=True, gc=False):
    """One step of a profile's life, as profile tells it."""

    profile_id: str
    revision: int
    moved: bool = False
    more: bool = False
    merged_into: str | None = None
    occurrences: tuple[Occurrence, ...] = ()
    traits: tuple[tuple[str, Fact], ...] = ()
    """What changed."""
    consent: tuple[tuple[str, Fact], ...] = ()


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
