"""The events of one series that a person has: columns for the recent ones, totals for the older.

All times are microseconds since 1970.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from struct import Struct

import msgspec

# How the columns of a series are laid out, in the machine's own order: as memoryview reads them.
_TIME, _NUMBER, _ID_BYTES = Struct("q"), Struct("d"), 16
# A part is stored by itself, and rewritten as a whole: some kilobytes. Its size is kept in a byte.
PART_EVENTS = 64
_MOST_IN_PART = 255

_DROPPED = -1
"""Among the parts that are not stored as they are: there are stored ones before the first."""


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
