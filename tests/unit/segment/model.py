"""What segment must compute, by brute force over everything that was told: nothing is kept or timed here.

It shares no code with the product: rules are Python functions that stand beside their text.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from services.segment.domain import Update

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EXACT = 7 * DAY
LATE = DAY


@dataclass(frozen=True)
class Happened:
    """An event, as the generator made it."""

    event_id: bytes
    name: str
    time: int
    properties: Mapping[str, Any]


@dataclass
class Said:
    """A trait or a consent: its last change, and what it was before."""

    value: Any
    time: int
    event_id: bytes
    before: Any = None

    def at(self, until: int) -> Any:
        return self.value if self.time <= until else self.before


@dataclass
class Facts:
    """Everything that is known of a person."""

    events: list[Happened] = field(default_factory=list)
    traits: dict[str, Said] = field(default_factory=dict)
    consent: dict[str, Said] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """What a rule sees: the facts up to `until`, with windows measured to `at`."""

    facts: Facts
    at: int
    until: int

    def events(self, name: str, window: int | None = None, kind: str | None = None) -> list[Happened]:
        return [
            e
            for e in self.facts.events
            if e.name == name
            and e.time <= self.until
            and (window is None or e.time > self.at - window)
            and (kind is None or e.properties.get("kind") == kind)
        ]

    def totals(self, name: str, window: int | None = None) -> list[float]:
        """The numbers; what is none, or too great to be added up, does not count."""
        totals = (e.properties.get("total") for e in self.events(name, window))
        return [t for t in totals if isinstance(t, int | float) and abs(t) <= 1e300]

    def sum(self, name: str) -> float:
        return float(sum(map(Fraction, self.totals(name))))

    def trait(self, name: str) -> Any:
        said = self.facts.traits.get(name)
        return None if said is None else said.at(self.until)

    def consents(self, purpose: str) -> bool:
        said = self.facts.consent.get(purpose)
        return said is not None and said.at(self.until) is True


Holds = Callable[[View], bool]


@dataclass(frozen=True)
class ModelSegment:
    """A rule, twice: as text for the product, as a function for the model; and what it reads."""

    text: str
    holds: Holds
    reads: Sequence[tuple[str, int | None]] = ()
    """Names of events, each with the window that it is seen through."""
    traits: Sequence[str] = ()
    consent: Sequence[str] = ()
    kind: str | None = None


@dataclass(frozen=True)
class ModelTrigger:
    name: str
    unless: Sequence[str]
    delay: int
    created: int
    text: str = ""
    holds: Holds = lambda _: True


@dataclass(frozen=True)
class When:
    """A time, exactly; or, where it is further back than must be known, no later than that."""

    time: int
    exact: bool = True
    event_id: bytes | None = None

    def allows(self, time: int) -> bool:
        return time == self.time if self.exact else time <= self.time


@dataclass(frozen=True)
class Change:
    """Something that a batch must cause."""

    profile_id: str
    kind: str
    definition_id: str
    when: When


@dataclass
class Person:
    facts: Facts = field(default_factory=Facts)
    revision: int = 0
    as_of: int = 0
    merged: bool = False
    open: bool = False
    changed: bool = False
    news: set[bytes] = field(default_factory=set)
    members: dict[str, When] = field(default_factory=dict)


class Model:
    """Everybody, followed batch by batch."""

    def __init__(self, segments: Mapping[str, ModelSegment], triggers: Mapping[str, ModelTrigger]) -> None:
        self.segments = segments
        self.triggers = triggers
        self.people: dict[str, Person] = defaultdict(Person)
        self.acted: set[tuple[str, bytes]] = set()
        self.rebuilt = 0
        self._windows = {w for s in segments.values() for _, w in s.reads if w is not None}

    def batch(
        self,
        updates: Iterable[Update],
        happened: Mapping[bytes, Happened],
        histories: Mapping[str, Sequence[Update]],
        clocks: Callable[[str], tuple[int, int]],
    ) -> tuple[list[Change], list[Change]]:
        """What a batch enters and leaves, in order for each person and segment; and what it triggers."""
        for update in updates:
            self._take(update, happened, histories[update.profile_id])
        changes: list[Change] = []
        fired: list[Change] = []
        for profile_id, person in self.people.items():
            before, now = clocks(profile_id)
            if not now or person.open:
                continue
            since = person.as_of or before or now
            start = max(since, before)
            if person.merged:
                for id_, entered in sorted(person.members.items()):
                    changes.append(Change(profile_id, "exited", id_, _later(entered, When(now))))
                person.members.clear()
            else:
                changes += self._pass(profile_id, person, start, now)
                fired += self._fire(profile_id, person, since, start, now)
            person.as_of, person.changed = now, False
            person.news.clear()
        return changes, fired

    def members(self, profile_id: str, at: int) -> set[str]:
        """Who belongs where, from what is known."""
        person = self.people[profile_id]
        if person.merged:
            return set()
        view = View(person.facts, at, 2**62)
        return {id_ for id_, segment in self.segments.items() if segment.holds(view)}

    def _take(self, update: Update, happened: Mapping[bytes, Happened], history: Sequence[Update]) -> None:
        person = self.people[update.profile_id]
        if update.revision <= person.revision:
            return
        if update.revision > person.revision + 1:
            self.rebuilt += 1
            for missed in [u for u in history if u.revision > person.revision]:
                self._apply(person, missed, happened)
            person.open = False
            return
        self._apply(person, update, happened)

    def _apply(self, person: Person, update: Update, happened: Mapping[bytes, Happened]) -> None:
        person.revision, person.open, person.changed = update.revision, update.more, True
        if update.merged_into is not None:
            person.merged = True
            return
        for occurrence in update.occurrences:
            person.facts.events.append(happened[occurrence.event_id])
            person.news.add(occurrence.event_id)
        if update.moved:
            return
        for name, fact in update.traits:
            _say(person.facts.traits, name, Said(fact.value, fact.time, fact.event_id))
        for purpose, granted in update.consent:
            last = max((o.time, o.event_id) for o in update.occurrences)
            _say(person.facts.consent, purpose, Said(granted, *last))

    def _pass(self, profile_id: str, person: Person, start: int, now: int) -> list[Change]:
        ends = {e.time + w for e in person.facts.events for w in self._windows}
        changes = []
        if person.changed:
            changes += self._decide(profile_id, person, start, by_time=False)
        for end in sorted(end for end in ends if start < end <= now):
            changes += self._decide(profile_id, person, end, by_time=True)
        return changes

    def _decide(self, profile_id: str, person: Person, at: int, by_time: bool) -> list[Change]:
        held = self.members(profile_id, at)
        changes = []
        for id_ in sorted(person.members.keys() - held):
            entered = person.members.pop(id_)
            left = When(at) if by_time else self._since(person.facts, self.segments[id_], at, False)
            changes.append(Change(profile_id, "exited", id_, _later(entered, left)))
        for id_ in sorted(held - person.members.keys()):
            person.members[id_] = self._since(person.facts, self.segments[id_], at, True)
            changes.append(Change(profile_id, "entered", id_, person.members[id_]))
        return changes

    def _since(self, facts: Facts, segment: ModelSegment, now: int, held: bool) -> When:
        """Since when it has been so, and by which event."""
        changes: dict[int, bytes] = {}
        for name, window in segment.reads:
            for e in facts.events:
                if e.name != name or (segment.kind and e.properties.get("kind") != segment.kind):
                    continue
                changes[e.time] = max(changes.get(e.time, b""), e.event_id)
                if window is not None and e.time + window <= now:
                    changes.setdefault(e.time + window, b"")
        for said in [facts.traits.get(n) for n in segment.traits] + [
            facts.consent.get(n) for n in segment.consent
        ]:
            if said is not None:
                changes[said.time] = max(changes.get(said.time, b""), said.event_id)
        start: int | None = None
        for time in sorted(changes, reverse=True):
            if segment.holds(View(facts, min(time, now), time)) is not held:
                break
            start = time
        else:
            earliest = min(changes, default=now)
            if start is None or segment.holds(View(facts, earliest - 1, earliest - 1)) is held:
                start, changes[start] = min(((e.time, e.event_id) for e in facts.events), default=(now, b""))
        assert start is not None
        return When(start, True, changes[start]) if start > now - EXACT else When(now - EXACT, False)

    def _fire(self, profile_id: str, person: Person, since: int, start: int, now: int) -> list[Change]:
        fired = []
        for trigger_id, trigger in self.triggers.items():
            for e in person.facts.events:
                due = e.time + trigger.delay
                if e.name != trigger.name or due > now or due <= max(trigger.created, start - LATE):
                    continue
                if due <= since and e.event_id not in person.news:
                    continue
                if _ended(person.facts.events, e, trigger, due):
                    continue
                if trigger.holds(View(person.facts, due, due)) and (trigger_id, e.event_id) not in self.acted:
                    self.acted.add((trigger_id, e.event_id))
                    fired.append(Change(profile_id, "triggered", trigger_id, When(due, True, e.event_id)))
        return fired


def _later(entered: When, left: When) -> When:
    """No exit is told to be before its entry."""
    return max(entered, left, key=lambda when: when.time)


def _ended(events: Iterable[Happened], began: Happened, trigger: ModelTrigger, due: int) -> bool:
    for e in events:
        if e.name in trigger.unless and began.time <= e.time <= due:
            return True
        if e.name == trigger.name and (began.time, began.event_id) < (e.time, e.event_id) and e.time <= due:
            return True
    return False


def _say(known: dict[str, Said], name: str, new: Said) -> None:
    old = known.get(name)
    if old is None:
        known[name] = new
    elif old.value != new.value:
        known[name] = Said(new.value, new.time, new.event_id, old.value)
