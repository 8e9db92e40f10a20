"""What answering about profiles needs from outside."""

from collections.abc import Sequence
from typing import Protocol

from services.profile.identity.model import Profile


class Directory(Protocol):
    """Reads profiles, outside of any batch."""

    async def get(self, profile_ids: Sequence[str]) -> dict[str, Profile]:
        """Profiles by the ids asked for; an absorbed id gives its survivor."""

    async def find(self, identifier: str) -> Profile | None:
        """The profile that an identifier leads to."""

    async def sizes(self, profile_ids: Sequence[str]) -> dict[str, int]:
        """How many bytes each of the profiles takes up, by the ids asked for."""

    async def page(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Ids of living profiles behind an id, in their order, each with the bytes that it takes up."""

    async def count(self) -> int:
        """How many people there are; absorbed profiles do not count."""
