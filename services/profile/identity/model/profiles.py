"""A person as stored, an event as profile sees it, and what a batch of events changes.

What comes with every event is a msgspec struct: it is made and stored in a fraction of a dataclass's time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from services.profile.consent import model as consents
from services.profile.consent.model import Choice, Said, Statement
from services.profile.identity.model.identifiers import USER_ID
from services.profile.traits.model import MOST_TRAIT_BYTES, Trait, size_of, trait_wins

# A profile is read and written whole with every event: what grows without end would stop its partition.
MOST_IDENTIFIERS = 1_000


class Event(msgspec.Struct, frozen=True, gc=False):
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
    traits: Mapping[str, bytes | None]
    """Each as JSON, or None where it is to be removed."""
    consent: Mapping[str, bool]
    body: bytes
    """The event as it was collected, for the history."""
    profile_id: str = ""
    """The profile that the page which sent it was made for, such as by an unsubscribe link."""
    previous_id: str = ""
    """For an alias, the value that stands among the identifiers as an anonymous id."""
    is_withheld: bool = False
    """Whether only its consent is to be kept: the person had refused analytics."""


class Profile(msgspec.Struct, array_like=True, gc=False):
    """One person as stored."""

    profile_id: str
    created: int
    revision: int = 0
    identifiers: list[str] = msgspec.field(default_factory=list)
    traits: dict[str, Trait] = msgspec.field(default_factory=dict)
    consent: dict[str, Choice] = msgspec.field(default_factory=dict)
    events: int = 0
    absorbed: list[str] = msgspec.field(default_factory=list)
    claimed: set[str] = msgspec.field(default_factory=set)
    """The identifiers that only a browser has linked to the others."""
    devices: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """By device, the first address of each kind that a server named with it."""

    @property
    def user_id(self) -> str | None:
        """The identifier that is its user id."""
        return next((i for i in self.identifiers if i[0] == USER_ID), None)

    def has_kind(self, kind: str) -> bool:
        """Whether it has an identifier of this kind."""
        return any(identifier[0] == kind for identifier in self.identifiers)

    @property
    def has_space(self) -> bool:
        """Whether it may have one more identifier."""
        return len(self.identifiers) < MOST_IDENTIFIERS

    def was_given(self, kind: str) -> bool:
        """Whether it has an identifier of this kind that is more than a claim."""
        return any(i[0] == kind and i not in self.claimed for i in self.identifiers)


@dataclass(slots=True)
class Change:
    """What a batch did to one profile.

    A batch has as many as it has people: what few of them have, the others have nothing of.
    """

    profile: Profile
    is_new: bool = False
    events: list[Event] = field(default_factory=list)
    traits: frozenset[str] = frozenset()
    consent: frozenset[str] = frozenset()
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    absorbed: list["Change"] = field(default_factory=list)
    """The stored profiles that it absorbed."""
    addresses: frozenset[str] = frozenset()
    """Addresses that were named for it and lead to nobody, since others have them too."""
    is_noted: bool = False
    """Whether something was noted that nobody is told of, but that must be stored."""
    dropped: dict[str, int] | None = None
    """What had no room: how many `traits`, `identifiers` and `purposes`."""
    _trait_bytes: int = -1
    """What the profile's traits take up; negative until it is asked for."""

    @property
    def touched(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.events) or self.is_noted or self.has_more_than_events

    @property
    def has_more_than_events(self) -> bool:
        """Whether anything but events is to tell."""
        return bool(self.traits or self.consent or self.added or self.removed or self.absorbed)

    def gain(self, identifier: str) -> None:
        """Note an identifier that is now the profile's own."""
        if identifier in self.removed:
            self.removed.remove(identifier)
        else:
            self.added.append(identifier)

    def lose(self, identifier: str) -> None:
        """Note an identifier that is no longer the profile's own."""
        if identifier in self.added:
            self.added.remove(identifier)
        else:
            self.removed.append(identifier)

    def drop(self, what: str, count: int = 1) -> None:
        """Note what has no room."""
        dropped = self.dropped = self.dropped or {}
        dropped[what] = dropped.get(what, 0) + count

    def set_trait(self, name: str, trait: Trait) -> None:
        """Let a trait have its value, if it is the last writer's and there is room."""
        traits = self.profile.traits
        old = traits.get(name)
        if not trait_wins(name, trait, old):
            return
        if self._trait_bytes < 0:
            self._trait_bytes = sum(size_of(n, t) for n, t in traits.items())
        growth = size_of(name, trait) - size_of(name, old)
        if growth > 0 and self._trait_bytes + growth > MOST_TRAIT_BYTES:
            self.drop("traits")
            return
        self._trait_bytes += growth
        traits[name] = trait
        self.traits |= {name}

    def state_consent(self, purpose: str, said: Said) -> None:
        """Let a statement of the person's count."""
        known = self.profile.consent.get(purpose)
        before = None if known is None else known.granted
        place = consents.state(self.profile.consent, purpose, said)
        if place is None:
            self.drop("purposes")
        elif place != purpose or before != self.profile.consent[place].granted:
            self.consent |= {place}

    def refuse(self, purpose: str, statement: Statement) -> None:
        """Let a refusal count that was said of one of the person's addresses."""
        known = self.profile.consent.get(purpose)
        before = None if known is None else known.granted
        place = consents.refuse(self.profile.consent, purpose, statement)
        # Of several refusals the last one decides on a later grant, though the answer stays the same.
        self.is_noted = True
        if place != purpose or before != self.profile.consent[place].granted:
            self.consent |= {place}

    def absorb_facts(self, other: Profile, without: frozenset[str]) -> None:
        """Take over what is known and allowed of somebody who is the same, but for some traits."""
        for name, trait in other.traits.items():
            if name not in without:
                self.set_trait(name, trait)
        self.consent |= consents.merge(self.profile.consent, other.consent)
