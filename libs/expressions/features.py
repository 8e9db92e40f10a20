"""What rules ask of events: which of them, which of their numbers, and which aggregate."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Aggregate: TypeAlias = Literal["count", "sum", "min", "max", "avg"]
AGGREGATES: tuple[Aggregate, ...] = ("count", "sum", "min", "max", "avg")

Kind: TypeAlias = Literal["event", "page", "screen"]
"""`event` is what has happened under a name of its own, by which views of pages and screens are
`Page Viewed` and `Screen Viewed`; the others are views of a page or a screen, by its name."""
ANY = ""
"""In place of a name: whatever it is."""

DAY = 24 * 60 * 60
# Five years, one of them or two with a leap day.
MAX_WINDOW = (5 * 365 + 2) * DAY
_UNITS = {"s": 1, "m": 60, "h": 60 * 60, "d": DAY, "w": 7 * DAY}
_WINDOW = re.compile(r"([1-9][0-9]{0,9})([smhdw])")


@dataclass(frozen=True, slots=True)
class Series:
    """Which events, and which of their numbers."""

    # A name, or ANY.
    event: str
    # The property path whose number is kept; None where events are only counted.
    value: str | None
    # The canonical text of the predicate; None for every event.
    where: str | None
    kind: Kind = "event"


@dataclass(frozen=True, slots=True)
class Feature:
    """An aggregate over a series, as rules see it."""

    series: Series
    aggregate: Aggregate
    # Seconds; None for all time.
    window: int | None


def window_seconds(text: str) -> int | None:
    """The length that `30d` and the like name; None where the text names none that is allowed."""
    match = _WINDOW.fullmatch(text)
    if match is None:
        return None
    seconds = int(match[1]) * _UNITS[match[2]]
    return seconds if seconds <= MAX_WINDOW else None


def is_path(path: str) -> bool:
    return 0 < len(path) <= 200 and all(path.split("."))


def number_at(properties: Mapping[str, Any], path: str) -> int | float | None:
    """The number that a series keeps of an event; None where there is none, or it is not finite."""
    value: Any = properties.get(path)
    if "." in path:
        value = properties
        for name in path.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(name)
    if type(value) is int:
        return value
    return value if type(value) is float and math.isfinite(value) else None
