"""Who somebody is and what is known of them: identity, traits and consent as plain Python.

An event belongs to the profile of its strongest identifier, and identifiers seen together belong
together, within limits: a profile has one user id; a blocked value joins nobody; an address seen
under two user ids joins nobody. Every rule is a function of the events alone, so that any order of
arrival gives the same traits, and the same identities where no limit was met.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# An identifier is its kind's letter, a colon and its value: `u:42`, `e:ada@example.com`.
USER_ID, EMAIL, PHONE, ANONYMOUS_ID = "u", "e", "p", "a"
STRENGTH = {USER_ID: 0, EMAIL: 1, PHONE: 2, ANONYMOUS_ID: 3}
ADDRESSES = frozenset({EMAIL, PHONE})
# The trait that holds the address that mail and messages go to.
ADDRESS_TRAITS = {"email": EMAIL, "phone": PHONE}

# What careless integrations send in place of an id: as an identifier it would join strangers.
BLOCKED_VALUES = frozenset(
    {"", "0", "-1", "null", "nil", "none", "undefined", "nan", "n/a", "na", "unknown", "anonymous", "guest"}
    | {"true", "false", "test", "user", "default", "[object object]", "00000000-0000-0000-0000-000000000000"}
)


def kind_of(identifier: str) -> str:
    """The identifier's kind."""
    return identifier[0]


def is_blocked_value(identifier: str) -> bool:
    """Whether the value names nobody, whoever sends it."""
    return identifier[2:].strip().lower() in BLOCKED_VALUES


@dataclass(frozen=True, slots=True)
class Event:
    """What profile needs to know of a collected event."""

    event_id: bytes
    trusted: bool
    """False from a browser, whose write key is public."""
    time: int
    """Microseconds since 1970: when it happened."""
    received: int
    """Microseconds since 1970."""
    identifiers: tuple[str, ...]
    """Strongest first, without repetition."""
    traits: Mapping[str, Any]
    consent: Mapping[str, bool]
    body: bytes
    """The event as it was collected, for the history."""


@dataclass(slots=True)
class Trait:
    """A trait's value and what decides the last writer. A removed trait stays, with None."""

    value: Any
    time: int
    event_id: bytes
    trusted: bool


@dataclass(slots=True)
class Choice:
    """What a person allows or forbids for one purpose, and what decides the last writer."""

    granted: bool
    time: int
    event_id: bytes


@dataclass(slots=True)
class Profile:
    """One person as stored."""

    profile_id: str
    created: int
    revision: int = 0
    identifiers: list[str] = field(default_factory=list)
    traits: dict[str, Trait] = field(default_factory=dict)
    consent: dict[str, Choice] = field(default_factory=dict)
    events: int = 0
    absorbed: list[str] = field(default_factory=list)

    @property
    def user_id(self) -> str | None:
        """The identifier that is its user id."""
        return next((i for i in self.identifiers if kind_of(i) == USER_ID), None)

    def has_kind(self, kind: str) -> bool:
        """Whether it has an identifier of this kind."""
        return any(kind_of(identifier) == kind for identifier in self.identifiers)


def trait_wins(name: str, new: Trait, old: Trait | None) -> bool:
    """Whether `new` replaces `old`: the later event time wins, at equal times the greater event id.

    An address that a browser gave never replaces one, and gives way to whatever a server says:
    with a public key anyone could have a victim's mail sent to himself.
    """
    if name in ADDRESS_TRAITS:
        if not new.trusted:
            return old is None and new.value is not None
        if old is not None and not old.trusted:
            return True
    return old is None or (new.time, new.event_id) > (old.time, old.event_id)


@dataclass(slots=True)
class Change:
    """What a batch did to one profile."""

    profile: Profile
    is_new: bool = False
    events: list[Event] = field(default_factory=list)
    traits: set[str] = field(default_factory=set)
    consent: set[str] = field(default_factory=set)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    absorbed: list["Change"] = field(default_factory=list)
    """The stored profiles that it absorbed."""

    @property
    def touched(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.events or self.traits or self.consent or self.added or self.removed or self.absorbed)


