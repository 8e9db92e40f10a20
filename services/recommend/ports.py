"""What the use cases need from outside."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.recommend.domain import Facts, Liking, Person, Product, Ranking, Scored, Update


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
        """Everybody, without any interests; somebody unknown stands at revision 0."""

    async def load_interests(
        self, people: Mapping[str, Person], pairs: Collection[tuple[str, str]], whole: Collection[str]
    ) -> None:
        """Give people the interests that are stored for (profile, product) pairs, or all of them."""

    async def save(self, people: Collection[Person]) -> None:
        """Store people and the interests that changed."""

    async def list_products(self, facts: Facts) -> None:
        """Let the catalog take what was said of products later than what it has."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A trained model. Times are microseconds since 1970."""

    version: int
    create_time: int
    interactions: int
    profiles: int
    products: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a replica needs to serve a model."""

    version: int
    graph: bytes
    """In ONNX."""
    product_ids: Sequence[str]
    """The products by their index in the graph."""


class Models(Protocol):
    """The trained models."""

    async def newer_than(self, version: int) -> StoredModel | None:
        """The newest model, where it is newer than a version."""

    async def all(self) -> list[ModelInfo]:
        """All that are kept, newest first."""


class Ranker(Protocol):
    """Scores products for people by a trained model."""

    async def rank(
        self, likings: Sequence[Sequence[Liking]], limit: int, exclude_purchased: bool
    ) -> list[Ranking] | None:
        """One ranking for each person, in order; None while there is no model."""


class Shop(Protocol):
    """Reads what people did, and the catalog."""

    async def likings(self, profile_ids: Sequence[str]) -> dict[str, list[Liking]]:
        """What people touched, by the ids asked for; an absorbed id gives its survivor's."""

    async def popular(self) -> Sequence[Scored]:
        """What is popular with everybody, best first: a few hundred products of the last 30 days."""

    async def products(self, product_ids: Collection[str]) -> dict[str, Product]:
        """Products by id; those of which nothing was said are left out."""
