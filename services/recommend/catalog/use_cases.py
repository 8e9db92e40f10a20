"""Shows what is known of products."""

from collections.abc import Collection
from dataclasses import replace

from libs.errors import NotFound, Required
from services.recommend.catalog.model import Price, Product
from services.recommend.catalog.ports import Products


class Catalog:
    """The products that the shop's servers have named."""

    def __init__(self, products: Products, currency: str = "") -> None:
        """`currency` is what prices are in that were told without one."""
        self._products = products
        self._currency = currency

    async def get(self, product_id: str) -> Product:
        """One product; NotFound where no server has named it."""
        if not product_id:
            raise Required("product_id", "is required")
        found = await self._products.some([product_id])
        if product_id not in found:
            raise NotFound(f"there is no product {product_id!r}", product_id=product_id)
        return self._priced(found[product_id])

    async def products(self, product_ids: Collection[str]) -> dict[str, Product]:
        """Products by id; those that no server has named are left out."""
        if not product_ids:
            return {}
        return {id_: self._priced(one) for id_, one in (await self._products.some(product_ids)).items()}

    async def page(self, after: str, limit: int) -> list[Product]:
        """The first products behind an id, in the order of their ids' bytes."""
        return [self._priced(product) for product in await self._products.page(after, limit)]

    def _priced(self, product: Product) -> Product:
        if product.price is None or product.price.currency or not self._currency:
            return product
        return replace(product, price=Price(product.price.amount, self._currency))