class Ledger:
    """Applies events one after another to the profiles that they concern."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        owners: Mapping[str, str | None],
        new_id: Callable[[], str],
    ) -> None:
        """Start from stored profiles and from who owns which identifier: None is blocked for good."""
        self._changes = {profile_id: Change(profile) for profile_id, profile in profiles.items()}
        self._owners = dict(owners)
        self._new_id = new_id
        self._survivors: dict[str, str] = {}
        self._assigned: list[tuple[str, Event]] = []

    def apply(self, event: Event) -> None:
        """Decide whose event it is, and let it change that profile."""
        change = self._resolve(event)
        profile = change.profile
        self._assigned.append((profile.profile_id, event))
        profile.events += 1
        profile.created = min(profile.created, event.received)
        for name, value in event.traits.items():
            if self._may_set(profile, event, name):
                self._set_trait(change, name, Trait(value, event.time, event.event_id, event.trusted))
        for purpose, granted in event.consent.items():
            self._set_consent(change, purpose, Choice(granted, event.time, event.event_id))

    def changes(self) -> list[Change]:
        """All that changed, each event with the profile that owns it in the end, by profile id."""
        for profile_id, event in self._assigned:
            self._changes[self._survivor(profile_id)].events.append(event)
        self._assigned.clear()
        living = (c for profile_id, c in self._changes.items() if profile_id not in self._survivors)
        return sorted((c for c in living if c.touched), key=lambda c: c.profile.profile_id)

    def owners(self) -> Mapping[str, str | None]:
        """Who owns each identifier now."""
        return {i: owner and self._survivor(owner) for i, owner in self._owners.items()}

    def _resolve(self, event: Event) -> Change:
        usable = [i for i in event.identifiers if not self._is_blocked(i)]
        # A browser's word on an address neither finds nor joins a profile.
        naming = usable if event.trusted else [i for i in usable if kind_of(i) not in ADDRESSES]
        owner = self._owner(naming[0]) if naming else None
        change = self._create(event) if owner is None else self._changes[owner]
        for identifier in naming:
            change = self._unite(change, identifier)
        if not event.trusted:
            for identifier in usable:
                if self._owner(identifier) is None and not change.profile.has_kind(kind_of(identifier)):
                    self._attach(change, identifier)
        return change

    def _unite(self, change: Change, identifier: str) -> Change:
        """Make the identifier this profile's, merging if it is another's; return the survivor."""
        owner = self._owner(identifier)
        if owner is None:
            self._attach(change, identifier)
            return change
        other = self._changes[owner]
        if other is change:
            return change
        if change.profile.user_id is None or other.profile.user_id is None:
            return self._merge(change, other)
        if kind_of(identifier) in ADDRESSES:
            self._block(other, identifier)
        return change

    def _merge(self, one: Change, other: Change) -> Change:
        """The survivor is the one with the user id, else the older."""
        first, second = sorted(
            (one, other), key=lambda c: (c.profile.user_id is None, c.profile.created, c.profile.profile_id)
        )
        survivor, absorbed = first.profile, second.profile
        for identifier in absorbed.identifiers:
            self._owners[identifier] = survivor.profile_id
        survivor.identifiers += absorbed.identifiers
        first.added += absorbed.identifiers
        for name, trait in absorbed.traits.items():
            self._set_trait(first, name, trait)
        for purpose, choice in absorbed.consent.items():
            self._set_consent(first, purpose, choice)
        survivor.events += absorbed.events
        survivor.created = min(survivor.created, absorbed.created)
        survivor.absorbed += absorbed.absorbed
        first.absorbed += second.absorbed
        second.absorbed = []
        if not second.is_new:
            survivor.absorbed.append(absorbed.profile_id)
            first.absorbed.append(second)
        self._survivors[absorbed.profile_id] = survivor.profile_id
        return first

    def _block(self, holder: Change, identifier: str) -> None:
        """The address was seen under two user ids: from now on it joins nobody."""
        self._owners[identifier] = None
        holder.profile.identifiers.remove(identifier)
        if identifier in holder.added:
            holder.added.remove(identifier)
        else:
            holder.removed.append(identifier)

    def _attach(self, change: Change, identifier: str) -> None:
        self._owners[identifier] = change.profile.profile_id
        change.profile.identifiers.append(identifier)
        change.added.append(identifier)

    def _create(self, event: Event) -> Change:
        profile = Profile(self._new_id(), created=event.received)
        change = self._changes[profile.profile_id] = Change(profile, is_new=True)
        return change

    def _owner(self, identifier: str) -> str | None:
        owner = self._owners.get(identifier)
        return None if owner is None else self._survivor(owner)

    def _is_blocked(self, identifier: str) -> bool:
        return is_blocked_value(identifier) or (
            identifier in self._owners and self._owners[identifier] is None
        )

    def _survivor(self, profile_id: str) -> str:
        while profile_id in self._survivors:
            profile_id = self._survivors[profile_id]
        return profile_id

    def _may_set(self, profile: Profile, event: Event, name: str) -> bool:
        """A browser may name an address only where it became the profile's own identifier."""
        kind = ADDRESS_TRAITS.get(name)
        if event.trusted or kind is None:
            return True
        return any(i in profile.identifiers for i in event.identifiers if kind_of(i) == kind)

    def _set_trait(self, change: Change, name: str, trait: Trait) -> None:
        if trait_wins(name, trait, change.profile.traits.get(name)):
            change.profile.traits[name] = trait
            change.traits.add(name)

    def _set_consent(self, change: Change, purpose: str, choice: Choice) -> None:
        old = change.profile.consent.get(purpose)
        if old is None or (choice.time, choice.event_id) > (old.time, old.event_id):
            change.profile.consent[purpose] = choice
            change.consent.add(purpose)


def identifiers_in(events: Iterable[Event]) -> set[str]:
    """All identifiers that may name somebody."""
    return {i for event in events for i in event.identifiers if not is_blocked_value(i)}


def strongest_first(identifiers: Iterable[str]) -> Sequence[str]:
    """Sorted by kind, then value."""
    return sorted(identifiers, key=lambda i: (STRENGTH[kind_of(i)], i))
