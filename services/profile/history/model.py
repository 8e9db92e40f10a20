"""The steps of a profile's life."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from services.profile.identity.model import Event


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step as it is kept."""

    revision: int
    moved: bool
    """Whether its events were another profile's until a merge."""
    body: bytes
    """What it tells, in the form in which the log's record tells it."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """A step that a batch tells: a record of `tessera.profile.updates`."""

    profile_id: str
    revision: int
    body: bytes
    moved: bool = False
    more: bool = False
    """Further steps of the same change follow."""
    causes: Sequence[Event] = ()
    """The events that the change came from."""


@dataclass(frozen=True, slots=True)
class UnassignedEvent:
    """An event that names nobody."""

    received: int
    """Microseconds since 1970."""
    event_id: str
    body: bytes
    """As it was collected."""


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """A part of a profile's steps, in order."""

    profile_id: str
    steps: Sequence[StoredStep]
    revision: int | None
    """Set on the last part: the revision that the history is of; 0 where nobody has the id."""
