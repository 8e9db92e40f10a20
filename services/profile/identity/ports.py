"""What deciding who somebody is needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from services.profile.identity.model import Change, Profile


class People(Protocol):
    """The profiles that a batch concerns, inside its transaction."""

    async def remember(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Remember event ids; returns those that were not known before."""

    async def lock(self, identifiers: Collection[str]) -> tuple[dict[str, str | None], dict[str, Profile]]:
        """Who owns the identifiers (None: blocked; absent: nobody yet), and the locked owners."""

    async def save_owners(self, owners: Mapping[str, str | None]) -> None:
        """Store who owns the identifiers now; Contended where another batch was faster."""

    async def save(self, changes: Sequence[Change]) -> None:
        """Store the profiles at their new revisions, and which of them were absorbed."""

    def committed(self) -> None:
        """The transaction was committed: what was read and written may be remembered."""
