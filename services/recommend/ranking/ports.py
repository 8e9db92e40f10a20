"""What ranking needs from outside."""

from collections.abc import Collection, Sequence
from typing import Protocol

from services.recommend.catalog.model import Product
from services.recommend.interactions.model import Liking, Popular
from services.recommend.ranking.model import Ranking, Taste
from services.recommend.registry.model import StoredModel


class Models(Protocol):
    """The trained models."""

    async def newer_than(self, version: int, but: Collection[int]) -> StoredModel | None:
        """The newest model that is newer than a version, and none of `but`."""


class Ranker(Protocol):
    """Scores products for people by a trained model."""

    async def rank(self, tastes: Sequence[Taste], limit: int, discovers: bool) -> list[Ranking] | None:
        """One ranking for each taste, in order; None while there is no model.

        `discovers`: what people have bought is left out, so that popularity counts otherwise.
        """


class Interactions(Protocol):
    """What people did."""

    async def likings(self, profile_ids: Collection[str]) -> dict[str, list[Liking]]:
        """What people touched, by the ids asked for; an absorbed id gives its survivor's."""

    async def popular(self) -> list[Popular]:
        """What is popular with everybody, best first: a few hundred products of the last 30 days."""


class Catalog(Protocol):
    """What is known of products."""

    async def products(self, product_ids: Collection[str]) -> dict[str, Product]:
        """Products by id; those that no server has named are left out."""
