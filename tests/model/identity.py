"""Who is who: by brute force over all events at once, or one after another where the order decides.

Identifiers that events name together belong together. The limits make exceptions, and whether one is
met may depend on the order of arrival: then `people` says so (`Person.limited`), and `people_in_order`
tells who is who for one order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.model.events import ADDRESSES, USER_ID, Event, exactly, first_copies
from tests.model.facts import Facts, facts_of, told

MOST_IDENTIFIERS = 1_000
MOST_TRAIT_BYTES = 256 * 1024
# What a trait takes up beside its name and value.
_TRAIT_BYTES = 40


@dataclass
class Person:
    """Somebody, with every event that is theirs."""

    identifiers: set[str]
    events: list[Event]
    limited: bool = False
    """Whether a limit of identity makes who is who depend on the order of arrival."""

    @property
    def facts(self) -> Facts:
        return facts_of(self.events)

    @property
    def traits(self) -> dict[str, Any]:
        """The last writer of each, without what was removed."""
        return told(self.facts.traits)

    @property
    def consent(self) -> dict[str, bool]:
        return told(self.facts.consent)

    @property
    def user_ids(self) -> set[str]:
        return {i for i in self.identifiers if i[0] == USER_ID}

    @property
    def may_meet_claims(self) -> bool:
        """Whether a browser linked somebody of whom an address is known: claims carry no address."""
        linking = [e for e in self.events if not e.trusted and (len(e.usable) > 1 or _names_address(e))]
        return bool(linking) and any(_names_address(e) for e in self.events)

    @property
    def is_too_large(self) -> bool:
        """Whether there may be more of it than one profile holds."""
        sizes: dict[str, int] = {}
        for event in self.events:
            for name, value in event.said.items():
                sizes[name] = max(sizes.get(name, 0), _TRAIT_BYTES + len(name) + len(exactly(value)))
        return len(self.identifiers) > MOST_IDENTIFIERS or sum(sizes.values()) > MOST_TRAIT_BYTES


def _names_address(event: Event) -> bool:
    return any(i[0] in ADDRESSES.values() for i in event.usable) or any(n in ADDRESSES for n in event.said)


def people(events: Iterable[Event]) -> list[Person]:
    """Connected components: events that share an identifier, one by one."""
    holders: dict[str, Person] = {}
    found: dict[int, Person] = {}
    for event in first_copies(events):
        sharing = list({id(h): h for i in event.usable if (h := holders.get(i)) is not None}.values())
        person = max(sharing, key=lambda p: len(p.events), default=Person(set(), []))
        for other in sharing:
            if other is not person:
                person.events += other.events
                person.identifiers |= other.identifiers
                holders.update(dict.fromkeys(other.identifiers, person))
                del found[id(other)]
        person.events.append(event)
        person.identifiers.update(event.usable)
        holders.update(dict.fromkeys(event.usable, person))
        found[id(person)] = person
    for person in found.values():
        person.limited = len(person.user_ids) > 1 or person.may_meet_claims or person.is_too_large
    return list(found.values())


def people_in_order(events: Sequence[Event]) -> list[Person]:
    """Who is who when the events were applied one after another, limits and all.

    What claims do is left open: their people stay `limited`.
    """
    found: list[Person] = []
    contested: set[str] = set()
    for event in first_copies(events):
        naming = [i for i in event.usable if i not in contested]
        person = _holder(found, naming[0]) if naming else None
        if person is None:
            person = Person(set(), [])
            found.append(person)
        for identifier in naming:
            holder = _holder(found, identifier)
            if holder is None or holder is person:
                person.identifiers.add(identifier)
            elif not (holder.user_ids and person.user_ids):
                person.identifiers |= holder.identifiers
                person.events += holder.events
                found = [other for other in found if other is not holder]
            elif identifier[0] in ADDRESSES.values():
                # Under two user ids: from now on it joins nobody.
                holder.identifiers.remove(identifier)
                contested.add(identifier)
        person.events.append(event)
    open_ids = {e.event_id for p in people(events) if p.may_meet_claims or p.is_too_large for e in p.events}
    for person in found:
        person.limited = any(e.event_id in open_ids for e in person.events)
    return found


def _holder(found: Iterable[Person], identifier: str) -> Person | None:
    return next((person for person in found if identifier in person.identifiers), None)


def contested(events: Iterable[Event]) -> set[str]:
    """The addresses that events themselves name under two user ids: in any order they join nobody."""
    users: dict[str, set[str]] = {}
    for event in events:
        usable = event.usable
        if usable and usable[0][0] == USER_ID:
            for identifier in usable:
                if identifier[0] in ADDRESSES.values():
                    users.setdefault(identifier, set()).add(usable[0])
    return {identifier for identifier, named in users.items() if len(named) > 1}
