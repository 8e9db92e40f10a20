"""How events name products: what the catalog and the interactions both read."""

from collections.abc import Mapping
from typing import Any, Final

MOST_ID: Final = 255


def items_of(properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The products that an event's properties name: those of its list, and the event itself."""
    listed = properties.get("products")
    items: list[Mapping[str, Any]] = []
    if isinstance(listed, list):
        items += (item for item in listed if isinstance(item, dict))
    items.append(properties)
    return [item for item in items if id_of(item.get("product_id"))]


def id_of(value: Any) -> str:
    """An id as text; empty for what can be none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and len(value) <= MOST_ID and is_storable(value) else ""


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold a text: one without a NUL, and without half of a surrogate pair."""
    try:
        return 0 not in text.encode()
    except UnicodeEncodeError:
        return False
