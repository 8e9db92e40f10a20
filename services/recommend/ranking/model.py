"""What people may like."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from services.recommend.catalog.model import Product
from services.recommend.interactions.model import Liking

CART_DAYS: Final = 30
"""What was put into a cart longer ago is not there for certain."""

_MICROS_A_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for one person."""

    profile_id: str
    limit: int = 0
    """How many: 0 for the usual number."""
    exclude_purchased: bool = False
    exclude_in_cart: bool = False
    exclude_product_ids: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Taste:
    """What a model is given of one person."""

    liked: Sequence[Liking]
    excluded: Collection[str]
    """Products that are not to be recommended."""


def taste_of(question: Question, likings: Sequence[Liking], now: int) -> Taste:
    """What is to be known for an answer; `now` is in microseconds since 1970."""
    carts_from = now - CART_DAYS * _MICROS_A_DAY
    excluded = set(question.exclude_product_ids)
    for liking in likings:
        in_cart = liking.cart_time > 0 and liking.cart_time >= carts_from
        if (question.exclude_purchased and liking.purchased) or (question.exclude_in_cart and in_cart):
            excluded.add(liking.product_id)
    return Taste([liking for liking in likings if liking.weight > 0], excluded)


@dataclass(frozen=True, slots=True)
class Scored:
    """A product that somebody may like."""

    product_id: str
    score: float
    similar: bool
    """By what the person touched; False: because it is popular."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one person may like, best first, and the model that said so: 0 for none."""

    scored: Sequence[Scored]
    model_version: int


@dataclass(frozen=True, slots=True)
class Recommended:
    """A product to recommend, and why."""

    product: Product
    score: float
    similar: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person may like, best first, and the model that said so: 0 for none."""

    recommended: Sequence[Recommended]
    model_version: int
