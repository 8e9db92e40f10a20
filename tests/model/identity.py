"""Who is who: by brute force over all events at once, or one after another where the order decides.

Identifiers that events name together belong together. The limits make exceptions, and whether one is
met may depend on the order of arrival: then `people` says so (`Person.limited`), and `people_in_order`
tells who is who for one order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.model.consent import consent_of, earliest, latest
from tests.model.events import ADDRESSES, ANONYMOUS_ID, USER_ID, Event, exactly, first_copies
from tests.model.facts import Facts, Said, facts_of, told

MOST_IDENTIFIERS = 1_000
MOST_TRAIT_BYTES = 256 * 1024
# What a trait takes up beside its name and value.
_TRAIT_BYTES = 40


@dataclass
class Person:
    """Somebody, with every event that is theirs."""

    identifiers: set[str]
    events: list[Event]
    held: dict[str, bool] = field(default_factory=dict)
    """What one of them had refused when two became one."""
    limited: bool = False
    """Whether a limit of identity makes who is who depend on the order of arrival."""

    consent_told: Mapping[str, bool] | None = None
    """What profile tells, where a merge or a shared address may have decided."""

    @property
    def facts(self) -> Facts:
        facts = facts_of(self.events)
        for purpose, granted in (self.consent_told or {}).items():
            said = facts.consent.get(purpose)
            if said is None or said.value != granted:
                facts.consent[purpose] = Said(granted, 0, b"")
        return facts

    @property
    def traits(self) -> dict[str, Any]:
        """The last writer of each, without what was removed."""
        return told(self.facts.traits)

    @property
    def consent(self) -> dict[str, bool]:
        return consent_of(self.events) | self.held

    @property
    def addresses(self) -> set[str]:
        """Every address that ever was theirs: what led to them, and what was said of them."""
        said = {f"{ADDRESSES[n]}:{e.said[n]}" for e in self.events for n in ADDRESSES if e.said.get(n)}
        return said | {i for i in self.identifiers if i[0] in ADDRESSES.values()}

    @property
    def user_ids(self) -> set[str]:
        return {i for i in self.identifiers if i[0] == USER_ID}

    @property
    def may_meet_claims(self) -> bool:
        """Whether a browser linked somebody of whom an address is known: claims carry no address."""
        linking = [e for e in self.events if not e.trusted and (len(e.usable) > 1 or _names_address(e))]
        return bool(linking) and any(_names_address(e) for e in self.events)

    @property
    def shares_device(self) -> bool:
        """Whether different addresses came from one device: it may have stopped joining on the way."""
        named: dict[tuple[str, str], set[str]] = {}
        for event in self.events:
            for device in (i for i in event.usable if i[0] == ANONYMOUS_ID and event.trusted):
                for address in (i for i in event.usable if i[0] in ADDRESSES.values()):
                    named.setdefault((device, address[0]), set()).add(address)
        return any(len(addresses) > 1 for addresses in named.values())

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
        if not event.usable:
            continue
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
        person.limited = (
            len(person.user_ids) > 1 or person.may_meet_claims or person.is_too_large or person.shares_device
        )
    return list(found.values())


def people_in_order(events: Sequence[Event]) -> list[Person]:
    """Who is who when the events were applied one after another, limits and all.

    What claims do is left open: their people stay `limited`.
    """
    found: list[Person] = []
    contested: set[str] = set()
    came: dict[str, dict[str, str]] = {}
    for event in first_copies(events):
        naming = [i for i in event.usable if i not in contested]
        if not naming:
            continue
        person = _holder(found, naming[0])
        if person is None:
            person = Person(set(), [])
            found.append(person)
        for identifier in naming:
            holder = _holder(found, identifier)
            named = _addresses_beside(identifier, event)
            seen = came.get(identifier, {})
            if any(
                k in seen and seen[k] != a and seen[k] not in person.identifiers for k, a in named.items()
            ):
                # Different people's addresses come from it: from now on it joins nobody.
                if holder is not None:
                    holder.identifiers.remove(identifier)
                contested.add(identifier)
                continue
            came[identifier] = named | seen
            if holder is None or holder is person:
                person.identifiers.add(identifier)
            elif not (holder.user_ids and person.user_ids):
                _join(person, holder)
                found = [other for other in found if other is not holder]
            elif identifier[0] in ADDRESSES.values():
                # Under two user ids: from now on it joins nobody.
                holder.identifiers.remove(identifier)
                contested.add(identifier)
        person.events.append(event)
        for purpose, granted in event.consent.items():
            if granted and event.trusted and person.held.get(purpose) is False:
                others = [e for e in person.events if e is not event and purpose in e.consent]
                if all(earliest(event) > (earliest(e) if e.consent[purpose] else latest(e)) for e in others):
                    del person.held[purpose]
    open_ids = {e.event_id for p in people(events) if p.may_meet_claims or p.is_too_large for e in p.events}
    for person in found:
        person.limited = any(e.event_id in open_ids for e in person.events)
    return found


def _addresses_beside(identifier: str, event: Event) -> dict[str, str]:
    """The addresses that a server names together with a device, by kind."""
    if identifier[0] != ANONYMOUS_ID or not event.trusted:
        return {}
    return {i[0]: i for i in event.usable if i[0] in ADDRESSES.values()}


def _join(person: Person, other: Person) -> None:
    """One person: what either had refused is refused, until somebody grants it anew."""
    before = [person.consent, other.consent]
    refused = {purpose for consent in before for purpose, granted in consent.items() if not granted}
    person.identifiers |= other.identifiers
    person.events += other.events
    person.held |= other.held | dict.fromkeys(refused, False)


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
