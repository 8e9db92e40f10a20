"""What people did with products, as plain Python.

All that is kept of one person and one product is counts, sets and latest times, which come out the
same in whatever order the events arrive: applying them one by one equals rebuilding from history.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

VIEW_WEIGHT, ADD_WEIGHT, PURCHASE_WEIGHT = 1, 3, 5

_MOST_ID = 255
_MOST_TEXT = 2048


class Kind(Enum):
    """What somebody did with a product."""

    VIEWED = "Product Viewed"
    ADDED = "Product Added"
    ORDERED = "Product Ordered"
    REFUNDED = "Order Refunded"


# The events that say something of a product.
_KINDS = {kind.value: kind for kind in Kind} | {"Order Completed": Kind.ORDERED}
EVENT_NAMES = frozenset(_KINDS)


@dataclass(frozen=True, slots=True)
class Touch:
    """Somebody did something with a product."""

    kind: Kind
    product_id: str
    """Empty where a whole order was refunded."""
    time: int
    """Microseconds since 1970."""
    order_id: str
    """The order, or the event where that names none: a product of an order counts once."""


@dataclass(frozen=True, slots=True)
class Product:
    """What is known of a product."""

    product_id: str
    name: str = ""
    price: float = 0.0
    url: str = ""
    image_url: str = ""
    category: str = ""


FIELDS = ("name", "price", "url", "image_url", "category")
Facts = Mapping[tuple[str, str], tuple[int, Any]]
"""By product and field when something was said, in microseconds since 1970, and what: the greater holds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an event tells: touches, and facts by product and field."""

    touches: Sequence[Touch] = ()
    facts: Facts = field(default_factory=dict)


def read_event(name: str, properties: Mapping[str, Any], time: int, event_id: bytes) -> Seen:
    """What an event of `EVENT_NAMES` tells; what is malformed in it tells nothing."""
    kind = _KINDS[name]
    listed = properties.get("products")
    items: list[Mapping[str, Any]] = []
    if isinstance(listed, list):
        items += (item for item in listed if isinstance(item, dict))
    if _id(properties.get("product_id")):
        items.append(properties)
    order_id = _id(properties.get("order_id")) or event_id.hex()
    product_ids = {_id(item.get("product_id")) for item in items} - {""}
    if kind is Kind.REFUNDED:
        # A refund that names no product is of the whole order; its prices are not the shop's.
        return Seen([Touch(kind, product_id, time, order_id) for product_id in sorted(product_ids) or [""]])
    touches = [Touch(kind, product_id, time, order_id) for product_id in sorted(product_ids)]
    return Seen(touches, latest_facts(_facts(item, time) for item in items))


def _facts(item: Mapping[str, Any], time: int) -> Facts:
    product_id = _id(item.get("product_id"))
    values = {name: _value(name, item.get(name)) for name in FIELDS} if product_id else {}
    return {(product_id, name): (time, value) for name, value in values.items() if value is not None}


def latest_facts(every: Iterable[Facts]) -> Facts:
    """For each product and field what was said last; at equal times the greater value."""
    latest: dict[tuple[str, str], tuple[int, Any]] = {}
    for facts in every:
        for key, fact in facts.items():
            if key not in latest or fact > latest[key]:
                latest[key] = fact
    return latest


def _value(name: str, value: Any) -> str | float | None:
    if name == "price":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if number and 0 <= value < math.inf else None
    return value[:_MOST_TEXT] if isinstance(value, str) and value else None


def _id(value: Any) -> str:
    """An id as text; empty for what can be none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and len(value) <= _MOST_ID else ""


@dataclass(slots=True)
class Interest:
    """What one person did with one product. Times are microseconds since 1970."""

    views: int = 0
    adds: int = 0
    first: int = 0
    """The first view or add; 0 where there is none."""
    last: int = 0
    """The last view or add."""
    orders: dict[str, int] = field(default_factory=dict)
    """When it was bought, by order."""
    refunds: set[str] = field(default_factory=set)
    """The orders that were refunded; a refund's own id where a shop numbers refunds apart."""

    def apply(self, touch: Touch) -> None:
        """Take a touch into account."""
        if touch.kind is Kind.ORDERED:
            self.orders[touch.order_id] = max(touch.time, self.orders.get(touch.order_id, 0))
        elif touch.kind is Kind.REFUNDED:
            self.refunds.add(touch.order_id)
        else:
            self.views += touch.kind is Kind.VIEWED
            self.adds += touch.kind is Kind.ADDED
            self.first = min(touch.time, self.first or touch.time)
            self.last = max(touch.time, self.last)

    @property
    def purchases(self) -> list[int]:
        """When it was bought, oldest first, without what was refunded.

        A refund under a number of its own undoes the latest purchase that still stands.
        """
        standing = sorted(time for order, time in self.orders.items() if order not in self.refunds)
        return standing[: max(0, len(standing) - len(self.refunds - self.orders.keys()))]

    @property
    def browsing(self) -> int:
        """The weight of views and adds."""
        return VIEW_WEIGHT * self.views + ADD_WEIGHT * self.adds

    @property
    def last_time(self) -> int:
        """When the person last viewed, added or bought it."""
        return max(self.last, *self.orders.values(), 0)


def weight_of(interest: Interest) -> int:
    """How much the interest counts."""
    return interest.browsing + PURCHASE_WEIGHT * len(interest.purchases)


@dataclass(frozen=True, slots=True)
class Update:
    """One step of a profile's life."""

    profile_id: str
    revision: int
    merged_into: str | None = None
    touches: Sequence[Touch] = ()
    facts: Facts = field(default_factory=dict)


@dataclass(slots=True)
class Person:
    """One profile's interests: all of them, or those that a batch concerns."""

    profile_id: str
    revision: int = 0
    merged_into: str | None = None
    refunded: set[str] = field(default_factory=set)
    """Orders that were refunded whole."""
    interests: dict[str, Interest] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    """The products whose interest differs from what is stored."""
    anew: bool = False
    """What is stored of its interests is to be dropped."""

    def apply(self, update: Update) -> None:
        """Go one step on; a step that was taken before changes nothing."""
        if update.revision <= self.revision:
            return
        self.revision = update.revision
        for touch in update.touches:
            self._touch(touch)
        if update.merged_into:
            self.bury(update.merged_into)

    def bury(self, survivor: str | None) -> None:
        """Forget all interests: they are the survivor's, or nobody's."""
        self.merged_into = survivor
        self.refunded.clear()
        self.interests.clear()
        self.changed.clear()
        self.anew = True

    def _touch(self, touch: Touch) -> None:
        if not touch.product_id:
            self.refunded.add(touch.order_id)
            for product_id, interest in self.interests.items():
                if touch.order_id in interest.orders:
                    interest.refunds.add(touch.order_id)
                    self.changed.add(product_id)
            return
        interest = self.interests.setdefault(touch.product_id, Interest())
        interest.apply(touch)
        if touch.kind is Kind.ORDERED and touch.order_id in self.refunded:
            interest.refunds.add(touch.order_id)
        self.changed.add(touch.product_id)


def concerned(updates: Collection[Update]) -> tuple[set[tuple[str, str]], set[str]]:
    """The (profile, product) pairs that updates touch, and the profiles of which they need all interests."""
    pairs = {(u.profile_id, t.product_id) for u in updates for t in u.touches if t.product_id}
    whole = {u.profile_id for u in updates for t in u.touches if not t.product_id}
    return pairs, whole


@dataclass(frozen=True, slots=True)
class Liking:
    """How much one person has to do with one product."""

    product_id: str
    weight: float
    last_time: int
    """Microseconds since 1970."""
    purchased: bool


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
