"""What people did, as arrays."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommend.interactions.model import PURCHASE_WEIGHT, VIEW_WEIGHT, Interest

Array = NDArray[Any]

_MICROS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Touches:
    """Who did something with which product, when, and how much it counts: arrays of one length."""

    people: Array
    products: Array
    weights: Array
    days: Array
    """When, in days since 1970."""
    bought: Array
    product_ids: tuple[str, ...]
    """The products by their index."""

    def where(self, mask: Array) -> "Touches":
        """Some of them."""
        return Touches(
            self.people[mask],
            self.products[mask],
            self.weights[mask],
            self.days[mask],
            self.bought[mask],
            self.product_ids,
        )

    @property
    def profiles(self) -> int:
        """How many people there are."""
        return len(np.unique(self.people))


def gather(interests: Iterable[tuple[object, str, Interest]]) -> Touches:
    """Interests by person and product as touches.

    Between the first and the last view or add no times are kept: the first counts as one view, and
    all that came after it at the time of the last, so that a split in time never looks ahead.
    """
    people: dict[object, int] = {}
    products: dict[str, int] = {}
    rows: list[tuple[int, int, int, int, bool]] = []
    for person, product_id, interest in interests:
        who = people.setdefault(person, len(people))
        what = products.setdefault(product_id, len(products))
        if interest.browsing:
            rows.append((who, what, VIEW_WEIGHT, interest.first, False))
        if interest.browsing > VIEW_WEIGHT:
            rows.append((who, what, interest.browsing - VIEW_WEIGHT, interest.last, False))
        rows += ((who, what, PURCHASE_WEIGHT, time, True) for time in interest.purchases)
    who_, what_, weights, times, bought = zip(*rows, strict=True) if rows else ((),) * 5
    return Touches(
        np.array(who_, np.int64),
        np.array(what_, np.int64),
        np.array(weights, np.float64),
        np.array(times, np.int64) / _MICROS_A_DAY,
        np.array(bought, np.bool_),
        tuple(products),
    )


@dataclass(frozen=True, slots=True)
class Pairs:
    """What each person had done with each product up to some time: arrays of one length."""

    people: Array
    products: Array
    weights: Array
    days: Array
    """When the person last touched it."""
    bought: Array


def pairs_of(touches: Touches) -> Pairs:
    """Touches summed up by person and product."""
    count = len(touches.product_ids)
    keys, place = np.unique(touches.people * count + touches.products, return_inverse=True)
    days = np.full(len(keys), -np.inf)
    np.maximum.at(days, place, touches.days)
    bought = np.zeros(len(keys), np.bool_)
    np.logical_or.at(bought, place, touches.bought)
    weights = np.bincount(place, touches.weights, len(keys))
    return Pairs(keys // count, keys % count, weights, days, bought)
