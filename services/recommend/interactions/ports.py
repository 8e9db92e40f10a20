"""What following people needs from outside."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.recommend.catalog.model import Statements
from services.recommend.interactions.model import Person, Update


@dataclass(frozen=True, slots=True)
class History:
    """A part of a profile's steps, in order."""

    profile_id: str
    updates: Sequence[Update]
    revision: int | None
    """Set on the last part: the revision that the history is of; 0 where nobody has the id."""


class Histories(Protocol):
    """Whole histories, as profile keeps them."""

    def read(self, profile_ids: Sequence[str]) -> AsyncIterator[History]:
        """All steps of some profiles, one after another; Unavailable where profile does not answer."""


class People(Protocol):
    """The people that a batch concerns, inside its transaction."""

    async def load(self, profile_ids: Collection[str]) -> dict[str, Person]:
        """Everybody, without any interests; somebody unknown stands at revision 0.

        Where what is stored of somebody can't be read, `damaged` is set: they are to be rebuilt.
        """

    async def load_interests(
        self, people: Mapping[str, Person], pairs: Collection[tuple[str, str]], whole: Collection[str]
    ) -> set[str]:
        """Give people the interests that are stored for (profile, product) pairs, or all of them.

        Returns the profiles of which an interest can't be read: those are to be rebuilt.
        """

    async def save(self, people: Collection[Person]) -> None:
        """Store people and the interests that changed."""


class Catalog(Protocol):
    """The catalog, inside the batch's transaction."""

    async def add(self, statements: Statements, touched: Collection[str]) -> None:
        """Let the catalog take what was said of products later than what it has.

        `touched` are products that people did something with: those that it knows stay in it.
        """
