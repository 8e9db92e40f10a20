"""The sample shop's products, and which of them people pick."""

from itertools import groupby
from pathlib import Path
from random import Random
from typing import NamedTuple

import orjson

from libs.errors import NotFound

CURRENCY = "EUR"


class Product(NamedTuple):
    """A product as `catalog.json` has it."""

    product_id: str
    name: str
    price: float
    category: str
    url: str


class Catalog:
    """Products by category: the first are the most popular, and neighbours are bought together."""

    def __init__(self, products: list[Product]) -> None:
        by_category = groupby(sorted(products, key=lambda p: p.category), key=lambda p: p.category)
        self._shelves = {category: list(shelf) for category, shelf in by_category}
        self.categories = list(self._shelves)

    def pick(self, likes: tuple[str, ...], rng: Random) -> Product:
        """Picks a product, mostly from what somebody likes."""
        category = rng.choice(likes) if rng.random() < 0.85 else rng.choice(self.categories)
        shelf = self._shelves[category]
        return rng.choices(shelf, [1 / place for place in range(1, len(shelf) + 1)])[0]

    def companion(self, product: Product) -> Product:
        """Names the product that goes with another."""
        shelf = self._shelves[product.category]
        place = shelf.index(product) ^ 1
        return shelf[place if place < len(shelf) else 0]


def load(path: Path) -> Catalog:
    """Reads `catalog.json`."""
    if not path.is_file():
        raise NotFound(f"there is no catalog at {path}", path=path)
    return Catalog([Product(**product) for product in orjson.loads(path.read_bytes())])
