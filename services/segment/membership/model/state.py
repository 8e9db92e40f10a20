"""What segment keeps of a person, and what can happen to them: plain Python.

All times are microseconds since 1970. What is kept is a function of the updates and of the clock: not
of the order in which events came, nor of how they were batched. Only a membership's time and cause stay
what they were when the entry was told, whatever late event comes after.

What comes with every event is a msgspec struct: it is made and stored in a fraction of a dataclass's time.
"""

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from enum import Enum
from struct import Struct
from typing import Any

import msgspec
import orjson

# How the columns of a series are laid out, in the machine's own order: as memoryview reads them.
_TIME, _NUMBER, _ID_BYTES = Struct("q"), Struct("d"), 16
# A part is stored by itself, and rewritten as a whole: some kilobytes. Its size is kept in a byte.
PART_EVENTS = 64
_MOST_IN_PART = 255

_DROPPED = -1
"""Among the parts that are not stored as they are: there are stored ones before the first."""

_SERVER = 128
"""The bit of an event's origin that says that it came from a server source."""


def origin_of(trusted: bool, clock: int) -> int:
    """An event's origin in one byte: whether it is trusted, and a few bits of whose clock told its time."""
    return (_SERVER if trusted else 0) | clock % _SERVER


def is_trusted(origin: int) -> bool:
    """Whether an event of that origin came from a server source."""
    return origin >= _SERVER


