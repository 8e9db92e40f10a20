"""A person as stored, an event as profile sees it, and what a batch of events changes.

What comes with every event is a msgspec struct: it is made and stored in a fraction of a dataclass's time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from services.profile.consent.model import Choice
from services.profile.identity.model.identifiers import USER_ID, kind_of
from services.profile.traits.model import Trait

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

    @property
    def user_id(self) -> str | None:
        """The identifier that is its user id."""
        return next((i for i in self.identifiers if kind_of(i) == USER_ID), None)

    def has_kind(self, kind: str) -> bool:
        """Whether it has an identifier of this kind."""
        return any(kind_of(identifier) == kind for identifier in self.identifiers)

    @property
    def has_space(self) -> bool:
        """Whether it may have one more identifier."""
        return len(self.identifiers) < MOST_IDENTIFIERS

    def was_given(self, kind: str) -> bool:
        """Whether it has an identifier of this kind that is more than a claim."""
        return any(kind_of(i) == kind and i not in self.claimed for i in self.identifiers)


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
    trait_bytes: int = -1
    """What the profile's traits take up; negative until it is asked for."""

    @property
    def touched(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.events) or self.has_more_than_events

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
