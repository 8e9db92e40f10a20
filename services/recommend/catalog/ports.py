"""What the catalog needs from outside."""

from collections.abc import Collection
from typing import Protocol

from services.recommend.catalog.model import Product


class Products(Protocol):
    """The products that are known."""

    async def some(self, product_ids: Collection[str]) -> dict[str, Product]:
        """Those with one of these ids, by id."""

    async def page(self, after: str, limit: int) -> list[Product]:
        """The first ones behind an id, in the order of their ids' bytes."""
