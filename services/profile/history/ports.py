"""What histories need from outside."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from services.profile.history.model import HistoryPart, StoredStep, UnassignedEvent
from services.profile.identity.model import Change, Event


class Encoder(Protocol):
    """Writes down what a step tells."""

    def bodies_of(self, change: Change) -> list[bytes]:
        """A change as one or more steps, each with what a record can hold."""

    def tombstone_of(self, survivor_id: str) -> bytes:
        """An absorbed profile's last step."""


class Steps(Protocol):
    """The stored steps, inside a batch's transaction."""

    async def move(self, moves: Sequence[tuple[str, str, int]]) -> list[tuple[str, int, bytes]]:
        """Put absorbed profiles' steps behind their survivors' last revisions.

        Each move is the absorbed id, the survivor's id and the survivor's revision, in the order in
        which they follow each other; returns survivor, revision and body of each moved step, in order.
        """

    async def append(self, steps: Sequence[tuple[str, int, bytes]]) -> None:
        """Store new steps: profile, revision, body."""

    async def keep_unassigned(self, events: Sequence[Event]) -> None:
        """Store events that name nobody."""


class Histories(Protocol):
    """Reads histories, outside of any batch."""

    async def living(self, profile_id: str) -> str | None:
        """The id under which a profile's life goes on: its own or its survivor's; None for nobody's."""

    async def unassigned(self, before: tuple[int, str] | None, limit: int) -> list[UnassignedEvent]:
        """Events that name nobody, the last received first: those before a time and id."""

    async def recent_steps(self, profile_id: str, before: int, limit: int) -> list[StoredStep]:
        """A profile's last steps below a revision, last first."""

    def read(self, profile_ids: Sequence[str], after: Mapping[str, int]) -> AsyncIterator[HistoryPart]:
        """Histories behind a revision each, 0 where none is named, in parts of bounded size.

        All are of one snapshot.
        """


class Stream(Protocol):
    """What profile tells everybody downstream, outside of any batch."""

    async def resend(self, profile_ids: Sequence[str]) -> dict[str, int]:
        """Put the last steps of profiles on it once more; returns their revisions."""