class Numbers(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The numbers of some events, summed up."""

    count: int = 0
    terms: list[float] = []
    """Doubles whose exact sum is the sum."""
    least: float | None = None
    greatest: float | None = None

    def with_numbers(self, numbers: list[float]) -> "Numbers":
        """These and others; the terms are not made few."""
        if not numbers:
            return self
        return Numbers(
            self.count + len(numbers),
            [*self.terms, *numbers],
            min(numbers if self.least is None else [self.least, *numbers]),
            max(numbers if self.greatest is None else [self.greatest, *numbers]),
        )


class Division(msgspec.Struct, array_like=True, gc=False):
    """How a series is divided, whose last events alone lie with the state: few people have so many."""

    first: int = 0
    """The number of the first part; the others follow."""
    sizes: bytearray = msgspec.field(default_factory=bytearray)
    """How many events each part holds, from the first event on; the rest lie with the state."""
    touched: set[int] = msgspec.field(default_factory=set)
    """The numbers of the parts that are not stored as they are; empty where the state is."""
    sums: list[Numbers] = msgspec.field(default_factory=list)
    """In memory alone: of each part and all behind it, but for what lies with the state."""

    @property
    def events(self) -> int:
        """How many events lie in parts."""
        return sum(self.sizes)

    @property
    def numbers(self) -> range:
        """The numbers of all parts."""
        return range(self.first, self.first + len(self.sizes))

    def append(self) -> None:
        """The events that were the first to lie with the state are a part now."""
        self.sizes.append(PART_EVENTS)
        self.touched.add(self.first + len(self.sizes) - 1)
        self.sums.clear()

    def grow(self, place: int) -> None:
        """An event came in at a place: the part that holds it has one more."""
        self.sums.clear()
        end = 0
        for number, size in enumerate(self.sizes):
            end += size
            if place < end:
                if size == _MOST_IN_PART:
                    # It becomes two; what lies behind it changes its number.
                    half = size // 2
                    self.sizes[number : number + 1] = bytes((half, size + 1 - half))
                    self.touched.update(self.numbers[number:])
                else:
                    self.sizes[number] += 1
                    self.touched.add(self.first + number)
                return

    def drop(self, events: int) -> None:
        """The first events are kept singly no more."""
        self.sums.clear()
        while self.sizes and events:
            if events < self.sizes[0]:
                self.sizes[0] -= events
                self.touched.add(self.first)
                break
            events -= self.sizes[0]
            self.touched.discard(self.first)
            self.touched.add(_DROPPED)
            del self.sizes[0]
            self.first += 1


class SeriesState(msgspec.Struct, array_like=True, gc=False):
    """A person's events of one series: the recent ones singly, the older ones as totals.

    The single ones are columns, ordered by time and id: so they take little more in memory than stored,
    and are stored and read back without a look at each. Stored they are divided: all but the last ones
    lie in parts of their own, so that what an event does not touch is not written again.
    """

    times: bytearray = msgspec.field(default_factory=bytearray)
    """A signed integer of 64 bits each."""
    ids: bytearray = msgspec.field(default_factory=bytearray)
    """16 bytes each."""
    origins: bytearray = msgspec.field(default_factory=bytearray)
    """A byte each, by `origin_of`."""
    numbers: bytearray = msgspec.field(default_factory=bytearray)
    """A double each, NaN where an event has none; nothing at all where the series is only counted."""
    count: int = 0
    """Of the older events; so are the rest, over those that had a number."""
    numbered: int = 0
    sum: tuple[float, ...] = ()
    """Doubles whose exact sum is the sum: the same whatever the order in which they were added."""
    least: float | None = None
    greatest: float | None = None
    division: Division | None = None

    def __len__(self) -> int:
        """How many events are kept singly."""
        return len(self.origins)

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

    def add(self, time: int, event_id: bytes, origin: int, number: float | None) -> None:
        """Take an event in, wherever its time puts it; `number` is None where the series is only counted."""
        value = b"" if number is None else _NUMBER.pack(number)
        times = self.times
        if not times or time > _TIME.unpack_from(times, len(times) - _TIME.size)[0]:
            self.times += _TIME.pack(time)
            self.ids += event_id
            self.origins.append(origin)
            self.numbers += value
        else:
            place = self.first_after(time)
            while place and (self.time_at(place - 1), self.id_at(place - 1)) > (time, event_id):
                place -= 1
            for column, part in (
                (self.times, _TIME.pack(time)),
                (self.ids, event_id),
                (self.origins, bytes((origin,))),
                (self.numbers, value),
            ):
                column[place * len(part) : place * len(part)] = part
            if self.division is not None:
                self.division.grow(place)
        if len(self.origins) >= 2 * PART_EVENTS:
            division = self.division or Division()
            if len(self.origins) - division.events >= 2 * PART_EVENTS:
                self.division = division
                division.append()

    def fold(self, until: int) -> None:
        """Keep events up to a time as totals only."""
        old = self.first_after(until)
        numbers = self.numbers_of(0, old)
        self.count += old
        if numbers:
            self.numbered += len(numbers)
            self.sum = tuple(exact_terms([*self.sum, *numbers]))
            self.least = min(numbers if self.least is None else [self.least, *numbers])
            self.greatest = max(numbers if self.greatest is None else [self.greatest, *numbers])
        del self.times[: old * _TIME.size], self.ids[: old * _ID_BYTES], self.numbers[: old * _NUMBER.size]
        del self.origins[:old]
        if self.division is not None:
            self.division.drop(old)

    def changed_parts(self) -> tuple[dict[int, "SeriesState"], bool]:
        """The parts to store, by number, and whether stored ones before the first must go; asked for once."""
        touched = set() if self.division is None else self.division.touched
        dropped = _DROPPED in touched
        changed = {number: self.part(number) for number in sorted(touched - {_DROPPED})}
        touched.clear()
        return changed, dropped

    def part(self, number: int) -> "SeriesState":
        """One part's events, as they are stored by themselves."""
        assert self.division is not None
        place, sizes = number - self.division.first, self.division.sizes
        first = sum(sizes[:place])
        return self._columns(first, first + sizes[place])

    def head(self) -> "SeriesState":
        """All but what lies in parts, as it is stored with the state."""
        if self.division is None:
            return self
        head = self._columns(self.division.events, len(self))
        head.count, head.numbered, head.sum = self.count, self.numbered, self.sum
        head.least, head.greatest = self.least, self.greatest
        head.division = Division(self.division.first, self.division.sizes)
        return head

    def _columns(self, first: int, after: int) -> "SeriesState":
        return SeriesState(
            self.times[first * _TIME.size : after * _TIME.size],
            self.ids[first * _ID_BYTES : after * _ID_BYTES],
            self.origins[first:after],
            self.numbers[first * _NUMBER.size : after * _NUMBER.size],
        )

    def join(self, parts: Sequence["SeriesState"]) -> None:
        """Put stored parts, in order, before what was stored with the state."""
        self.times = bytearray().join([*(part.times for part in parts), self.times])
        self.ids = bytearray().join([*(part.ids for part in parts), self.ids])
        self.origins = bytearray().join([*(part.origins for part in parts), self.origins])
        self.numbers = bytearray().join([*(part.numbers for part in parts), self.numbers])

    def undivided(self) -> "SeriesState":
        """A copy that tells nothing of how it is stored: equal where the events are."""
        return msgspec.structs.replace(self, division=None)

    def time_at(self, index: int) -> int:
        """The time of an event that is kept singly."""
        time: int = _TIME.unpack_from(self.times, index * _TIME.size)[0]
        return time

    def id_at(self, index: int) -> bytes:
        """The id of an event that is kept singly."""
        return bytes(self.ids[index * _ID_BYTES : (index + 1) * _ID_BYTES])

    def number_at(self, index: int) -> float:
        """The number of an event that is kept singly, in a series that keeps numbers."""
        number: float = _NUMBER.unpack_from(self.numbers, index * _NUMBER.size)[0]
        return number

    def numbers_of(self, first: int, after: int) -> list[float]:
        """The numbers that those from `first` to before `after` have."""
        numbers = memoryview(self.numbers).cast("d")[first:after]
        return [number for number in numbers if number == number]  # NaN is not

    def summed(self, first: int, after: int) -> Numbers:
        """The numbers of those from `first` to before `after`, in the time of a few parts."""
        division = self.division
        if division is None or after < len(self) or first >= division.events:
            return Numbers().with_numbers(self.numbers_of(first, after))
        if not division.sums:
            division.sums = self._sums(division)
        start = number = 0
        while start < first:
            start += division.sizes[number]
            number += 1
        behind = division.sums[number] if number < len(division.sums) else Numbers()
        rest = self.numbers_of(division.events, after)
        return behind.with_numbers(self.numbers_of(first, start) + rest)

    def _sums(self, division: Division) -> list[Numbers]:
        sums = []
        end, behind = division.events, Numbers()
        for size in reversed(division.sizes):
            behind = behind.with_numbers(self.numbers_of(end - size, end))
            behind = Numbers(behind.count, exact_terms(behind.terms), behind.least, behind.greatest)
            sums.append(behind)
            end -= size
        sums.reverse()
        return sums

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
    trusted: bool = False
    """Whether a server source said so."""


def set_fact(facts: dict[str, Fact], name: str, new: Fact) -> None:
    """Let a value change; one that is only said again has held since it was said first."""
    old = facts.get(name)
    if old is None:
        facts[name] = new
    elif not _is_same(old.value, new.value):
        facts[name] = Fact(new.value, new.time, new.event_id, old.value, new.trusted)


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
    """Since when, by the times of the events, and because of which event, a person is in a segment.

    What was told at the entry stays, whatever late event comes after.
    """

    entered: int
    cause_id: bytes
    event_id: bytes


class Rebuild(msgspec.Struct, array_like=True, gc=False):
    """What a state was before it was begun anew: it goes on from there once all that it knew is back."""

    revision: int
    plan: int
    news: list[bytes]
    """The ids of its news."""
    changed: bool
    open: bool


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
    first: tuple[int, bytes, bool] | None = None
    """Time and id of the earliest event, since when the person is known, and whether it is trusted."""
    traits: dict[str, Fact] = msgspec.field(default_factory=dict)
    """Those that rules read."""
    consent: dict[str, Fact] = msgspec.field(default_factory=dict)
    series: dict[int, SeriesState] = msgspec.field(default_factory=dict)
    memberships: dict[str, Membership] = msgspec.field(default_factory=dict)
    merged_into: str | None = None
    """The survivor; empty where profile knows nobody of this id any more."""
    open: bool = False
    """Further steps of the same change follow: nothing is decided before the last."""
    behind: bool = False
    """Its history has more, which is read in further portions: nothing is decided before the last."""
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
    rebuild: Rebuild | None = None
    """Set until a state that was begun anew has come to what it was."""
    anew: bool = False
    """Whether parts of an older state must go when this one is stored."""

    @property
    def is_undecided(self) -> bool:
        """Whether more must come before anything is decided."""
        return self.open or self.behind

    def close(self, survivor_id: str) -> None:
        """Keep nothing but the memberships that are to be left."""
        self.merged_into = survivor_id
        self.first = None
        self.window_end = self.fold_at = None
        self.anew = True
        for kept in (self.traits, self.consent, self.series, self.news, self.waiting):
            kept.clear()

    def drop_series(self, series_ids: Collection[int]) -> None:
        """Keep nothing of some series any more; what is left of the others is stored anew."""
        if not series_ids:
            return
        self.anew = self.anew or any(self.series[id_].division is not None for id_ in series_ids)
        for series_id in series_ids:
            del self.series[series_id]
        if self.anew:
            for _, _, division in self.divided():
                division.touched.update(division.numbers)

    def divided(self) -> list[tuple[int, SeriesState, Division]]:
        """The series that are divided, or were when they were stored, with their ids."""
        return [(id_, one, one.division) for id_, one in self.series.items() if one.division is not None]


class TransitionKind(Enum):
    """What can happen."""

    ENTERED = "entered"
    EXITED = "exited"
    TRIGGERED = "triggered"
    WITHDRAWN = "withdrawn"


class ExitReason(Enum):
    """Why a membership ended."""

    RULE = "rule"
    MERGED = "merged"
    DEFINITION = "definition"


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A person entered or left a segment, or a trigger fired, or took back that it had."""

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
    event_name: str = ""
    """The deciding event's name, where it is at hand."""
    exit_reason: ExitReason | None = None
    trusted: bool = False
    """Whether the deciding event came from a server source."""


class Occurrence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as rules see it."""

    event_id: bytes
    name: str
    """Empty where rules have no name for it."""
    time: int
    properties: bytes
    """A JSON object, or nothing: only read where a rule asks for it."""
    received: int = 0
    origin: int = 0
    """By `origin_of`."""
    view: str = ""
    """`page` or `screen` where it is a view of one, else empty."""
    viewed: str = ""
    """The name of the page or screen."""


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
