"""What people did with products, as plain Python.

All that is kept of one person and one product is counts, sets and latest times, which come out the
same in whatever order the events arrive: applying them one by one equals rebuilding from history.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from services.recommend.catalog.model import Statements
from services.recommend.model import id_of, items_of

VIEW_WEIGHT, ADD_WEIGHT, PURCHASE_WEIGHT = 1, 3, 5

MOST_COUNTED: Final = 2 * PURCHASE_WEIGHT
"""What one person counts at most for the popularity of one product: a script that reloads a page, or sends
orders with a public key, makes nothing popular."""


MOST_ORDERS: Final = 500
"""So many orders of one product are remembered of one person, the latest, and as many refunds: what anybody
can send with a public key must not make one state grow for ever."""


class Kind(Enum):
    """What somebody did with a product."""

    VIEWED = "Product Viewed"
    ADDED = "Product Added"
    ORDERED = "Product Ordered"
    REFUNDED = "Order Refunded"
    REMOVED = "Product Removed"
    CARTED = "Cart Viewed"
    """It lay in the cart: no news of a liking, but of the cart."""


# The events that say something of a product.
_KINDS: Final = {kind.value: kind for kind in Kind} | {
    "Order Completed": Kind.ORDERED,
    "Checkout Started": Kind.CARTED,
}
EVENT_NAMES: Final = frozenset(_KINDS)


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


def touches_of(name: str, properties: Mapping[str, Any], time: int, event_id: bytes) -> list[Touch]:
    """What somebody did by an event of `EVENT_NAMES`; what is malformed in it tells nothing."""
    kind = _KINDS[name]
    product_ids = {id_of(item.get("product_id")) for item in items_of(properties)}
    order_id = id_of(properties.get("order_id"))
    if kind is Kind.REFUNDED and order_id and not product_ids:
        # A refund that names no product is of the whole order.
        product_ids = {""}
    return [Touch(kind, id_, time, order_id or event_id.hex()) for id_ in sorted(product_ids)]


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
    carted: int = 0
    """When it was last put into the cart, or seen there; 0 where it never was."""
    removed: int = 0
    """When it was last taken out of the cart; 0 where it never was."""

    def apply(self, touch: Touch) -> None:
        """Take a touch into account."""
        if touch.kind is Kind.ORDERED:
            self.orders[touch.order_id] = max(touch.time, self.orders.get(touch.order_id, 0))
            if len(self.orders) > MOST_ORDERS:
                # By time, then id: the same ones are left in whatever order they came.
                del self.orders[min(self.orders, key=lambda order_id: (self.orders[order_id], order_id))]
        elif touch.kind is Kind.REFUNDED:
            _remember(self.refunds, touch.order_id)
        elif touch.kind is Kind.REMOVED:
            self.removed = max(touch.time, self.removed)
        elif touch.kind is Kind.CARTED:
            self.carted = max(touch.time, self.carted)
        else:
            if touch.kind is Kind.ADDED:
                self.carted = max(touch.time, self.carted)
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
    def cart_time(self) -> int:
        """When it was put into the cart where it lies still, or was last seen; 0 where it is in none.

        At equal times it lies there: to leave out too much is the lesser fault.
        """
        bought = max(self.orders.values(), default=0)
        return self.carted if self.carted >= self.removed and self.carted > bought else 0

    @property
    def browsing(self) -> int:
        """The weight of views and adds."""
        return VIEW_WEIGHT * self.views + ADD_WEIGHT * self.adds

    @property
    def last_time(self) -> int:
        """When the person last viewed, added or bought it."""
        return max(self.last, *self.orders.values(), 0)


def _remember(refunds: set[str], order_id: str) -> None:
    refunds.add(order_id)
    if len(refunds) > MOST_ORDERS:
        refunds.remove(min(refunds))


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
    said: Statements = field(default_factory=Statements)
    """What its events say of products to everybody."""


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
    damaged: bool = False
    """What is stored of it can't be read."""

    def apply(self, update: Update) -> None:
        """Go one step on; a step that was taken before changes nothing."""
        if update.revision <= self.revision:
            return
        self.revision = update.revision
        for touch in update.touches:
            self._touch(touch)
        if update.merged_into:
            self.forget(update.merged_into)

    def begin_anew(self) -> None:
        """Keep nothing of what is stored: the whole history is to be applied."""
        self.forget(None)
        self.revision, self.damaged = 0, False

    def complete(self, revision: int, told: int) -> bool:
        """Note that the history has been applied, which is of a revision; False where there is more to come.

        `told` is how far the stream has told already. A history of revision 0 is nobody's: what was known
        of them is void, but how far they were followed.
        """
        if revision == 0:
            last = max(self.revision, told)
            self.forget(None)
            self.revision = last
        return self.revision >= told

    def forget(self, survivor: str | None) -> None:
        """Forget all interests: they are the survivor's, or nobody's."""
        self.merged_into = survivor
        self.refunded.clear()
        self.interests.clear()
        self.changed.clear()
        self.anew = True

    def _touch(self, touch: Touch) -> None:
        if not touch.product_id:
            _remember(self.refunded, touch.order_id)
            for product_id, interest in self.interests.items():
                if touch.order_id in interest.orders:
                    _remember(interest.refunds, touch.order_id)
                    self.changed.add(product_id)
            return
        interest = self.interests.setdefault(touch.product_id, Interest())
        interest.apply(touch)
        if touch.kind is Kind.ORDERED and touch.order_id in self.refunded:
            _remember(interest.refunds, touch.order_id)
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
    cart_time: int = 0
    """When it was put into the cart where it still lies, in microseconds since 1970; 0 for in none."""


@dataclass(frozen=True, slots=True)
class Popular:
    """How much everybody together has to do with a product, each person within `MOST_COUNTED`."""

    product_id: str
    weight: float
