"""Which triggers are due, with their causes.

A trigger fires when its time has come and everything that was acknowledged before that time has been
applied. What comes later may or may not be there yet when it fires: an answer, a merge that brings one,
a change of what a condition reads. So there are triggers that must fire, and others that may.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.model.events import DAY, Event
from tests.model.facts import View, facts_of
from tests.model.identity import Person, people
from tests.model.rules import Trigger, is_answered

LATE = DAY
"""How much later than the end of its wait an event may come and still fire a trigger."""


@dataclass(frozen=True)
class Due:
    """A trigger whose wait is over."""

    trigger_id: str
    cause: Event
    time: int
    must: bool
    """Whether it fires whatever the order in which later events are applied; else it may."""

    @property
    def effect(self) -> tuple[str, bytes]:
        """The name of the effect, which happens once."""
        return self.trigger_id, self.cause.event_id


def due_triggers(persons: Iterable[Person], triggers: Mapping[str, Trigger], until: int) -> list[Due]:
    """What must or may have fired once time has passed up to `until`: nothing else may have."""
    found = []
    for person in persons:
        for trigger_id, trigger in triggers.items():
            for cause in person.events:
                due = cause.time + trigger.delay
                if cause.known_as != trigger.name or not trigger.created < due <= until:
                    continue
                verdicts = list(_verdicts(person, trigger, cause, due))
                if any(verdicts):
                    found.append(Due(trigger_id, cause, due, must=all(verdicts)))
    return found


def _verdicts(person: Person, trigger: Trigger, cause: Event, due: int) -> Iterator[bool]:
    """Whether it fires: by what is known at its time, by what comes after it, and in the end."""
    if cause.received >= due + LATE:
        yield False
    if person.limited:
        # Which of their events were with the cause on the way depends on the order of arrival.
        yield from (True, False)
        return
    changes_later = _changes_later(person, trigger, due)
    for events in _known(person, trigger, cause, due):
        if is_answered(events, cause, trigger):
            yield False
        elif changes_later:
            yield from (True, False)
        else:
            yield trigger.holds(View(facts_of(events), due, due))


def _known(person: Person, trigger: Trigger, cause: Event, due: int) -> Iterator[list[Event]]:
    """What may be known of the one who did `cause`, from the least at its time to all."""
    # An answer stays one; only a condition may hold, and not hold, and hold again.
    moments = {e.received for e in person.events if e.received > due} if trigger.text else set()
    for moment in sorted({due, *moments}):
        known = [e for e in person.events if e.received <= moment or e is cause]
        yield next(p.events for p in people(known) if any(e is cause for e in p.events))
    yield person.events


def _changes_later(person: Person, trigger: Trigger, due: int) -> bool:
    """Whether what a condition reads was set again later: what it was before is not kept for ever."""
    names = {*trigger.traits, *trigger.consent}
    return any(e.time > due and names & {*e.said, *e.consent} for e in person.events)
