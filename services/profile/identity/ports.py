"""What deciding who somebody is needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.profile.identity.model import Change, Profile, Refusals


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """What is stored about some addresses."""

    holders: Sequence[tuple[str, str]]
    """Who has which of the refused addresses: address and profile id."""
    refusals: Refusals
    """What was refused before of the gained ones."""


class People(Protocol):
    """The profiles that a batch concerns, inside its transaction."""

    async def remember(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Remember event ids; returns those that were not known before."""

    async def lock(self, identifiers: Collection[str]) -> tuple[dict[str, str | None], dict[str, Profile]]:
        """Who owns the identifiers (None: blocked; absent: nobody yet), and the locked owners."""

    async def lock_more(self, profile_ids: Collection[str]) -> dict[str, Profile]:
        """Further profiles, locked; Contended where another batch holds one or has merged it away."""

    async def find_shares(self, profile_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """The addresses that some have and that lead to others or nobody, each with who lives on as them."""

    async def find_refusals(self, refused: Collection[str], gained: Collection[str]) -> AddressFacts:
        """What is known of addresses that are refused, and of those that somebody came to have.

        No other batch refuses or gains one of them before this one has ended.
        """

    async def save_refusals(self, refusals: Refusals, shares: Sequence[tuple[str, str]]) -> None:
        """Store refusals of addresses, and who has an address that leads to nobody or to somebody else."""

    async def save_owners(self, owners: Mapping[str, str | None]) -> None:
        """Store who owns the identifiers now; Contended where another batch was faster."""

    async def save(self, changes: Sequence[Change]) -> None:
        """Store the profiles at their new revisions, and which of them were absorbed."""

    def committed(self) -> None:
        """The transaction was committed: what was read and written may be remembered."""
