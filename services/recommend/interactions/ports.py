"""What following people needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from services.recommend.catalog.model import Statements
from services.recommend.interactions.model import Person


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


class Aside(Protocol):
    """The people who can't be followed step by step for now, inside the batch's transaction."""

    async def among(self, profile_ids: Collection[str]) -> set[str]:
        """Which of some people are set aside: nothing is done for them before it is their turn."""

    async def due(self, indexes: Sequence[int], limit: int) -> list[str]:
        """Some people of these partitions whose turn it is."""

    async def put(self, reasons: Mapping[str, str]) -> None:
        """Set people aside, by profile id, or note that one more attempt has failed: later and later."""

    async def ask(self, profile_ids: Sequence[str]) -> None:
        """Let it be people's turn at once."""

    async def settle(self, profile_ids: Collection[str]) -> None:
        """Note that nothing is missing of people any more."""


class Catalog(Protocol):
    """The catalog, inside the batch's transaction."""

    async def add(self, statements: Statements, touched: Collection[str]) -> None:
        """Let the catalog take what was said of products later than what it has.

        `touched` are products that people did something with: those that it knows stay in it.
        """
