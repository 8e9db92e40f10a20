"""Products, and what events say of them, as plain Python.

What is said last of a field holds, by the event's time; so any order of arrival gives the same catalog.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from libs.amounts import read_currency, read_money
from services.recommend.model import id_of, is_storable, items_of

KEPT_DAYS: Final = 400
"""So long a product is kept that nobody mentions and nobody touches."""

_MOST_TEXT: Final = 2048
_MOST_PRICE: Final = Decimal(10) ** 12
_NANO: Final = Decimal("1e-9")
# A refund tells what was paid back, which is not what a product costs.
_NOT_THE_SHOPS: Final = frozenset({"Order Refunded"})


@dataclass(frozen=True, slots=True, order=True)
class Price:
    """What a product costs."""

    amount: Decimal
    currency: str = ""
    """Three capital letters; empty where nobody said."""


@dataclass(frozen=True, slots=True)
class Product:
    """What is known of a product: None where nobody has said it."""

    product_id: str
    name: str | None = None
    price: Price | None = None
    url: str | None = None
    image_url: str | None = None
    category: str | None = None


Facts = Mapping[tuple[str, str], tuple[int, Any]]
"""By product and field when something was said, in microseconds since 1970, and what: the greater holds."""


@dataclass(frozen=True, slots=True)
class Statements:
    """What events that are believed say of products."""

    named: Collection[str] = frozenset()
    """The products that they name at all."""
    facts: Facts = field(default_factory=dict)


def statements_of(name: str, properties: Mapping[str, Any], time: int, trusted: bool) -> Statements:
    """What an event says of products; what is malformed in it says nothing.

    An event that isn't trusted says nothing at all: a browser's key is public, and what it says of a
    product would be seen by everybody.
    """
    if not trusted:
        return Statements()
    items = items_of(properties)
    named = frozenset(id_of(item.get("product_id")) for item in items)
    if name in _NOT_THE_SHOPS:
        return Statements(named)
    currency = properties.get("currency")
    return Statements(named, latest_facts(_facts(item, currency, time) for item in items))


def merged(every: Iterable[Statements]) -> Statements:
    """Several events' statements as one."""
    given = list(every)
    named = frozenset(product_id for one in given for product_id in one.named)
    return Statements(named, latest_facts(one.facts for one in given))


def latest_facts(every: Iterable[Facts]) -> Facts:
    """For each product and field what was said last; at equal times the greater value."""
    latest: dict[tuple[str, str], tuple[int, Any]] = {}
    for facts in every:
        for key, fact in facts.items():
            if key not in latest or fact > latest[key]:
                latest[key] = fact
    return latest


def _facts(item: Mapping[str, Any], currency: Any, time: int) -> Facts:
    product_id = id_of(item.get("product_id"))
    values = {name: read(item.get(name)) for name, read in _TEXTS.items()}
    values["price"] = _price(item.get("price"), item.get("currency", currency))
    return {(product_id, name): (time, value) for name, value in values.items() if value is not None}


def _price(value: Any, currency: Any) -> Price | None:
    """A price where the value has one reading only; the currency beside it holds before the event's."""
    read = read_money(value)
    if read is None:
        return None
    amount, own = read
    if not 0 <= amount < _MOST_PRICE:
        return None
    return Price(amount.quantize(_NANO).normalize(), own or read_currency(currency))


def _text(value: Any) -> str | None:
    text = value.strip()[:_MOST_TEXT] if isinstance(value, str) else ""
    return text if text and is_storable(text) else None


def _url(value: Any) -> str | None:
    """An absolute URL that a mail may show: no script, no data, nothing that is hidden by odd characters."""
    text = _text(value)
    if text is None or len(value.strip()) > _MOST_TEXT:
        return None
    if text.startswith("//"):
        text = f"https:{text}"
    if not text.isprintable() or any(mark in text for mark in ' "<>\\'):
        return None
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return text if named else None


_TEXTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _text,
    "url": _url,
    "image_url": _url,
    "category": _text,
}
FIELDS: Final = ("name", "price", "url", "image_url", "category")
