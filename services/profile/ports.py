"""What the use cases need from outside."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.profile.domain import Change, Profile


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded step of a profile's life."""

    revision: int
    moved: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class History:
    """A part of a profile's steps, in order."""

    profile_id: str
    steps: Sequence[Step]
    revision: int | None
    """Set on the last part: the revision that the history is of; 0 where nobody has the id."""


class People(Protocol):
    """The profiles that a batch concerns, inside its transaction."""

    async def claim(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Remember event ids; returns those that were not known before."""

    async def lock(self, identifiers: Collection[str]) -> tuple[dict[str, str | None], dict[str, Profile]]:
        """Who owns the identifiers (None: blocked; absent: nobody yet), and the locked owners."""

    async def save(self, changes: Sequence[Change], owners: Mapping[str, str | None]) -> None:
        """Store what changed, record the steps and put them on the log."""


class Stream(Protocol):
    """What profile tells everybody downstream, outside of any batch."""

    async def resend(self, profile_ids: Sequence[str]) -> dict[str, int]:
        """Put the last steps of profiles on it once more; returns their revisions."""


class Directory(Protocol):
    """Reads profiles, outside of any batch."""

    async def get(self, profile_ids: Sequence[str]) -> dict[str, Profile]:
        """Profiles by the ids asked for; an absorbed id gives its survivor."""

    async def find(self, identifier: str) -> Profile | None:
        """The profile that an identifier leads to."""

    async def page(self, after: str, limit: int) -> list[Profile]:
        """Profiles in the order of their ids."""

    async def count(self) -> int:
        """How many people there are; absorbed profiles do not count."""

    async def recent_steps(self, profile_id: str, before: int, limit: int) -> list[Step]:
        """A profile's last steps below a revision, last first."""

    def histories(self, profile_ids: Sequence[str], after: Mapping[str, int]) -> AsyncIterator[History]:
        """Histories behind a revision each, 0 where none is named, in parts of bounded size."""
