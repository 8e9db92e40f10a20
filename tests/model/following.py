"""What must happen to people whose steps are told batch by batch: each entry, exit and trigger at its true
time, by brute force over everything that was told. Nothing is kept or timed here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.model.events import DAY, Event
from tests.model.facts import Facts, Said, View, say
from tests.model.rules import Segment, Trigger, is_answered, members
from tests.model.waits import LATE

EXACT = 7 * DAY
"""How far back it must be told exactly since when a rule has held."""


@dataclass(frozen=True)
class Step:
    """One step of a profile's life, as it is told: its events, and what changed by them."""

    profile_id: str
    revision: int
    moved: bool = False
    more: bool = False
    merged_into: str | None = None
    events: tuple[Event, ...] = ()
    traits: tuple[tuple[str, Said], ...] = ()
    consent: tuple[tuple[str, Said], ...] = ()


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
class _Person:
    facts: Facts = field(default_factory=Facts)
    revision: int = 0
    as_of: int = 0
    merged: bool = False
    open: bool = False
    changed: bool = False
    news: set[bytes] = field(default_factory=set)
    members: dict[str, When] = field(default_factory=dict)


class Followed:
    """Everybody, followed batch by batch."""

    def __init__(self, segments: Mapping[str, Segment], triggers: Mapping[str, Trigger]) -> None:
        self.segments = segments
        self.triggers = triggers
        self.people: dict[str, _Person] = defaultdict(_Person)
        self.acted: set[tuple[str, bytes]] = set()
        self.rebuilt = 0
        self._windows = {w for s in segments.values() for _, w in s.reads if w is not None}

    def batch(
        self,
        steps: Iterable[Step],
        histories: Mapping[str, Sequence[Step]],
        clocks: Callable[[str], tuple[int, int]],
    ) -> tuple[list[Change], list[Change]]:
        """What a batch enters and leaves, in order for each person and segment; and what it triggers."""
        for step in steps:
            self._take(step, histories[step.profile_id])
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
        return set() if person.merged else members(person.facts, self.segments, at)

    def _take(self, step: Step, history: Sequence[Step]) -> None:
        person = self.people[step.profile_id]
        if step.revision <= person.revision:
            return
        if step.revision > person.revision + 1:
            self.rebuilt += 1
            for missed in [s for s in history if s.revision > person.revision]:
                self._apply(person, missed)
            person.open = False
            return
        self._apply(person, step)

    def _apply(self, person: _Person, step: Step) -> None:
        person.revision, person.open, person.changed = step.revision, step.more, True
        if step.merged_into is not None:
            person.merged = True
            return
        person.facts.events += step.events
        person.news |= {event.event_id for event in step.events}
        if step.moved:
            return
        for name, said in step.traits:
            say(person.facts.traits, name, said)
        for purpose, said in step.consent:
            say(person.facts.consent, purpose, said)

    def _pass(self, profile_id: str, person: _Person, start: int, now: int) -> list[Change]:
        ends = {e.time + w for e in person.facts.events for w in self._windows}
        changes = []
        if person.changed:
            changes += self._decide(profile_id, person, start, by_time=False)
        for end in sorted(end for end in ends if start < end <= now):
            changes += self._decide(profile_id, person, end, by_time=True)
        return changes

    def _decide(self, profile_id: str, person: _Person, at: int, by_time: bool) -> list[Change]:
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

    def _since(self, facts: Facts, segment: Segment, now: int, held: bool) -> When:
        """Since when it has been so, and by which event."""
        changes: dict[int, bytes] = {}
        for name, window in segment.reads:
            for e in facts.events:
                if e.known_as != name or (segment.kind and e.properties.get("kind") != segment.kind):
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

    def _fire(self, profile_id: str, person: _Person, since: int, start: int, now: int) -> list[Change]:
        fired = []
        for trigger_id, trigger in self.triggers.items():
            for e in person.facts.events:
                due = e.time + trigger.delay
                if e.known_as != trigger.name or due > now or due <= max(trigger.created, start - LATE):
                    continue
                if due <= since and e.event_id not in person.news:
                    continue
                if is_answered(person.facts.events, e, trigger):
                    continue
                if trigger.holds(View(person.facts, due, due)) and (trigger_id, e.event_id) not in self.acted:
                    self.acted.add((trigger_id, e.event_id))
                    fired.append(Change(profile_id, "triggered", trigger_id, When(due, True, e.event_id)))
        return fired


def _later(entered: When, left: When) -> When:
    """No exit is told to be before its entry."""
    return max(entered, left, key=lambda when: when.time)
